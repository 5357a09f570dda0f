/* SPDX-License-Identifier: MIT
 *
 * The switch for 64-bit Arm, AAPCS64. ctx.h states the contract; switch.h
 * includes this too; arch/x86_64.h explains the choices that both share.
 */
#ifndef COPOOL_ARCH_H
#define COPOOL_ARCH_H

#include <stddef.h>
#include <stdint.h>

/* Offsets are known to the assembly. */
struct arch_ctx {
    void *sp;      /*  0 */
    void *fp;      /*  8: x29 */
    void *pc;      /* 16: where it goes on; in a new context, the entry */
    uint64_t fpcr; /* 24: floating-point control */
};

/* Only where the compiler makes unwind tables. */
#ifdef __GCC_HAVE_DWARF2_CFI_ASM
#    define ARCH_CFI(directive) directive "\n\t"
#else
#    define ARCH_CFI(directive) ""
#endif

#define ARCH_OUTERMOST_FRAME() __asm__ volatile(ARCH_CFI(".cfi_undefined x30"))

static inline void *
arch_jump(struct arch_ctx *from, struct arch_ctx *to, void *value)
{
    register void *x0 __asm__("x0") = value;
    register struct arch_ctx *x1 __asm__("x1") = from;
    register struct arch_ctx *x2 __asm__("x2") = to;

    /* Of the registers that a program may use, only the stack and frame
     * pointers are kept. x16 is one through which a jump may land anywhere
     * that a call may; x30, the return address, is zero for a new context. */
    /* clang-format off */
    __asm__ volatile(
        "adr x3, 1f\n\t"
        "mov x4, sp\n\t"
        "stp x4, x29, [x1]\n\t"
        "str x3, [x1, #16]\n\t"
        ARCH_CFI(".cfi_remember_state")
        ARCH_CFI(".cfi_undefined x30")
        "ldp x4, x29, [x2]\n\t"
        "ldr x16, [x2, #16]\n\t"
        "mov sp, x4\n\t"
        "mov x30, xzr\n\t"
        "br x16\n\t"
        ARCH_CFI(".cfi_restore_state")
        "nop\n" /* never reached */
        "1:\t"
        "hint #36\n\t" /* bti j */
        : "+r"(x0), "+r"(x1), "+r"(x2)
        :
        : "memory", "cc", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10",
          "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x18", "x19", "x20",
          "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x30", "v0",
          "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11",
          "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21",
          "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");
    /* clang-format on */
    return x0;
}

/* clang-format off */
#define ARCH_CALL_ON                                                           \
    ".text\n\t"                                                                \
    ".p2align 4\n\t"                                                           \
    ".globl arch_call_on\n\t"                                                  \
    ".hidden arch_call_on\n\t"                                                 \
    ".type arch_call_on, %function\n"                                          \
    "arch_call_on:\n\t"                                                        \
    ARCH_CFI(".cfi_startproc")                                                 \
    "hint #34\n\t" /* bti c */                                                 \
    "stp x29, x30, [sp, #-16]!\n\t"                                            \
    ARCH_CFI(".cfi_def_cfa_offset 16")                                         \
    ARCH_CFI(".cfi_offset x29, -16")                                           \
    ARCH_CFI(".cfi_offset x30, -8")                                            \
    "mov x29, sp\n\t"                                                          \
    ARCH_CFI(".cfi_def_cfa_register x29")                                      \
    "mov sp, x0\n\t"                                                           \
    "mov x0, x2\n\t"                                                           \
    "blr x1\n\t"                                                               \
    "mov sp, x29\n\t"                                                          \
    ARCH_CFI(".cfi_def_cfa_register sp")                                       \
    "ldp x29, x30, [sp], #16\n\t"                                              \
    ARCH_CFI(".cfi_restore x29")                                               \
    ARCH_CFI(".cfi_restore x30")                                               \
    ARCH_CFI(".cfi_def_cfa_offset 0")                                          \
    "ret\n\t"                                                                  \
    ARCH_CFI(".cfi_endproc")                                                   \
    ".size arch_call_on, . - arch_call_on\n"
/* clang-format on */

/* Compilers have no such thing here. */
#define ARCH_RETURNS_BY_JUMP
#define ARCH_RETURN_BY_JUMP ""

enum { ARCH_RED_ZONE = 128 };

/* Reading it costs little here, so that it makes no difference. */
enum arch_control { ARCH_WATCH_CONTROL, ARCH_READ_CONTROL };

static inline void
arch_save_control(struct arch_ctx *from)
{
    __asm__ volatile("mrs %0, fpcr" : "=r"(from->fpcr));
}

/* Before the jump: the other's control word is loaded. */
static inline void
arch_prepare(struct arch_ctx *from, const struct arch_ctx *to,
             enum arch_control unused)
{
    (void)unused;
    arch_save_control(from);
    if (__builtin_expect(from->fpcr != to->fpcr, 0))
        __asm__ volatile("msr fpcr, %0" : : "r"(to->fpcr));
}

/* Before the first jump to a context: it starts with our control word. */
static inline void
arch_inherit(struct arch_ctx *to, struct arch_ctx *from,
             enum arch_control unused)
{
    (void)unused;
    arch_save_control(from);
    to->fpcr = from->fpcr;
}

static inline void
arch_make(struct arch_ctx *ctx, void *top, void (*entry)(void *))
{
    ctx->sp = (void *)((uintptr_t)top & ~(uintptr_t)15);
    ctx->fp = NULL;
    ctx->pc = (void *)entry;
}

#endif
