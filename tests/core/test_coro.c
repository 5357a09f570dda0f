/* SPDX-License-Identifier: MIT
 *
 * What copool.h promises of coroutines, in one thread; test_threads.c has what
 * concerns several.
 */
#include "test.h"

#include <string.h>
#include <sys/resource.h>

#include "coro.h"

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
test_values_travel_both_ways(void)
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
test_function_that_does_not_yield(void)
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
test_a_thousand_deep(void)
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
test_entering_what_is_entered_is_refused(void)
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
test_yield_outside_is_refused(void)
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
test_discard_runs_nothing_more(void)
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
test_creation_fails_at_the_cap_and_works_again_below(void)
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
test_every_status_has_a_sentence(void)
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
    return usage.ru_minflt;
}

static void
test_warm_cycles_take_no_page_fault(void)
{
    co_pool *pool = test_pool(CO_POLICY_MAGAZINE, 64);
    struct co_pool_stats before;
    long faults;

    if (SANITIZED || under_valgrind() || under_emulator()) {
        test_skip("the tool takes page faults of its own");
    } else {
        cycle(pool, 1000);
        before = test_stats(pool);
        faults = page_faults();
        cycle(pool, 100000);
        EXPECT_EQ(page_faults() - faults, 0);
        EXPECT_EQ(test_stats(pool).reused - before.reused, 100000);
    }
    EXPECT_DESTROY(pool);
}

int
main(int argc, char **argv)
{
    static const struct test tests[] = {
        {"values_travel_both_ways", test_values_travel_both_ways},
        {"function_that_does_not_yield", test_function_that_does_not_yield},
        {"a_thousand_deep", test_a_thousand_deep},
        {"entering_what_is_entered_is_refused",
         test_entering_what_is_entered_is_refused},
        {"yield_outside_is_refused", test_yield_outside_is_refused},
        {"discard_runs_nothing_more", test_discard_runs_nothing_more},
        {"creation_fails_at_the_cap_and_works_again_below",
         test_creation_fails_at_the_cap_and_works_again_below},
        {"every_status_has_a_sentence", test_every_status_has_a_sentence},
        {"warm_cycles_take_no_page_fault", test_warm_cycles_take_no_page_fault},
        {NULL, NULL},
    };

    return test_main(tests, argc, argv);
}
