/* SPDX-License-Identifier: MIT
 *
 * The switch for x86-64, System V ABI. ctx.h is the only caller and states
 * the contract; arch/aarch64.S is the same thing for the other machine.
 *
 * A context that is not running is one word, its stack pointer, and below it
 * this frame (offsets in bytes from the saved pointer):
 *
 *      0  MXCSR (4), x87 control word (2), unused (2)
 *      8  r15   16 r14   24 r13   32 r12   40 rbx   48 rbp
 *     56  the address at which it goes on
 *
 * These are the callee-saved registers of the ABI; a caller of a function
 * expects to lose all others. Of MXCSR only the control bits (6 to 15) are
 * callee-saved, so sticky exception flags don't count as a difference.
 *
 * We leave by a jump through a register: a `ret` would take the return
 * predictor's guess, which is the address in the coroutine we come from, and
 * so miss at every switch. No property note claims shadow-stack support,
 * since the shadow stack is not switched.
 */

    .text

/* void *co_arch_switch(void **save, void *load, void *value) */
    .globl  co_arch_switch
    .hidden co_arch_switch
    .type   co_arch_switch, @function
    .p2align 4
co_arch_switch:
    .cfi_startproc
    endbr64
    pushq   %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbp, 0
    pushq   %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbx, 0
    pushq   %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r12, 0
    pushq   %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r13, 0
    pushq   %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r14, 0
    pushq   %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r15, 0
    subq    $8, %rsp
    .cfi_adjust_cfa_offset 8
    stmxcsr (%rsp)
    fnstcw  4(%rsp)
    movq    %rdx, %rax
    movl    (%rsp), %ecx
    movzwl  4(%rsp), %r8d
    movq    %rsp, (%rdi)

    /* From here on the stack is the other one. It has the same frame at the
     * same distance, so the unwind rules above stay true. */
    movq    %rsi, %rsp
    xorl    (%rsp), %ecx
    testl   $0xffc0, %ecx
    jnz     2f
    cmpw    4(%rsp), %r8w
    jne     2f
1:  .cfi_remember_state
    addq    $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq    %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore r15
    popq    %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore r14
    popq    %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore r13
    popq    %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore r12
    popq    %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbx
    popq    %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbp
    popq    %rcx
    .cfi_adjust_cfa_offset -8
    .cfi_register rip, rcx
    jmp     *%rcx

    /* Loading a control register is slow and rarely needed. Here the frame
     * is still whole, as at the label above. */
    .cfi_restore_state
2:  ldmxcsr (%rsp)
    fldcw   4(%rsp)
    jmp     1b
    .cfi_endproc
    .size   co_arch_switch, . - co_arch_switch

/* void *co_arch_make(void *top, void (*entry)(void *value)) */
    .globl  co_arch_make
    .hidden co_arch_make
    .type   co_arch_make, @function
    .p2align 4
co_arch_make:
    .cfi_startproc
    endbr64
    movq    %rdi, %rax
    andq    $-16, %rax
    /* What the trampoline stands on: a zero where its caller's address would
     * be, so that a walker without unwind tables stops there too. */
    movq    $0, -8(%rax)
    movq    $0, -16(%rax)
    leaq    trampoline(%rip), %rcx
    movq    %rcx, -24(%rax)
    movq    $0, -32(%rax)               /* rbp */
    movq    %rsi, -48(%rax)             /* r12, below rbx */
    subq    $80, %rax
    stmxcsr (%rax)
    fnstcw  4(%rax)
    ret
    .cfi_endproc
    .size   co_arch_make, . - co_arch_make

/* The outermost frame of every coroutine. The value of the first switch
 * becomes the entry's argument; the entry never returns. */
    .type   trampoline, @function
    .p2align 4
trampoline:
    .cfi_startproc
    .cfi_undefined rip
    endbr64
    movq    %rax, %rdi
    xorl    %ebp, %ebp
    call    *%r12
    ud2
    .cfi_endproc
    .size   trampoline, . - trampoline

    .section .note.GNU-stack, "", @progbits
