/* SPDX-License-Identifier: MIT
 *
 * The switch for x86-64, System V ABI. ctx.h states the contract; switch.h
 * includes this too; arch/aarch64.h is the same for the other machine.
 *
 * The switch is inline assembly and not a function, for two reasons. The
 * compiler knows which registers are in use, so that they are saved once and
 * not twice. And no call instruction comes between the caller's own return
 * address and the switch: the processor's return stack, which predicts where
 * the next `ret` goes, stays as deep as it was. For the same reason we leave by
 * an indirect jump: a `ret` would take the prediction that belongs to a return
 * of the coroutine that we come from. ARCH_RETURNS_BY_JUMP is for functions
 * that switch and then return.
 *
 * Nothing is pushed, so a signal can come at any time. The unwind tables of the
 * surrounding function hold until the stack pointer is another's; from there to
 * the jump a walk of the stack ends. One that begins in a context that is not
 * running, as a debugger's does, looks the tables up for the byte ahead of
 * where it goes on, as if that came behind a call: so there is one that belongs
 * to them. No note claims shadow-stack support: the shadow stack is not
 * switched.
 */
#ifndef COPOOL_ARCH_H
#define COPOOL_ARCH_H

#include <stddef.h>
#include <stdint.h>

/* Offsets are known to the assembly. The control words, x87's and SSE's, may be
 * those of the last time that the first of them was seen to have changed. */
struct arch_ctx {
    void *sp; /*  0 */
    void *bp; /*  8: the frame pointer */
    void *pc; /* 16: where it goes on; in a new context, the entry */
    uint16_t fpucw;
    uint16_t mxcsr; /* ARCH_WATCH_CONTROL's bits: compared with fpucw at once */
    uint32_t mxcsr_all; /* for ARCH_READ_CONTROL, with its flags */
};

/* Only where the compiler makes unwind tables. */
#ifdef __GCC_HAVE_DWARF2_CFI_ASM
#    define ARCH_CFI(directive) directive "\n\t"
#else
#    define ARCH_CFI(directive) ""
#endif

/* For the entry of a context: unwinders stop here. The return address is zero
 * too, for those who walk the stack without unwind tables. */
#define ARCH_OUTERMOST_FRAME() __asm__ volatile(ARCH_CFI(".cfi_undefined rip"))

#ifdef __AVX512F__
#    define ARCH_CLOBBERS_512                                                  \
        , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22",       \
            "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29",     \
            "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6", "k7"
#else
#    define ARCH_CLOBBERS_512
#endif

static inline void *
arch_jump(struct arch_ctx *from, struct arch_ctx *to, void *value)
{
    /* Every register but the stack and frame pointers is lost: the other
     * context has used it. The value travels where a function expects its
     * first argument, so that an entry can be jumped to: a call would leave
     * an address on the return stack that nothing returns to. */
    /* clang-format off */
    __asm__ volatile(
        "leaq 1f(%%rip), %%rdx\n\t"
        "movq %%rsp, 0(%%rax)\n\t"
        "movq %%rbp, 8(%%rax)\n\t"
        "movq %%rdx, 16(%%rax)\n\t"
        ARCH_CFI(".cfi_remember_state")
        ARCH_CFI(".cfi_undefined rip")
        "movq 0(%%rsi), %%rsp\n\t"
        "movq 8(%%rsi), %%rbp\n\t"
        "jmp *16(%%rsi)\n\t"
        ARCH_CFI(".cfi_restore_state")
        "nop\n" /* never reached */
        "1:\t"
        "endbr64\n\t"
        : "+D"(value), "+a"(from), "+S"(to)
        :
        : "memory", "cc", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12",
          "r13", "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
          "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
          "xmm14", "xmm15", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)",
          "st(6)", "st(7)" ARCH_CLOBBERS_512);
    /* clang-format on */
    return value;
}

/* void *arch_call_on(void *sp, void *(*fn)(void *), void *arg): calls fn(arg)
 * with that stack pointer, a multiple of sixteen, and returns what it does. For
 * ctx.c. A plain call, which the processor predicts as any other, and which
 * unwinders go through: the frame lies where the frame pointer says. */
/* clang-format off */
#define ARCH_CALL_ON                                                           \
    ".text\n\t"                                                                \
    ".p2align 4\n\t"                                                           \
    ".globl arch_call_on\n\t"                                                  \
    ".hidden arch_call_on\n\t"                                                 \
    ".type arch_call_on, @function\n"                                          \
    "arch_call_on:\n\t"                                                        \
    ARCH_CFI(".cfi_startproc")                                                 \
    "endbr64\n\t"                                                              \
    "pushq %rbp\n\t"                                                           \
    ARCH_CFI(".cfi_def_cfa_offset 16")                                         \
    ARCH_CFI(".cfi_offset rbp, -16")                                           \
    "movq %rsp, %rbp\n\t"                                                      \
    ARCH_CFI(".cfi_def_cfa_register rbp")                                      \
    "movq %rdi, %rsp\n\t"                                                      \
    "movq %rdx, %rdi\n\t"                                                      \
    "callq *%rsi\n\t"                                                          \
    "movq %rbp, %rsp\n\t"                                                      \
    "popq %rbp\n\t"                                                            \
    ARCH_CFI(".cfi_def_cfa rsp, 8")                                            \
    "retq\n\t"                                                                 \
    ARCH_CFI(".cfi_endproc")                                                   \
    ".size arch_call_on, . - arch_call_on\n"
/* clang-format on */

/* For a function that switches and returns to another place than the one that
 * was last called from: what is entered from one line of an interpreter and
 * yields in another. A `ret` there is always predicted wrongly. An indirect
 * jump is predicted by where the program has been; the return stack keeps an
 * entry too many for it, so that what returns further out may be predicted
 * wrongly once. Where neither side has callers that return between two switches
 * that is a gain; where both go through many it is a small loss.
 *
 * The compiler has this for the kernel's sake, and its unwind tables are right.
 * It ends with a jump to a function of this name, for ctx.c. */
#if defined(__has_attribute) && !defined(__code_model_large__)
#    if __has_attribute(function_return)
#        define ARCH_RETURNS_BY_JUMP                                           \
            __attribute__((function_return("thunk-extern")))
#    endif
#endif
#ifndef ARCH_RETURNS_BY_JUMP
#    define ARCH_RETURNS_BY_JUMP
#endif
/* clang-format off */
#define ARCH_RETURN_BY_JUMP                                                    \
    ".text\n\t"                                                                \
    ".p2align 4\n\t"                                                           \
    ".globl __x86_return_thunk\n\t"                                            \
    ".hidden __x86_return_thunk\n\t"                                           \
    ".type __x86_return_thunk, @function\n"                                    \
    "__x86_return_thunk:\n\t"                                                  \
    ARCH_CFI(".cfi_startproc")                                                 \
    "popq %rcx\n\t"                                                            \
    ARCH_CFI(".cfi_def_cfa_offset 0")                                          \
    ARCH_CFI(".cfi_register rip, rcx")                                         \
    "notrack jmpq *%rcx\n\t" /* there is no endbr64 behind a call */           \
    ARCH_CFI(".cfi_endproc")                                                   \
    ".size __x86_return_thunk, . - __x86_return_thunk\n"
/* clang-format on */

/* Bytes below its stack pointer that a function may be using. */
enum { ARCH_RED_ZONE = 128 };

/* The floating-point environment (rounding, traps) belongs to the context. It
 * is kept twice, in the x87 control word and in MXCSR, and the functions of
 * <fenv.h> change both. So it may be enough to look at the first, which costs
 * nothing, while reading MXCSR takes longer than the rest of the switch. But
 * its bits for flush-to-zero and denormals-are-zero have no counterpart in x87,
 * and there are programs that change MXCSR alone.
 *
 * MXCSR is never written but to change these bits: its other half, the flags
 * of what has happened, stays as the program has made it. And where it was
 * written to change anything, some processors take long to read it next.
 *
 * The values are the bits of MXCSR that belong to the context. */
enum arch_control {
    ARCH_WATCH_CONTROL = 0x7f80, /* when x87's change, too */
    ARCH_READ_CONTROL = 0xffc0,
};

static inline uint16_t
arch_fpucw(void)
{
    uint16_t fpucw;

    __asm__ volatile("fnstcw %0" : "=m"(fpucw));
    return fpucw;
}

static inline uint32_t
arch_mxcsr(void)
{
    uint32_t mxcsr;

    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    return mxcsr;
}

/* Out of line: a program does this rarely or never. */
__attribute__((noinline, cold, unused)) static void
arch_load_control(const struct arch_ctx *to, enum arch_control bits)
{
    uint32_t wanted = bits == ARCH_READ_CONTROL ? to->mxcsr_all : to->mxcsr;
    uint32_t mxcsr =
        (arch_mxcsr() & ~(uint32_t)bits) | (wanted & (uint32_t)bits);

    __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr), "m"(to->fpucw));
}

static inline void
arch_save_control(struct arch_ctx *from, enum arch_control bits)
{
    uint16_t fpucw;

    if (bits == ARCH_READ_CONTROL) {
        __asm__ volatile("fnstcw %0\n\tstmxcsr %1"
                         : "=m"(from->fpucw), "=m"(from->mxcsr_all));
        return;
    }
    fpucw = arch_fpucw();
    if (__builtin_expect(fpucw != from->fpucw, 0)) {
        from->fpucw = fpucw;
        from->mxcsr = (uint16_t)(arch_mxcsr() & bits);
    }
}

static inline int
arch_differs(const struct arch_ctx *a, const struct arch_ctx *b,
             enum arch_control bits)
{
    if (bits == ARCH_READ_CONTROL)
        return a->fpucw != b->fpucw ||
               ((a->mxcsr_all ^ b->mxcsr_all) & bits) != 0;
    return a->fpucw != b->fpucw || a->mxcsr != b->mxcsr;
}

/* Before the jump: the other's control words are loaded. */
static inline void
arch_prepare(struct arch_ctx *from, const struct arch_ctx *to,
             enum arch_control bits)
{
    arch_save_control(from, bits);
    if (__builtin_expect(arch_differs(from, to, bits), 0))
        arch_load_control(to, bits);
}

/* Before the first jump to a context: it starts with our control words. */
static inline void
arch_inherit(struct arch_ctx *to, struct arch_ctx *from, enum arch_control bits)
{
    arch_save_control(from, bits);
    to->fpucw = from->fpucw;
    if (bits == ARCH_READ_CONTROL)
        to->mxcsr_all = from->mxcsr_all;
    else
        to->mxcsr = from->mxcsr;
}

static inline void
arch_make(struct arch_ctx *ctx, void *top, void (*entry)(void *))
{
    /* As if a call had pushed a return address: eight more than a multiple of
     * sixteen. */
    uintptr_t *sp = (uintptr_t *)((uintptr_t)top & ~(uintptr_t)15) - 1;

    *sp = 0;
    ctx->sp = sp;
    ctx->bp = NULL;
    ctx->pc = (void *)entry;
}

#endif
