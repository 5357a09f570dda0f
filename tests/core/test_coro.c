/* SPDX-License-Identifier: MIT
 *
 * What copool.h promises of coroutines, in one thread; test_threads.c has what
 * concerns several.
 */
#include <fenv.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unwind.h>
#if defined(__x86_64__)
#    include <xmmintrin.h>
#endif

#include "coro.h"
#include "test.h"

static struct record order;

static void
start_record(void)
{
    memset(&order, 0, sizeof order);
}

/* --- values and order --------------------------------------------------- */

static void *
count_up(void *first)
{
    long n = (long)first;
    void *got = NULL;

    for (;;) {
        record(&order, "in:%ld", n);
        EXPECT_EQ(co_yield((void *)(n * 10), &got), CO_OK);
        if (!got)
            return (void *)-1;
        n = (long)got;
    }
}

static void
values_travel_both_ways(void)
{
    co_pool *pool = test_pool(CO_POLICY_MAGAZINE, 2);
    void *got = NULL;
    co_t *co;

    start_record();
    REQUIRE(co_create(pool, count_up, &co) == CO_OK);
    EXPECT_EQ(co_enter(co, (void *)1, &got), CO_OK);
    record(&order, "out:%ld", (long)got);
    EXPECT_EQ(co_enter(co, (void *)2, &got), CO_OK);
    record(&order, "out:%ld", (long)got);
    EXPECT_EQ(co_enter(co, (void *)3, NULL), CO_OK);
    EXPECT_EQ(co_enter(co, NULL, &got), CO_FINISHED);
    record(&order, "end:%ld", (long)got);
    EXPECT_RECORD(order, "in:1 out:10 in:2 out:20 in:3 end:-1");
    EXPECT_DESTROY(pool);
}

static void *
nothing(void *first)
{
    return first;
}

static void
function_that_does_not_yield(void)
{
    co_pool *pool = test_pool(CO_POLICY_MAGAZINE, 2);
    void *got = NULL;
    co_t *co;

    REQUIRE(co_create(pool, nothing, &co) == CO_OK);
    EXPECT_EQ(co_enter(co, &pool, &got), CO_FINISHED);
    EXPECT(got == &pool);
    EXPECT_DESTROY(pool);
}

/* --- nesting ------------------------------------------------------------ */

enum { DEEP = 1000 };

struct nest {
    co_pool *pool;
    int depth, deepest;
};

static void *
nest(void *first)
{
    struct nest *n = first;
    co_t *co, *self = co_self();

    if (++n->depth > n->deepest)
        n->deepest = n->depth;
    if (n->depth < DEEP) {
        REQUIRE(co_create(n->pool, nest, &co) == CO_OK);
        EXPECT_EQ(co_enter(co, n, NULL), CO_OK);
        EXPECT(co_self() == self);
        EXPECT_EQ(co_enter(co, n, NULL), CO_FINISHED);
    }
    co_yield(NULL, NULL);
    n->depth--;
    return NULL;
}

static void
a_thousand_deep(void)
{
    enum co_policy policy;

    for (policy = 0; policy < CO_POLICY_COUNT; policy++) {
        co_pool *pool = test_pool(policy, 2);
        struct nest n = {.pool = pool};
        co_t *co;

        REQUIRE(co_create(pool, nest, &co) == CO_OK);
        EXPECT_EQ(co_enter(co, &n, NULL), CO_OK);
        EXPECT_EQ(n.deepest, DEEP);
        EXPECT_EQ(co_enter(co, &n, NULL), CO_FINISHED);
        EXPECT_EQ(n.depth, 0);
        EXPECT_EQ(test_stats(pool).live, 0);
        EXPECT_DESTROY(pool);
    }
}

/* --- misuse ------------------------------------------------------------- */

static co_t *outer_one, *inner_one;

static void *
enter_those_that_are_entered(void *first)
{
    EXPECT_EQ(co_enter(co_self(), NULL, NULL), CO_BUSY);
    EXPECT_EQ(co_enter(outer_one, NULL, NULL), CO_BUSY);
    EXPECT_EQ(co_discard(outer_one), CO_BUSY);
    EXPECT(co_entered(outer_one) && co_entered(co_self()));
    record(&order, "inner");
    return first;
}

static void *
enter_inner(void *first)
{
    EXPECT(!co_entered(inner_one));
    EXPECT_EQ(co_enter(inner_one, NULL, NULL), CO_FINISHED);
    record(&order, "outer");
    return first;
}

static void
entering_what_is_entered_is_refused(void)
{
    co_pool *pool = test_pool(CO_POLICY_MAGAZINE, 2);

    start_record();
    REQUIRE(co_create(pool, enter_inner, &outer_one) == CO_OK);
    REQUIRE(co_create(pool, enter_those_that_are_entered, &inner_one) == CO_OK);
    EXPECT_EQ(co_enter(outer_one, NULL, NULL), CO_FINISHED);
    EXPECT_RECORD(order, "inner outer");
    EXPECT_DESTROY(pool);
}

static void
yield_outside_is_refused(void)
{
    void *got = &got;

    EXPECT_EQ(co_yield(NULL, &got), CO_NOT_INSIDE);
    EXPECT(got == &got);
    EXPECT(co_self() == NULL);
}

static void *
yield_once(void *first)
{
    co_yield(first, NULL);
    record(&order, "never");
    return first;
}

static void
discard_runs_nothing_more(void)
{
    co_pool *pool = test_pool(CO_POLICY_MAGAZINE, 2);
    co_t *started, *unstarted;

    start_record();
    REQUIRE(co_create(pool, yield_once, &started) == CO_OK);
    REQUIRE(co_create(pool, yield_once, &unstarted) == CO_OK);
    EXPECT_EQ(co_enter(started, NULL, NULL), CO_OK);
    EXPECT_EQ(co_pool_destroy(pool), CO_IN_USE);
    EXPECT_EQ(co_discard(started), CO_OK);
    EXPECT_EQ(co_discard(unstarted), CO_OK);
    EXPECT_RECORD(order, "");
    EXPECT_DESTROY(pool);
}

static void
creation_fails_at_the_cap_and_works_again_below(void)
{
    struct co_pool_options options;
    co_pool *pool;
    co_t *co[3], *other;
    int i;

    co_pool_options_init(&options);
    options.max_blocks = 3;
    REQUIRE(co_pool_create(&options, &pool) == CO_OK);
    for (i = 0; i < 3; i++)
        EXPECT_EQ(co_create(pool, nothing, &co[i]), CO_OK);
    EXPECT_EQ(co_create(pool, nothing, &other), CO_AT_CAP);
    EXPECT_EQ(co_enter(co[0], NULL, NULL), CO_FINISHED);
    EXPECT_EQ(co_create(pool, nothing, &co[0]), CO_OK);
    for (i = 0; i < 3; i++)
        EXPECT_EQ(co_enter(co[i], NULL, NULL), CO_FINISHED);
    EXPECT_DESTROY(pool);
}

static void
every_status_has_a_sentence(void)
{
    int status;

    for (status = CO_UNSUPPORTED; status <= CO_FINISHED; status++)
        EXPECT(strcmp(co_status_text(status), "unknown status") != 0);
    EXPECT_STR(co_status_text(CO_UNSUPPORTED - 1), "unknown status");
    EXPECT(!co_policy_name(CO_POLICY_COUNT) && !co_guard_name(CO_GUARD_COUNT));
}

/* --- the promise of the pool -------------------------------------------- */

static void *
yield_and_finish(void *first)
{
    co_yield(first, NULL);
    return first;
}

static void
cycle(co_pool *pool, unsigned n)
{
    co_t *co;

    while (n--) {
        REQUIRE(co_create(pool, yield_and_finish, &co) == CO_OK);
        co_enter(co, NULL, NULL);
        co_enter(co, NULL, NULL);
    }
}

static long
page_faults(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

static void
warm_cycles_take_no_page_fault(void)
{
    enum co_policy policy;

    if (SANITIZED || under_valgrind() || under_emulator()) {
        test_skip("the tool takes page faults of its own");
        return;
    }
    for (policy = CO_POLICY_MUTEX; policy < CO_POLICY_COUNT; policy++) {
        co_pool *pool = test_pool(policy, 64);
        struct co_pool_stats before;
        long faults;

        test_case("%s", co_policy_name(policy));
        cycle(pool, 1000);
        before = test_stats(pool);
        faults = page_faults();
        cycle(pool, 100000);
        EXPECT_EQ(page_faults() - faults, 0);
        EXPECT_EQ(test_stats(pool).reused - before.reused, 100000);
        EXPECT_DESTROY(pool);
    }
}

/* From here on any system call but the one that ends the process kills it. */
static bool
forbid_system_calls(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static co_pool *warm_pool;
enum { NO_SECCOMP = 3 };

static int
cycle_without_system_calls(void)
{
    cycle(warm_pool, 1000);
    if (!forbid_system_calls())
        return NO_SECCOMP;
    cycle(warm_pool, 100000);
    return 0;
}

/* And the policy `none` shows that one would be noticed. */
static void
warm_cycles_make_no_system_call(void)
{
    enum co_policy policy;

    if (SANITIZED || under_valgrind() || under_emulator()) {
        test_skip("the tool makes system calls of its own");
        return;
    }
    for (policy = 0; policy < CO_POLICY_COUNT; policy++) {
        int status;

        test_case("%s", co_policy_name(policy));
        warm_pool = test_pool(policy, 64);
        status = test_child(cycle_without_system_calls);
        EXPECT_DESTROY(warm_pool);
        if (child_exited(status, NO_SECCOMP)) {
            test_skip("this kernel does not filter system calls");
            return;
        }
        EXPECT(policy == CO_POLICY_NONE ? child_killed(status, SIGSYS)
                                        : child_exited(status, 0));
    }
}

/* --- many --------------------------------------------------------------- */

enum { CROWD = 1000, TURNS = 3 };

static void *
count_turns(void *first)
{
    volatile size_t own = (size_t)first;
    void *got = first;
    size_t turn;

    for (turn = 0; turn < TURNS; turn++) {
        EXPECT_EQ((size_t)got, own + turn);
        EXPECT_EQ(co_yield((void *)(own * TURNS + turn), &got), CO_OK);
    }
    return (void *)own;
}

/* Everybody once, then everybody a second time; each has a stack of its own. */
static void
crowd_takes_turns(void)
{
    static co_t *crowd[CROWD];
    enum co_policy policy;

    for (policy = 0; policy < CO_POLICY_COUNT; policy++) {
        co_pool *pool = test_pool(policy, 2);
        size_t turn, i;
        void *got = NULL;

        test_case("%s", co_policy_name(policy));
        for (i = 0; i < CROWD; i++)
            REQUIRE(co_create(pool, count_turns, &crowd[i]) == CO_OK);
        for (turn = 0; turn < TURNS; turn++)
            for (i = 0; i < CROWD; i++) {
                EXPECT_EQ(co_enter(crowd[i], (void *)(i + turn), &got), CO_OK);
                EXPECT_EQ((size_t)got, i * TURNS + turn);
            }
        EXPECT_EQ(test_stats(pool).live, CROWD);
        for (i = 0; i < CROWD; i++) {
            EXPECT_EQ(co_enter(crowd[i], NULL, &got), CO_FINISHED);
            EXPECT_EQ((size_t)got, i);
        }
        EXPECT_DESTROY(pool);
    }
}

/*  main       outer      inner
 *  enters     enters     yields 1
 *             yields 1
 *  enters     enters     yields 2
 *             yields 2
 *  enters     enters     ends
 *             ends                  */
static void *
inner_body(void *first)
{
    record(&order, "inner:1");
    co_yield((void *)1, NULL);
    record(&order, "inner:2");
    co_yield((void *)2, NULL);
    record(&order, "inner:end");
    return first;
}

static void *
outer_body(void *inner)
{
    void *got;

    while (co_enter(inner, NULL, &got) == CO_OK) {
        record(&order, "outer:%d", (int)(size_t)got);
        co_yield(got, NULL);
    }
    record(&order, "outer:end");
    return NULL;
}

static void
yield_goes_to_who_entered(void)
{
    co_pool *pool = test_pool(CO_POLICY_MAGAZINE, 2);
    co_t *inner, *outer;
    void *got;

    start_record();
    REQUIRE(co_create(pool, inner_body, &inner) == CO_OK);
    REQUIRE(co_create(pool, outer_body, &outer) == CO_OK);
    while (co_enter(outer, inner, &got) == CO_OK)
        record(&order, "main:%d", (int)(size_t)got);
    record(&order, "main:end");
    EXPECT_RECORD(order, "inner:1 outer:1 main:1 inner:2 outer:2 main:2 "
                         "inner:end outer:end main:end");
    EXPECT_DESTROY(pool);
}

static void *
discard_body(void *victim)
{
    EXPECT_EQ(co_discard(victim), CO_OK);
    EXPECT_EQ(co_discard(co_self()), CO_BUSY);
    return NULL;
}

static void
suspended_coroutine_is_discarded_from_another(void)
{
    co_pool *pool = test_pool(CO_POLICY_MAGAZINE, 2);
    co_t *victim, *other;

    start_record();
    REQUIRE(co_create(pool, inner_body, &victim) == CO_OK);
    REQUIRE(co_create(pool, discard_body, &other) == CO_OK);
    EXPECT_EQ(co_enter(victim, NULL, NULL), CO_OK);
    EXPECT_EQ(co_enter(other, victim, NULL), CO_FINISHED);
    EXPECT_RECORD(order, "inner:1");
    EXPECT_EQ(test_stats(pool).live, 0);
    EXPECT_DESTROY(pool);
}

/* --- what the switch keeps ---------------------------------------------- */

static void *
round_upward(void *first)
{
    EXPECT_EQ(fegetround(), FE_DOWNWARD);
    fesetround(FE_UPWARD);
    co_yield(first, NULL);
    EXPECT_EQ(fegetround(), FE_UPWARD);
    return first;
}

static void
rounding_stays_inside(void)
{
    co_pool *pool = test_pool(CO_POLICY_MAGAZINE, 2);
    int round;

    /* Also in a stack that was used before. */
    for (round = 0; round < 3; round++) {
        co_t *co;

        REQUIRE(co_create(pool, round_upward, &co) == CO_OK);
        fesetround(FE_DOWNWARD);
        EXPECT_EQ(co_enter(co, NULL, NULL), CO_OK);
        EXPECT_EQ(fegetround(), FE_DOWNWARD);
        fesetround(FE_TONEAREST);
        EXPECT_EQ(co_enter(co, NULL, NULL), CO_FINISHED);
        EXPECT_EQ(fegetround(), FE_TONEAREST);
    }
    EXPECT_DESTROY(pool);
}

#if defined(__x86_64__)
static void *
flush_denormals(void *first)
{
    _MM_SET_FLUSH_ZERO_MODE(_MM_FLUSH_ZERO_ON);
    co_yield(first, NULL);
    EXPECT_EQ(_MM_GET_FLUSH_ZERO_MODE(), _MM_FLUSH_ZERO_OFF);
    return first;
}
#endif

/* What is in MXCSR alone: to read that costs more than the switch. */
static void
flushing_denormals_belongs_to_the_thread(void)
{
#if defined(__x86_64__)
    if (under_valgrind()) {
        test_skip("the tool keeps no such bits");
        return;
    }
    co_pool *pool = test_pool(CO_POLICY_MAGAZINE, 2);
    co_t *co;

    REQUIRE(co_create(pool, flush_denormals, &co) == CO_OK);
    EXPECT_EQ(co_enter(co, NULL, NULL), CO_OK);
    EXPECT_EQ(_MM_GET_FLUSH_ZERO_MODE(), _MM_FLUSH_ZERO_ON);
    _MM_SET_FLUSH_ZERO_MODE(_MM_FLUSH_ZERO_OFF);
    EXPECT_EQ(co_enter(co, NULL, NULL), CO_FINISHED);
    EXPECT_DESTROY(pool);
#else
    test_skip("on this machine it is part of the rounding's register");
#endif
}

static _Unwind_Reason_Code
count_frame(struct _Unwind_Context *context, void *count)
{
    (void)context;
    return ++*(unsigned *)count < 1000 ? _URC_NO_REASON : _URC_NORMAL_STOP;
}

__attribute__((noinline)) static unsigned
walk_below(unsigned depth)
{
    volatile unsigned mine = depth;
    unsigned frames = 0;

    if (depth) {
        frames = walk_below(depth - 1);
        return frames + (mine - depth);
    }
    EXPECT_EQ(_Unwind_Backtrace(count_frame, &frames), _URC_END_OF_STACK);
    return frames;
}

static void *
walk_body(void *first)
{
    unsigned shallow = walk_below(1);

    EXPECT_EQ(walk_below(11), shallow + 10);
    /* walk_below() twice, this, the entry; and what the tools put between. */
    EXPECT(shallow >= 4 && shallow <= 8);
    return first;
}

static void
stack_walk_ends_inside(void)
{
    co_pool *pool = test_pool(CO_POLICY_MAGAZINE, 2);
    co_t *co;

    REQUIRE(co_create(pool, walk_body, &co) == CO_OK);
    EXPECT_EQ(co_enter(co, NULL, NULL), CO_FINISHED);
    EXPECT_DESTROY(pool);
}

/* A handler may walk the stack wherever it struck, also between two
 * instructions of the switch: profilers do. */
static volatile sig_atomic_t signals, endless;

static void
on_signal(int number)
{
    unsigned frames = 0;

    (void)number;
    if (!SANITIZED)
        _Unwind_Backtrace(count_frame, &frames);
    endless += frames >= 1000;
    signals++;
}

static void
signals_may_come_at_any_time(void)
{
    co_pool *pool = test_pool(CO_POLICY_MAGAZINE, 2);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    int wanted = (int)test_rounds(300);

    endless = 0;
    REQUIRE(sigaction(SIGPROF, &action, NULL) == 0);
    REQUIRE(setitimer(ITIMER_PROF, &often, NULL) == 0);
    for (signals = 0; signals < wanted;)
        cycle(pool, 10);
    REQUIRE(setitimer(ITIMER_PROF, &never, NULL) == 0);
    /* The handler stays: one may still be on its way. */
    EXPECT_EQ(endless, 0);
    EXPECT_DESTROY(pool);
}

#if defined(__x86_64__)
static co_pool *stepped_pool;
static volatile sig_atomic_t stepping;

/* With this flag the processor traps behind each instruction; SIGUSR1 sets it
 * in what it interrupted, and the traps keep it. */
static void
on_step(int number, siginfo_t *info, void *context)
{
    enum { TRAP = 0x100 };
    greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];

    (void)info;
    if (number == SIGTRAP)
        on_signal(number);
    *flags = stepping ? *flags | TRAP : *flags & ~(greg_t)TRAP;
}

static int
cycle_step_by_step(void)
{
    struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};

    cycle(stepped_pool, 2);
    signals = endless = 0;
    REQUIRE(sigaction(SIGTRAP, &action, NULL) == 0);
    REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
    stepping = true;
    raise(SIGUSR1);
    cycle(stepped_pool, 1);
    stepping = false;
    EXPECT(signals > 100);
    EXPECT_EQ(endless, 0);
    return 0;
}
#endif

static void
stack_can_be_walked_at_every_instruction(void)
{
#if defined(__x86_64__)
    if (SANITIZED || under_valgrind()) {
        test_skip("the tool does not single-step");
        return;
    }
    stepped_pool = test_pool(CO_POLICY_MAGAZINE, 2);
    EXPECT(child_exited(test_child(cycle_step_by_step), 0));
    EXPECT_DESTROY(stepped_pool);
#else
    test_skip("this machine does not single-step itself");
#endif
}

/* --- overflow ----------------------------------------------------------- */

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

static co_t *victim;

static int
enter_victim(void)
{
    fault_expected(victim->block.low - victim->pool->arena.geometry.guard_size,
                   victim->block.low);
    co_enter(victim, NULL, NULL);
    return 0;
}

/* With all defaults: whatever kernel this is, there is a guard. */
static void
overflow_is_a_fault(void)
{
    struct co_pool_options options;
    co_pool *pool;

    co_pool_options_init(&options);
    REQUIRE(co_pool_create(&options, &pool) == CO_OK);
    REQUIRE(co_create(pool, overflow_body, &victim) == CO_OK);
    EXPECT(child_exited(test_child(enter_victim), FAULTED_THERE));
    EXPECT_EQ(co_discard(victim), CO_OK);
    EXPECT_DESTROY(pool);
}

int
main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(values_travel_both_ways),
        TEST(function_that_does_not_yield),
        TEST(a_thousand_deep),
        TEST(entering_what_is_entered_is_refused),
        TEST(yield_outside_is_refused),
        TEST(discard_runs_nothing_more),
        TEST(creation_fails_at_the_cap_and_works_again_below),
        TEST(every_status_has_a_sentence),
        TEST(warm_cycles_take_no_page_fault),
        TEST(warm_cycles_make_no_system_call),
        TEST(crowd_takes_turns),
        TEST(yield_goes_to_who_entered),
        TEST(suspended_coroutine_is_discarded_from_another),
        TEST(rounding_stays_inside),
        TEST(flushing_denormals_belongs_to_the_thread),
        TEST(stack_walk_ends_inside),
        TEST(signals_may_come_at_any_time),
        TEST(stack_can_be_walked_at_every_instruction),
        TEST(overflow_is_a_fault),
        TESTS_END,
    };

    return test_main(tests, argc, argv);
}
