/* SPDX-License-Identifier: MIT
 *
 * The switch: what is kept across it, what a new context finds, and where
 * those who walk the stack stop.
 */
#include <fenv.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unwind.h>

#include "ctx.h"
#include "test.h"

#if defined(__x86_64__)
#    include <xmmintrin.h>
#endif
#if defined(__GLIBC__)
#    include <execinfo.h>
#else /* musl walks no stacks */
#    define backtrace(addresses, max) ((void)(addresses), -1)
#endif

/* Every test switches between the thread and one other context. */
enum { STACK = 64 * 1024 };
static _Alignas(16) char stack[STACK];
static struct ctx here, there;
static bool begun;
static struct record events;

static void
make_below(char *top, ctx_entry *entry)
{
    begun = false;
    ctx_make(&there, stack, top, entry);
}

static void
make(ctx_entry *entry)
{
    memset(&events, 0, sizeof events);
    make_below(stack + STACK, entry);
}

/* Out of line, so that the state of the registers around it is that of a
 * call. */
__attribute__((noinline)) static void *
enter(void *value)
{
    if (begun)
        return ctx_switch(&here, &there, value);
    begun = true;
    return ctx_begin(&here, &there, value);
}

__attribute__((noinline)) static void *
yield(void *value)
{
    return ctx_switch(&there, &here, value);
}

static const char *
text(void *value)
{
    return value;
}

/* Each entry ends like this, and who entered it last calls ctx_gone(). */
#define LEAVE(value) ctx_leave(&there, &here, value, ARCH_READ_CONTROL)

static void *
word(const char *value)
{
    return (void *)(uintptr_t)value;
}

/* --- values ------------------------------------------------------------- */

static void
exchange_entry(void *first)
{
    ARCH_OUTERMOST_FRAME();
    san_after_switch(&there.san);
    record(&events, "there:%s", text(first));
    record(&events, "there:%s", text(yield(word("b"))));
    record(&events, "there:%s", text(yield(word("d"))));
    LEAVE(word("f"));
}

static void
values_travel_both_ways(void)
{
    make(exchange_entry);
    record(&events, "here:%s", text(enter(word("a"))));
    record(&events, "here:%s", text(enter(word("c"))));
    record(&events, "here:%s", text(enter(word("e"))));
    ctx_gone(&there);
    EXPECT_RECORD(events, "there:a here:b there:c here:d there:e here:f");
}

/* --- the stack ---------------------------------------------------------- */

static uintptr_t entry_frame;
static uintptr_t entry_sum;

static void
aligned_entry(void *first)
{
    /* The compiler takes the alignment for granted and uses instructions that
     * fault without it. */
    _Alignas(16) volatile char bytes[48];
    size_t i;

    ARCH_OUTERMOST_FRAME();
    san_after_switch(&there.san);
    for (i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)i;
    entry_frame = (uintptr_t)__builtin_frame_address(0);
    entry_sum = (uintptr_t)bytes % 16;
    LEAVE(first);
}

static void
stack_is_aligned_for_any_top(void)
{
    size_t cut;

    for (cut = 0; cut < 32; cut++) {
        char *top = stack + STACK - cut;

        make_below(top, aligned_entry);
        enter(NULL);
        ctx_gone(&there);
        EXPECT_EQ(entry_frame % 16, 0);
        EXPECT_EQ(entry_sum, 0);
        EXPECT(entry_frame < (uintptr_t)top);
        EXPECT(entry_frame > (uintptr_t)top - 1024);
    }
}

static void
make_writes_a_word_below_the_top_at_most(void)
{
    char *top = stack + STACK - 64;
    size_t changed = 0, i;

    memset(stack, 0x5a, STACK);
    make_below(top, aligned_entry);
    for (i = 0; i < STACK; i++)
        if (stack[i] != 0x5a) {
            changed++;
            EXPECT(stack + i < top && stack + i >= top - sizeof(void *));
        }
    EXPECT(changed <= sizeof(void *));
    ctx_gone(&there);
}

/* --- registers ---------------------------------------------------------- */

/* Puts a number of its own into each register that a function must keep, then
 * calls `call`, and returns how many of them came back changed. */
unsigned registers_changed_by(void (*call)(void), uint64_t seed);

#if defined(__x86_64__)
__asm__(".pushsection .text\n"
        ".type registers_changed_by, @function\n"
        "registers_changed_by:\n\t"
        ".cfi_startproc\n\t"
        "endbr64\n\t"
        "push %rbx\n\t"
        "push %rbp\n\t"
        "push %r12\n\t"
        "push %r13\n\t"
        "push %r14\n\t"
        "push %r15\n\t"
        "push %rsi\n\t"
        ".cfi_def_cfa_offset 64\n\t"
        "lea 1(%rsi), %rbx\n\t"
        "lea 2(%rsi), %rbp\n\t"
        "lea 3(%rsi), %r12\n\t"
        "lea 4(%rsi), %r13\n\t"
        "lea 5(%rsi), %r14\n\t"
        "lea 6(%rsi), %r15\n\t"
        "call *%rdi\n\t"
        "pop %rsi\n\t"
        ".cfi_def_cfa_offset 56\n\t"
        "xor %eax, %eax\n\t"
        "sub %rsi, %rbx\n\t"
        "cmp $1, %rbx\n\t"
        "setne %cl\n\t"
        "add %cl, %al\n\t"
        "sub %rsi, %rbp\n\t"
        "cmp $2, %rbp\n\t"
        "setne %cl\n\t"
        "add %cl, %al\n\t"
        "sub %rsi, %r12\n\t"
        "cmp $3, %r12\n\t"
        "setne %cl\n\t"
        "add %cl, %al\n\t"
        "sub %rsi, %r13\n\t"
        "cmp $4, %r13\n\t"
        "setne %cl\n\t"
        "add %cl, %al\n\t"
        "sub %rsi, %r14\n\t"
        "cmp $5, %r14\n\t"
        "setne %cl\n\t"
        "add %cl, %al\n\t"
        "sub %rsi, %r15\n\t"
        "cmp $6, %r15\n\t"
        "setne %cl\n\t"
        "add %cl, %al\n\t"
        "pop %r15\n\t"
        "pop %r14\n\t"
        "pop %r13\n\t"
        "pop %r12\n\t"
        "pop %rbp\n\t"
        "pop %rbx\n\t"
        ".cfi_def_cfa_offset 8\n\t"
        "ret\n\t"
        ".cfi_endproc\n"
        ".size registers_changed_by, . - registers_changed_by\n"
        ".popsection");
#elif defined(__aarch64__)
/* x19 ... x28 and the low halves of v8 ... v15. */
__asm__(".pushsection .text\n"
        ".type registers_changed_by, %function\n"
        "registers_changed_by:\n\t"
        ".cfi_startproc\n\t"
        "stp x29, x30, [sp, #-176]!\n\t"
        ".cfi_def_cfa_offset 176\n\t"
        ".cfi_offset x29, -176\n\t"
        ".cfi_offset x30, -168\n\t"
        "stp x19, x20, [sp, #16]\n\t"
        "stp x21, x22, [sp, #32]\n\t"
        "stp x23, x24, [sp, #48]\n\t"
        "stp x25, x26, [sp, #64]\n\t"
        "stp x27, x28, [sp, #80]\n\t"
        "stp d8, d9, [sp, #96]\n\t"
        "stp d10, d11, [sp, #112]\n\t"
        "stp d12, d13, [sp, #128]\n\t"
        "stp d14, d15, [sp, #144]\n\t"
        "str x1, [sp, #160]\n\t"
        "mov x29, sp\n\t"
        ".irp n, 19,20,21,22,23,24,25,26,27,28\n\t"
        "add x\\n, x1, #\\n\n\t"
        ".endr\n\t"
        ".irp n, 8,9,10,11,12,13,14,15\n\t"
        "add x2, x1, #\\n\n\t"
        "fmov d\\n, x2\n\t"
        ".endr\n\t"
        "blr x0\n\t"
        "ldr x1, [sp, #160]\n\t"
        "mov w0, wzr\n\t"
        ".irp n, 19,20,21,22,23,24,25,26,27,28\n\t"
        "sub x2, x\\n, x1\n\t"
        "cmp x2, #\\n\n\t"
        "cinc w0, w0, ne\n\t"
        ".endr\n\t"
        ".irp n, 8,9,10,11,12,13,14,15\n\t"
        "fmov x2, d\\n\n\t"
        "sub x2, x2, x1\n\t"
        "cmp x2, #\\n\n\t"
        "cinc w0, w0, ne\n\t"
        ".endr\n\t"
        "ldp x19, x20, [sp, #16]\n\t"
        "ldp x21, x22, [sp, #32]\n\t"
        "ldp x23, x24, [sp, #48]\n\t"
        "ldp x25, x26, [sp, #64]\n\t"
        "ldp x27, x28, [sp, #80]\n\t"
        "ldp d8, d9, [sp, #96]\n\t"
        "ldp d10, d11, [sp, #112]\n\t"
        "ldp d12, d13, [sp, #128]\n\t"
        "ldp d14, d15, [sp, #144]\n\t"
        "ldp x29, x30, [sp], #176\n\t"
        ".cfi_def_cfa_offset 0\n\t"
        ".cfi_restore x29\n\t"
        ".cfi_restore x30\n\t"
        "ret\n\t"
        ".cfi_endproc\n"
        ".size registers_changed_by, . - registers_changed_by\n"
        ".popsection");
#endif

static void
enter_plain(void)
{
    enter(NULL);
}

static void
yield_plain(void)
{
    yield(NULL);
}

static unsigned changed_there;

static void
registers_entry(void *first)
{
    ARCH_OUTERMOST_FRAME();
    san_after_switch(&there.san);
    changed_there = registers_changed_by(yield_plain, 7000);
    changed_there += registers_changed_by(yield_plain, 8000);
    LEAVE(first);
}

static void
registers_are_kept_on_both_sides(void)
{
    make(registers_entry);
    changed_there = 99;
    EXPECT_EQ(registers_changed_by(enter_plain, 1000), 0);
    EXPECT_EQ(registers_changed_by(enter_plain, 2000), 0);
    EXPECT_EQ(registers_changed_by(enter_plain, 3000), 0);
    ctx_gone(&there);
    EXPECT_EQ(changed_there, 0);
}

/* --- floating point ----------------------------------------------------- */

static int
rounding(void)
{
    /* Both units of x86 must agree: fegetround() looks at one only. Valgrind
     * keeps the mode but rounds to the nearest all the same. */
    volatile double one = 1, third = 3;
    volatile long double long_one = 1, long_third = 3;
    int mode = fegetround();

    if (mode == FE_UPWARD && !under_valgrind()) {
        EXPECT(one / third * 3 > 1);
        EXPECT(long_one / long_third * 3 > 1);
    }
    return mode;
}

static void
rounding_entry(void *first)
{
    ARCH_OUTERMOST_FRAME();
    san_after_switch(&there.san);
    EXPECT_EQ(rounding(), FE_TONEAREST);
    fesetround(FE_UPWARD);
    yield(NULL);
    EXPECT_EQ(rounding(), FE_UPWARD);
    yield(NULL);
    EXPECT_EQ(rounding(), FE_UPWARD);
    LEAVE(first);
}

/*  here                      there
 *  nearest   -- enter -->    nearest, sets up
 *  nearest   <-- yield --
 *  sets zero -- enter -->    up
 *  zero      <-- yield --
 *  nearest   -- enter -->    up
 *  nearest   <-- leave --                       */
static void
rounding_belongs_to_the_context(void)
{
    make(rounding_entry);
    enter(NULL);
    EXPECT_EQ(rounding(), FE_TONEAREST);
    fesetround(FE_TOWARDZERO);
    enter(NULL);
    EXPECT_EQ(rounding(), FE_TOWARDZERO);
    fesetround(FE_TONEAREST);
    enter(NULL);
    EXPECT_EQ(rounding(), FE_TONEAREST);
    ctx_gone(&there);
}

static void
inherits_entry(void *first)
{
    ARCH_OUTERMOST_FRAME();
    san_after_switch(&there.san);
    EXPECT_EQ(rounding(), FE_DOWNWARD);
    LEAVE(first);
}

static void
context_starts_with_the_rounding_of_who_enters_first(void)
{
    make(inherits_entry);
    fesetround(FE_DOWNWARD);
    enter(NULL);
    EXPECT_EQ(rounding(), FE_DOWNWARD);
    fesetround(FE_TONEAREST);
    ctx_gone(&there);
}

#if defined(__x86_64__)
enum { FLUSH_TO_ZERO = 0x8000, DENORMALS_ARE_ZERO = 0x40 };

static unsigned
flushing(void)
{
    return _mm_getcsr() & (FLUSH_TO_ZERO | DENORMALS_ARE_ZERO);
}

static void
set_flushing(unsigned flushing)
{
    unsigned both = FLUSH_TO_ZERO | DENORMALS_ARE_ZERO;

    _mm_setcsr((_mm_getcsr() & ~both) | flushing);
}

static void
flushing_entry(void *first)
{
    ARCH_OUTERMOST_FRAME();
    san_after_switch(&there.san);
    EXPECT_EQ(flushing(), FLUSH_TO_ZERO);
    set_flushing(DENORMALS_ARE_ZERO);
    yield(NULL);
    EXPECT_EQ(flushing(), DENORMALS_ARE_ZERO);
    _MM_SET_ROUNDING_MODE(_MM_ROUND_UP);
    yield(NULL);
    EXPECT_EQ(_MM_GET_ROUNDING_MODE(), _MM_ROUND_UP);
    EXPECT_EQ(flushing(), DENORMALS_ARE_ZERO);
    LEAVE(first);
}
#endif

/* <fenv.h> can't change this, so that nothing is seen of it in x87. */
static void
what_only_mxcsr_has_belongs_to_the_context(void)
{
#if defined(__x86_64__)
    if (under_valgrind()) {
        test_skip("Valgrind does not model it");
        return;
    }
    make(flushing_entry);
    set_flushing(FLUSH_TO_ZERO);
    enter(NULL);
    EXPECT_EQ(flushing(), FLUSH_TO_ZERO);
    set_flushing(0);
    enter(NULL);
    EXPECT_EQ(flushing(), 0);
    EXPECT_EQ(_MM_GET_ROUNDING_MODE(), _MM_ROUND_NEAREST);
    enter(NULL);
    EXPECT_EQ(flushing(), 0);
    EXPECT_EQ(_MM_GET_ROUNDING_MODE(), _MM_ROUND_NEAREST);
    ctx_gone(&there);
#else
    test_skip("on this machine it is part of the rounding's register");
#endif
}

static void
inexact_entry(void *first)
{
    volatile double third = 1;

    ARCH_OUTERMOST_FRAME();
    san_after_switch(&there.san);
    third /= 3;
    yield(NULL);
    EXPECT_EQ(fetestexcept(FE_ALL_EXCEPT), FE_DIVBYZERO);
    fesetround(FE_UPWARD);
    LEAVE(first);
}

/* They are those of the thread, and no switch raises or clears any: not one
 * that loads the register that has them either. */
static void
flags_are_as_the_program_made_them(void)
{
    volatile double infinite = 1, zero = 0;

    if (under_valgrind()) {
        test_skip("Valgrind does not model it");
        return;
    }
    make(inexact_entry);
    feclearexcept(FE_ALL_EXCEPT);
    enter(NULL);
    EXPECT_EQ(fetestexcept(FE_ALL_EXCEPT), FE_INEXACT);
    feclearexcept(FE_ALL_EXCEPT);
    infinite /= zero;
    enter(NULL);
    EXPECT_EQ(fetestexcept(FE_ALL_EXCEPT), FE_DIVBYZERO);
    EXPECT_EQ(fegetround(), FE_TONEAREST);
    feclearexcept(FE_ALL_EXCEPT);
    ctx_gone(&there);
}

/* --- calls and walks ---------------------------------------------------- */

__attribute__((noinline)) static uint64_t
deep(unsigned depth, uint64_t sum)
{
    volatile uint64_t mine = sum + depth;

    if (depth)
        sum = deep(depth - 1, mine);
    else
        sum = mine + (uintptr_t)yield(NULL);
    return sum + (mine & 1);
}

static uint64_t deep_there;

static void
deep_entry(void *first)
{
    ARCH_OUTERMOST_FRAME();
    san_after_switch(&there.san);
    deep_there = deep(100, 0);
    LEAVE(first);
}

/* The same recursion ends in a switch on both sides, each in the middle of the
 * other's. */
static void
deep_calls_survive_the_switch(void)
{
    uint64_t expected = 5050, odd = 0, sum = 0;
    int depth;

    for (depth = 100; depth >= 0; depth--) {
        sum += (uint64_t)depth;
        odd += sum & 1;
    }
    make(deep_entry);
    enter(NULL);
    enter((void *)1000);
    ctx_gone(&there);
    EXPECT_EQ(deep_there, expected + odd + 1000);
}

struct walk {
    unsigned frames;
    uintptr_t last; /* where on the stack the outermost one lies */
};

static _Unwind_Reason_Code
count_frame(struct _Unwind_Context *context, void *argument)
{
    struct walk *walk = argument;

    walk->frames++;
    walk->last = _Unwind_GetCFA(context);
    return walk->frames < 1000 ? _URC_NO_REASON : _URC_NORMAL_STOP;
}

static struct walk walks[2];
static int traces[2];

__attribute__((noinline)) static unsigned
walk_below(unsigned depth, unsigned which)
{
    volatile unsigned mine = depth;
    void *addresses[100];

    if (depth)
        return walk_below(depth - 1, which) + mine;
    EXPECT_EQ(_Unwind_Backtrace(count_frame, &walks[which]), _URC_END_OF_STACK);
    traces[which] = backtrace(addresses, 100);
    return mine;
}

static void
walk_entry(void *first)
{
    ARCH_OUTERMOST_FRAME();
    san_after_switch(&there.san);
    walk_below(2, 0);
    walk_below(12, 1);
    LEAVE(first);
}

static void
walks_end_at_the_outermost_frame(void)
{
    memset(walks, 0, sizeof walks);
    make(walk_entry);
    enter(NULL);
    ctx_gone(&there);
    /* Ten calls more are ten frames more; and the entry, three calls and what
     * the tools put between are all there is. */
    EXPECT_EQ(walks[1].frames, walks[0].frames + 10);
    EXPECT(walks[0].frames >= 4 && walks[0].frames <= 8);
    EXPECT(walks[0].last <= (uintptr_t)stack + STACK);
    EXPECT(walks[0].last > (uintptr_t)stack + STACK - 1024);
    if (traces[0] < 0)
        return;
    EXPECT_EQ(traces[1], traces[0] + 10);
    EXPECT(traces[0] >= 4 && traces[0] <= 8);
}

/* Calls fn(arg) in a frame that looks, by its unwind tables, as if the context
 * had called it: unwinders go on from there into what is suspended. */
void walk_from(void (*fn)(void *), void *arg, const struct arch_ctx *suspended);

/* The CFA, and so the stack pointer of the caller, is what a slot of the frame
 * holds; the return address and the frame pointer are in others. */
#if defined(__x86_64__)
__asm__(".pushsection .text\n"
        ".type walk_from, @function\n"
        "walk_from:\n\t"
        ".cfi_startproc\n\t"
        "endbr64\n\t"
        "push %rbp\n\t"
        ".cfi_def_cfa_offset 16\n\t"
        ".cfi_offset rbp, -16\n\t"
        "mov %rsp, %rbp\n\t"
        ".cfi_def_cfa_register rbp\n\t"
        "sub $32, %rsp\n\t"
        "mov 0(%rdx), %rax\n\t"
        "mov %rax, -8(%rbp)\n\t"
        "mov 16(%rdx), %rax\n\t"
        "mov %rax, -16(%rbp)\n\t"
        "mov 8(%rdx), %rax\n\t"
        "mov %rax, -24(%rbp)\n\t"
        "mov %rdi, %rax\n\t"
        "mov %rsi, %rdi\n\t"
        ".cfi_remember_state\n\t"
        ".cfi_escape 0x0f, 3, 0x76, 0x78, 6\n\t"  /* CFA: *(rbp - 8) */
        ".cfi_escape 0x10, 16, 2, 0x76, 0x70\n\t" /* rip: at rbp - 16 */
        ".cfi_escape 0x10, 6, 2, 0x76, 0x68\n\t"  /* rbp: at rbp - 24 */
        "call *%rax\n\t"
        "nop\n\t"
        ".cfi_restore_state\n\t"
        "leave\n\t"
        ".cfi_def_cfa rsp, 8\n\t"
        "ret\n\t"
        ".cfi_endproc\n"
        ".size walk_from, . - walk_from\n"
        ".popsection");
#elif defined(__aarch64__)
__asm__(".pushsection .text\n"
        ".type walk_from, %function\n"
        "walk_from:\n\t"
        ".cfi_startproc\n\t"
        "stp x29, x30, [sp, #-48]!\n\t"
        ".cfi_def_cfa_offset 48\n\t"
        ".cfi_offset x29, -48\n\t"
        ".cfi_offset x30, -40\n\t"
        "mov x29, sp\n\t"
        "ldp x3, x4, [x2]\n\t"
        "stp x3, x4, [x29, #16]\n\t"
        "ldr x3, [x2, #16]\n\t"
        "str x3, [x29, #32]\n\t"
        "mov x3, x0\n\t"
        "mov x0, x1\n\t"
        ".cfi_remember_state\n\t"
        ".cfi_escape 0x0f, 3, 0x8d, 16, 6\n\t"  /* CFA: *(x29 + 16) */
        ".cfi_escape 0x10, 30, 2, 0x8d, 32\n\t" /* x30: at x29 + 32 */
        ".cfi_escape 0x10, 29, 2, 0x8d, 24\n\t" /* x29: at x29 + 24 */
        "blr x3\n\t"
        "nop\n\t"
        ".cfi_restore_state\n\t"
        "ldp x29, x30, [sp], #48\n\t"
        ".cfi_def_cfa_offset 0\n\t"
        ".cfi_restore x29\n\t"
        ".cfi_restore x30\n\t"
        "ret\n\t"
        ".cfi_endproc\n"
        ".size walk_from, . - walk_from\n"
        ".popsection");
#endif

static void
walk_all(void *argument)
{
    EXPECT_EQ(_Unwind_Backtrace(count_frame, argument), _URC_END_OF_STACK);
}

static void
shallow_and_deep_entry(void *first)
{
    ARCH_OUTERMOST_FRAME();
    san_after_switch(&there.san);
    deep_there = deep(2, 0);
    deep_there += deep(12, 0);
    LEAVE(first);
}

/* As debuggers do it: by the registers that the context has saved. */
static void
walks_may_begin_in_a_suspended_context(void)
{
    memset(walks, 0, sizeof walks);
    make(shallow_and_deep_entry);
    for (int i = 0; i < 2; i++) {
        enter(NULL);
        walk_from(walk_all, &walks[i], &there.arch);
    }
    enter(NULL);
    ctx_gone(&there);
    EXPECT_EQ(walks[1].frames, walks[0].frames + 10);
    EXPECT(walks[0].frames >= 6 && walks[0].frames <= 12);
    EXPECT(walks[0].last <= (uintptr_t)stack + STACK);
    EXPECT(walks[0].last > (uintptr_t)stack + STACK - 1024);
}

/* --- signals ------------------------------------------------------------ */

static volatile sig_atomic_t signals;
static volatile bool enough;

static void
on_signal(int number)
{
    struct walk walk = {0, 0};

    (void)number;
    /* Wherever it struck, also between two instructions of the switch, there
     * is a stack that ends. */
    if (!SANITIZED)
        _Unwind_Backtrace(count_frame, &walk);
    EXPECT(walk.frames < 1000);
    signals++;
}

static void
ticks_entry(void *value)
{
    uintptr_t n = 0;

    ARCH_OUTERMOST_FRAME();
    san_after_switch(&there.san);
    while (!enough) {
        EXPECT_EQ((uintptr_t)value, n);
        n += 2;
        value = yield((void *)(n - 1));
    }
    LEAVE(NULL);
}

static void
signals_may_come_at_any_time(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    uintptr_t n = 0;
    int wanted = (int)test_rounds(500);

#ifdef __SANITIZE_THREAD__
    test_skip("ThreadSanitizer holds signals back until the next system call");
    return;
#endif
    signals = 0;
    enough = false;
    make(ticks_entry);
    REQUIRE(sigaction(SIGPROF, &action, NULL) == 0);
    REQUIRE(setitimer(ITIMER_PROF, &often, NULL) == 0);
    while (signals < wanted) {
        EXPECT_EQ((uintptr_t)enter((void *)n), n + 1);
        n += 2;
    }
    REQUIRE(setitimer(ITIMER_PROF, &never, NULL) == 0);
    /* The handler stays: one may still be on its way. */
    enough = true;
    enter(NULL);
    ctx_gone(&there);
    EXPECT(signals >= wanted);
}

int
main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(values_travel_both_ways),
        TEST(stack_is_aligned_for_any_top),
        TEST(make_writes_a_word_below_the_top_at_most),
        TEST(registers_are_kept_on_both_sides),
        TEST(rounding_belongs_to_the_context),
        TEST(context_starts_with_the_rounding_of_who_enters_first),
        TEST(what_only_mxcsr_has_belongs_to_the_context),
        TEST(flags_are_as_the_program_made_them),
        TEST(deep_calls_survive_the_switch),
        TEST(walks_end_at_the_outermost_frame),
        TEST(walks_may_begin_in_a_suspended_context),
        TEST(signals_may_come_at_any_time),
        TESTS_END,
    };

    return test_main(tests, argc, argv);
}
