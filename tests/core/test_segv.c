/* SPDX-License-Identifier: MIT
 *
 * The say in SIGSEGV: overflows are reported, whatever else handled the signal
 * finds it as if nothing had been in front. Each test runs in a child process.
 */
#include "segv.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "coro.h"
#include "test.h"

/* --- what is reported --------------------------------------------------- */

static char *page; /* can't be accessed */
static const char *known_low, *known_high;
static volatile unsigned asked, told;
static const void *volatile told_of;

static bool
report(const void *address)
{
    const char *at = address;

    asked++;
    errno = 99; /* a handler must put it back */
    if (at < known_low || at >= known_high)
        return false;
    told++;
    told_of = address;
    return true;
}

static void
make_page(void)
{
    page = os_map(os_page_size());
    REQUIRE(page != NULL);
    REQUIRE(mprotect(page, os_page_size(), PROT_NONE) == 0);
}

static void
touch(void)
{
    *(volatile char *)(page + 100) = 1;
}

static void
watch(void)
{
    make_page();
    asked = told = 0;
    REQUIRE(segv_watch(report));
    REQUIRE(segv_stack());
}

#define IN_CHILD(run, code) EXPECT(child_exited(test_child(run), code))
#define DIES(run) EXPECT(child_killed(test_child(run), SIGSEGV))

/* --- what was in force before ------------------------------------------- */

enum { SEEN = 50 };

static char *stack_low, *stack_high; /* of this thread, about here */
static volatile unsigned handled;
static volatile siginfo_t seen;

static bool
runs_on_the_threads_stack(void)
{
    char *at = __builtin_frame_address(0);

    return at > stack_low && at < stack_high;
}

static void
repair(int signal, siginfo_t *info, void *context)
{
    int saved = errno;

    (void)signal, (void)context;
    handled++;
    seen = *info;
    EXPECT(runs_on_the_threads_stack());
    mprotect(page, os_page_size(), PROT_READ | PROT_WRITE);
    errno = saved;
}

static void
handle_with(void (*handler)(int, siginfo_t *, void *), int flags, int masked)
{
    struct sigaction action = {.sa_sigaction = handler,
                               .sa_flags = SA_SIGINFO | flags};

    if (masked)
        sigaddset(&action.sa_mask, masked);
    REQUIRE(sigaction(SIGSEGV, &action, NULL) == 0);
    stack_low = (char *)__builtin_frame_address(0) - 1024 * 1024;
    stack_high = (char *)__builtin_frame_address(0) + 1024 * 1024;
}

static int
fault_that_is_repaired(void)
{
    handle_with(repair, 0, 0);
    watch();
    errno = 7;
    touch();
    EXPECT_EQ(errno, 7);
    EXPECT_EQ(page[100], 1);
    EXPECT_EQ(asked, 1);
    EXPECT_EQ(told, 0);
    EXPECT_EQ(handled, 1);
    EXPECT_EQ(seen.si_code, SEGV_ACCERR);
    EXPECT(seen.si_addr == page + 100);
    mprotect(page, os_page_size(), PROT_NONE);
    touch(); /* now nobody is in front */
    EXPECT_EQ(asked, 1);
    EXPECT_EQ(handled, 2);
    return 0;
}

/* Valgrind does not keep all registers up to date at an instruction that may
 * fault, so that it can't be executed again. */
static void
handler_of_before_repairs_the_fault(void)
{
    if (under_valgrind())
        test_skip("the tool does not repeat instructions");
    else
        IN_CHILD(fault_that_is_repaired, 0);
}

static volatile int usr1_blocked, segv_blocked;

static void
look_at_mask(int signal, siginfo_t *info, void *context)
{
    sigset_t now;

    sigprocmask(SIG_BLOCK, NULL, &now);
    usr1_blocked = sigismember(&now, SIGUSR1);
    segv_blocked = sigismember(&now, SIGSEGV);
    repair(signal, info, context);
}

static int
fault_with_masks(void)
{
    handle_with(look_at_mask, SA_NODEFER, SIGUSR1);
    watch();
    touch();
    EXPECT(usr1_blocked);
    EXPECT(!segv_blocked);
    handle_with(look_at_mask, 0, 0);
    watch();
    touch();
    EXPECT(!usr1_blocked);
    EXPECT(segv_blocked);
    return 0;
}

static void
mask_is_that_of_the_handler_of_before(void)
{
    if (under_valgrind() || SANITIZED)
        test_skip("the tool has masks of its own");
    else
        IN_CHILD(fault_with_masks, 0);
}

static int
signal_that_is_sent(void)
{
    union sigval value = {.sival_int = 1234};

    handle_with(repair, 0, 0);
    watch();
    REQUIRE(sigqueue(getpid(), SIGSEGV, value) == 0);
    EXPECT_EQ(handled, 1);
    EXPECT_EQ(seen.si_code, SI_QUEUE);
    EXPECT_EQ(seen.si_value.sival_int, 1234);
    EXPECT_EQ(seen.si_pid, getpid());
    EXPECT_EQ(told, 0);
    return 0;
}

static void
sent_signal_arrives_as_it_was_sent(void)
{
    if (under_valgrind())
        test_skip("the tool sends signals by itself");
    else
        IN_CHILD(signal_that_is_sent, 0);
}

static int
raise_ignored(void)
{
    signal(SIGSEGV, SIG_IGN);
    watch();
    raise(SIGSEGV);
    raise(SIGSEGV);
    return SEEN;
}

static int
fault_ignored(void)
{
    signal(SIGSEGV, SIG_IGN);
    watch();
    touch();
    return 0;
}

static void
what_was_ignored_stays_so(void)
{
    DIES(fault_ignored);
    if (under_valgrind())
        test_skip("the tool sends signals by itself");
    else
        IN_CHILD(raise_ignored, SEEN);
}

static int
fault_without_handler(void)
{
    watch();
    touch();
    return 0;
}

static int
raise_without_handler(void)
{
    watch();
    raise(SIGSEGV);
    return 0;
}

static void
default_is_death(void)
{
    DIES(fault_without_handler);
    DIES(raise_without_handler);
}

/* What a core dump would show: the process dies of the second fault, which is
 * the first one again. */
static void
death_is_where_the_fault_was(void)
{
    siginfo_t first, second;
    pid_t child;
    int status;

    if (under_valgrind() || under_emulator() || SANITIZED) {
        test_skip("the tool stands between");
        return;
    }
    fflush(NULL);
    child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        signal(SIGSEGV, SIG_DFL);
        watch();
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        touch();
        _exit(1);
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    if (!WIFSTOPPED(status)) {
        test_skip("the process may not be traced");
        return;
    }
    REQUIRE(ptrace(PTRACE_GETSIGINFO, child, NULL, &first) == 0);
    REQUIRE(ptrace(PTRACE_CONT, child, NULL, SIGSEGV) == 0);
    REQUIRE(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
    REQUIRE(ptrace(PTRACE_GETSIGINFO, child, NULL, &second) == 0);
    EXPECT_EQ(second.si_code, first.si_code);
    EXPECT(second.si_code > 0);
    EXPECT(second.si_addr == first.si_addr);
    REQUIRE(ptrace(PTRACE_CONT, child, NULL, SIGSEGV) == 0);
    REQUIRE(waitpid(child, &status, 0) == child);
    EXPECT(child_killed(status, SIGSEGV));
}

/* --- overflows ---------------------------------------------------------- */

__attribute__((noinline)) static int
overflow(int depth)
{
    volatile char frame[256];

    frame[0] = (char)depth;
    if (depth)
        return overflow(depth + 1) + frame[0];
    return frame[0];
}

static void *
overflow_body(void *first)
{
    overflow(1);
    return first;
}

static enum co_guard kind;

static co_t *
make_victim(void)
{
    struct co_pool_options options;
    co_pool *pool;
    co_t *co;

    co_pool_options_init(&options);
    options.guard = kind;
    options.stack_size = 64 * 1024;
    REQUIRE(co_pool_create(&options, &pool) == CO_OK);
    REQUIRE(co_create(pool, overflow_body, &co) == CO_OK);
    known_low = co->block.low - options.guard_size;
    known_high = co->block.low;
    return co;
}

/* Ends the child when the report has been heard. */
static void
expect_told(int signal, siginfo_t *info, void *context)
{
    bool same = told_of == info->si_addr || under_valgrind();

    (void)signal, (void)context;
    _exit(told == 1 && same ? SEEN : 1);
}

static int
overflow_that_is_told(void)
{
    co_t *co = make_victim();

    handle_with(expect_told, SA_ONSTACK, 0);
    watch();
    co_enter(co, NULL, NULL);
    return 0;
}

static int
overflow_by_default(void)
{
    co_t *co = make_victim();

    watch();
    co_enter(co, NULL, NULL);
    return 0;
}

static int
enter_forked(void)
{
    co_t *co = make_victim();

    handle_with(expect_told, SA_ONSTACK, 0);
    REQUIRE(segv_watch(report)); /* test_child() has reset the signal */
    co_enter(co, NULL, NULL);
    return 0;
}

static int
overflow_after_fork(void)
{
    watch(); /* the stack for handlers is inherited */
    IN_CHILD(enter_forked, SEEN);
    return 0;
}

static void
overflow_in_thread_body(void)
{
    co_t *co = make_victim();

    REQUIRE(segv_stack());
    co_enter(co, NULL, NULL);
}

static int
overflow_in_thread(void)
{
    handle_with(expect_told, SA_ONSTACK, 0);
    REQUIRE(segv_watch(report));
    test_thread(overflow_in_thread_body);
    return 0;
}

/* As faulthandler does: it comes in front later, puts back what it found, and
 * raises the signal anew. */
static struct sigaction found;

static void
raise_again(int signal)
{
    sigaction(SIGSEGV, &found, NULL);
    raise(signal);
}

static void
come_in_front(void)
{
    struct sigaction action = {.sa_handler = raise_again,
                               .sa_flags = SA_ONSTACK | SA_NODEFER};

    REQUIRE(sigaction(SIGSEGV, &action, &found) == 0);
}

static void
note_told(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context, (void)info;
    _exit(told == 1 ? SEEN : 1);
}

static int
overflow_that_is_raised(void)
{
    co_t *co = make_victim();

    handle_with(note_told, SA_ONSTACK, 0);
    watch();
    come_in_front();
    co_enter(co, NULL, NULL);
    return 0;
}

static int
other_fault_that_is_raised(void)
{
    handle_with(note_told, SA_ONSTACK, 0);
    make_victim();
    watch();
    come_in_front();
    touch();
    return 0;
}

/* Both have the other for a predecessor. */
static int
overflow_in_a_ring(void)
{
    co_t *co = make_victim();

    watch();
    come_in_front();
    REQUIRE(segv_watch(report));
    alarm(20);
    co_enter(co, NULL, NULL);
    return 0;
}

/* The same with one that calls its predecessor as a function, and returns. */
static void
call_found(int signal, siginfo_t *info, void *context)
{
    found.sa_sigaction(signal, info, context);
}

static void
come_in_front_and_call(void)
{
    struct sigaction action = {.sa_sigaction = call_found,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK};

    REQUIRE(sigaction(SIGSEGV, &action, &found) == 0);
}

static int
overflow_in_a_ring_of_calls(void)
{
    co_t *co = make_victim();

    watch();
    come_in_front_and_call();
    REQUIRE(segv_watch(report));
    alarm(20);
    co_enter(co, NULL, NULL);
    return 0;
}

/* What was in force first of all gets the fault in the end. */
static int
overflow_that_a_ring_hands_back(void)
{
    co_t *co = make_victim();

    handle_with(note_told, SA_ONSTACK, 0);
    watch();
    come_in_front_and_call();
    REQUIRE(segv_watch(report));
    segv_unwatch();
    REQUIRE(segv_watch(report));
    alarm(20);
    co_enter(co, NULL, NULL);
    return 0;
}

static void
check_overflows(enum co_guard guard)
{
    if (!test_guard_faults(guard)) {
        test_skip("there is no such guard here");
        return;
    }
    kind = guard;
    IN_CHILD(overflow_that_is_told, SEEN);
    DIES(overflow_by_default);
    IN_CHILD(overflow_after_fork, 0);
    IN_CHILD(overflow_in_thread, SEEN);
    DIES(overflow_in_a_ring);
    DIES(overflow_in_a_ring_of_calls);
    IN_CHILD(overflow_that_a_ring_hands_back, SEEN);
    if (under_valgrind())
        return; /* it does not show a handler the registers */
    IN_CHILD(overflow_that_is_raised, SEEN);
    IN_CHILD(other_fault_that_is_raised, 1);
}

static void
overflow_into_madvise_guard_is_reported(void)
{
    check_overflows(CO_GUARD_MADVISE);
}

static void
overflow_into_mprotect_guard_is_reported(void)
{
    check_overflows(CO_GUARD_MPROTECT);
}

/* --- faults without an address ------------------------------------------- */

static long self;

static void
ignore(int signal)
{
    (void)signal;
}

/* There is no room for the frame of the signal: the kernel makes it a SIGSEGV,
 * behind which no instruction is repeated. Nor is there room to call much, such
 * as what looks up a function when it is first called. */
static void *
signal_without_room(void *first)
{
    char *low = ((struct block *)co_self())->low, here;
    volatile char *room;

    syscall(SYS_kill, self, 0L);
    room = __builtin_alloca((size_t)(&here - low) - 600);
    room[0] = 1;
    syscall(SYS_kill, self, (long)SIGUSR1);
    return first;
}

static int
signal_on_a_full_stack(void)
{
    struct sigaction action = {.sa_handler = ignore};
    struct co_pool_options options;
    co_pool *pool;
    co_t *co;

    self = getpid();
    co_pool_options_init(&options);
    REQUIRE(co_pool_create(&options, &pool) == CO_OK);
    REQUIRE(co_create(pool, signal_without_room, &co) == CO_OK);
    REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
    watch();
    co_enter(co, NULL, NULL);
    return 0;
}

static int
the_same_ignored(void)
{
    signal(SIGSEGV, SIG_IGN);
    return signal_on_a_full_stack();
}

static void
signal_that_does_not_fit_is_death(void)
{
    if (under_valgrind() || under_emulator() || SANITIZED) {
        test_skip("the tool has frames of its own");
        return;
    }
    DIES(signal_on_a_full_stack);
    DIES(the_same_ignored);
}

#ifdef __x86_64__
static void
expect_no_address(int signal, siginfo_t *info, void *context)
{
    const ucontext_t *at = context;
    bool is_general_protection = at->uc_mcontext.gregs[REG_TRAPNO] == 13;

    (void)signal;
    _exit(info->si_code == SI_KERNEL && is_general_protection ? SEEN : 1);
}

static int
fault_at_no_address(void)
{
    handle_with(expect_no_address, 0, 0);
    watch();
    *(volatile char *)0x8000000000000000 = 1;
    return 0;
}
#endif

static void
fault_without_address_arrives_as_it_was(void)
{
#ifdef __x86_64__
    if (under_valgrind() || under_emulator() || SANITIZED)
        test_skip("the tool stands between");
    else
        IN_CHILD(fault_at_no_address, SEEN);
#else
    test_skip("this machine has an address for each");
#endif
}

/* --- on and off --------------------------------------------------------- */

static int
overflow_after_unwatch(void)
{
    co_t *co = make_victim();

    handle_with(note_told, SA_ONSTACK, 0);
    watch();
    segv_unwatch();
    co_enter(co, NULL, NULL);
    return 0;
}

static int
overflow_after_unwatch_from_behind(void)
{
    co_t *co = make_victim();

    handle_with(note_told, SA_ONSTACK, 0);
    watch();
    come_in_front();
    segv_unwatch();
    co_enter(co, NULL, NULL);
    return 0;
}

static int
overflow_after_watching_again(void)
{
    co_t *co = make_victim();

    handle_with(expect_told, SA_ONSTACK, 0);
    watch();
    segv_unwatch();
    watch();
    watch();
    co_enter(co, NULL, NULL);
    return 0;
}

static void
watch_is_taken_back(void)
{
    kind = CO_GUARD_MPROTECT;
    IN_CHILD(overflow_after_unwatch, 1);
    IN_CHILD(overflow_after_unwatch_from_behind, 1);
    IN_CHILD(overflow_after_watching_again, SEEN);
}

static int
look_at_signal(void)
{
    struct sigaction now;

    signal(SIGSEGV, SIG_IGN);
    REQUIRE(segv_watch(report));
    segv_unwatch();
    REQUIRE(sigaction(SIGSEGV, NULL, &now) == 0);
    EXPECT(now.sa_handler == SIG_IGN);
    return 0;
}

static void
what_was_in_force_comes_back(void)
{
    IN_CHILD(look_at_signal, 0);
}

/* --- the stack ---------------------------------------------------------- */

static stack_t in_thread;

static void
have_stack(void)
{
    REQUIRE(sigaltstack(NULL, &in_thread) == 0);
    if (!(in_thread.ss_flags & SS_DISABLE))
        return; /* a tool has given it one */
    EXPECT(segv_stack());
    REQUIRE(sigaltstack(NULL, &in_thread) == 0);
    EXPECT_EQ(in_thread.ss_flags, 0);
    EXPECT(in_thread.ss_size >= 32 * 1024);
    ((char *)in_thread.ss_sp)[0] = 1;
    EXPECT(segv_stack());
}

static bool
is_mapped(void *at)
{
    unsigned char in;

    return mincore(at, os_page_size(), &in) == 0;
}

static void
stack_is_freed_when_the_thread_ends(void)
{
    if (SANITIZED) {
        test_skip("the tool gives threads stacks of its own");
        return;
    }
    test_thread(have_stack);
    EXPECT(!is_mapped(in_thread.ss_sp));
}

static char other[64 * 1024];

static void
have_another_before(void)
{
    stack_t stack = {.ss_sp = other, .ss_size = sizeof other}, now;

    REQUIRE(sigaltstack(&stack, NULL) == 0);
    EXPECT(segv_stack());
    REQUIRE(sigaltstack(NULL, &now) == 0);
    EXPECT(now.ss_sp == other);
}

static void
have_another_later(void)
{
    stack_t stack = {.ss_sp = other, .ss_size = sizeof other};

    have_stack();
    REQUIRE(sigaltstack(&stack, NULL) == 0);
}

static void
stack_that_a_thread_has_is_respected(void)
{
    if (SANITIZED) {
        test_skip("the tool gives threads stacks of its own");
        return;
    }
    test_thread(have_another_before);
    test_thread(have_another_later);
    EXPECT(is_mapped(in_thread.ss_sp)); /* it may be put back */
    os_unmap(in_thread.ss_sp, in_thread.ss_size);
}

int
main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(handler_of_before_repairs_the_fault),
        TEST(mask_is_that_of_the_handler_of_before),
        TEST(sent_signal_arrives_as_it_was_sent),
        TEST(what_was_ignored_stays_so),
        TEST(default_is_death),
        TEST(death_is_where_the_fault_was),
        TEST(overflow_into_madvise_guard_is_reported),
        TEST(overflow_into_mprotect_guard_is_reported),
        TEST(signal_that_does_not_fit_is_death),
        TEST(fault_without_address_arrives_as_it_was),
        TEST(watch_is_taken_back),
        TEST(what_was_in_force_comes_back),
        TEST(stack_is_freed_when_the_thread_ends),
        TEST(stack_that_a_thread_has_is_respected),
        TESTS_END,
    };

    return test_main(tests, argc, argv);
}
