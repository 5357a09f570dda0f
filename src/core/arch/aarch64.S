/* SPDX-License-Identifier: MIT
 *
 * The switch for 64-bit Arm, AAPCS64. ctx.h is the only caller and states the
 * contract; arch/x86_64.S explains the choices that both share.
 *
 * The frame below a saved stack pointer (offsets in bytes):
 *
 *      0  x19 x20   16 x21 x22   32 x23 x24   48 x25 x26   64 x27 x28
 *     80  x29 x30   96 d8 d9    112 d10 d11  128 d12 d13  144 d14 d15
 *    160  FPCR, unused
 *
 * Of the vector registers only the low halves of v8 to v15 are callee-saved.
 * The FPCR is written only where it differs: a write drains the pipeline.
 */

#define FRAME 176

    .text

/* void *co_arch_switch(void **save, void *load, void *value) */
    .globl  co_arch_switch
    .hidden co_arch_switch
    .type   co_arch_switch, %function
    .p2align 4
co_arch_switch:
    .cfi_startproc
    hint    #34                         /* bti c */
    sub     sp, sp, #FRAME
    .cfi_def_cfa_offset FRAME
    stp     x19, x20, [sp, #0]
    stp     x21, x22, [sp, #16]
    stp     x23, x24, [sp, #32]
    stp     x25, x26, [sp, #48]
    stp     x27, x28, [sp, #64]
    stp     x29, x30, [sp, #80]
    stp     d8, d9, [sp, #96]
    stp     d10, d11, [sp, #112]
    stp     d12, d13, [sp, #128]
    stp     d14, d15, [sp, #144]
    .cfi_rel_offset x19, 0
    .cfi_rel_offset x20, 8
    .cfi_rel_offset x21, 16
    .cfi_rel_offset x22, 24
    .cfi_rel_offset x23, 32
    .cfi_rel_offset x24, 40
    .cfi_rel_offset x25, 48
    .cfi_rel_offset x26, 56
    .cfi_rel_offset x27, 64
    .cfi_rel_offset x28, 72
    .cfi_rel_offset x29, 80
    .cfi_rel_offset x30, 88
    mrs     x10, fpcr
    str     x10, [sp, #160]
    mov     x9, sp
    str     x9, [x0]
    mov     x0, x2

    /* The other stack has the same frame at the same distance. */
    mov     sp, x1
    ldr     x11, [sp, #160]
    cmp     x10, x11
    b.ne    2f
1:  ldp     x19, x20, [sp, #0]
    ldp     x21, x22, [sp, #16]
    ldp     x23, x24, [sp, #32]
    ldp     x25, x26, [sp, #48]
    ldp     x27, x28, [sp, #64]
    ldp     x29, x30, [sp, #80]
    ldp     d8, d9, [sp, #96]
    ldp     d10, d11, [sp, #112]
    ldp     d12, d13, [sp, #128]
    ldp     d14, d15, [sp, #144]
    add     sp, sp, #FRAME
    .cfi_remember_state
    .cfi_def_cfa_offset 0
    .cfi_restore x19
    .cfi_restore x20
    .cfi_restore x21
    .cfi_restore x22
    .cfi_restore x23
    .cfi_restore x24
    .cfi_restore x25
    .cfi_restore x26
    .cfi_restore x27
    .cfi_restore x28
    .cfi_restore x29
    .cfi_restore x30
    br      x30
    .cfi_restore_state
2:  msr     fpcr, x11
    b       1b
    .cfi_endproc
    .size   co_arch_switch, . - co_arch_switch

/* void *co_arch_make(void *top, void (*entry)(void *value)) */
    .globl  co_arch_make
    .hidden co_arch_make
    .type   co_arch_make, %function
    .p2align 4
co_arch_make:
    .cfi_startproc
    hint    #34
    and     x0, x0, #~15
    sub     x0, x0, #(FRAME + 16)
    str     x1, [x0, #0]                /* x19: the entry */
    adr     x9, trampoline
    stp     xzr, x9, [x0, #80]          /* x29, x30 */
    mrs     x10, fpcr
    str     x10, [x0, #160]
    /* A frame record of zeros for walkers that follow x29. */
    stp     xzr, xzr, [x0, #FRAME]
    ret
    .cfi_endproc
    .size   co_arch_make, . - co_arch_make

    .type   trampoline, %function
    .p2align 4
trampoline:
    .cfi_startproc
    .cfi_undefined x30
    hint    #36                         /* bti j */
    mov     x29, sp
    blr     x19
    brk     #1
    .cfi_endproc
    .size   trampoline, . - trampoline

    .section .note.GNU-stack, "", %progbits
