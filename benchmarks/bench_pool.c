/* SPDX-License-Identifier: MIT
 *
 * copool's own subjects at the C level: every case, once for each policy. The
 * pools are made when first used and stay, so that they are warm; the process
 * ends with them.
 *
 * Every case counts the steps that its coroutines took and compares the sum
 * with what n operations must give.
 */
#include "bench_pool.h"

#include <fenv.h>
#include <stdlib.h>

#include "bench_mixed.h"

co_pool *
bench_pool(int policy)
{
    static co_pool *pools[CO_POLICY_COUNT];

    if (!pools[policy]) {
        struct co_pool_options options;
        co_pool_options_init(&options);
        options.policy = (enum co_policy)policy;
        enum co_status status = co_pool_create(&options, &pools[policy]);
        if (status != CO_OK) {
            bench_refuse(co_status_text(status));
            return NULL;
        }
    }
    return pools[policy];
}

int64_t
bench_failure(enum co_status status)
{
    return status < 0 ? bench_refuse(co_status_text(status)) : BENCH_WRONG;
}

/* --- bodies ------------------------------------------------------------- */

void *
bench_body_empty(void *steps)
{
    ++*(long *)steps;
    return steps;
}

static void *
body_yield_once(void *steps)
{
    ++*(long *)steps;
    co_yield(steps, NULL);
    ++*(long *)steps;
    return steps;
}

/* Yields until it is sent NULL. */
static void *
body_yield_on(void *steps)
{
    void *sent = steps;
    while (sent) {
        ++*(long *)steps;
        co_yield(steps, &sent);
    }
    return steps;
}

/* The same, once an operation of it has been inexact. */
static void *
body_yield_on_inexact(void *steps)
{
    bench_be_inexact();
    return body_yield_on(steps);
}

BENCH_INLINE bool
goes_on(void *self)
{
    void *sent = NULL;
    co_yield(self, &sent);
    return sent != NULL;
}

#define BODY(name)                                                             \
    static void *body_##name(void *steps)                                      \
    {                                                                          \
        *(long *)steps += name(goes_on, steps);                                \
        return steps;                                                          \
    }
BENCH_MIXED(BODY)
#undef BODY

struct nest {
    co_pool *pool;
    long left; /* how many more are to be made */
    long steps;
    enum co_status status; /* of the first thing that went wrong */
};

static void *
body_nest(void *argument)
{
    struct nest *nest = argument;
    co_t *inner;

    nest->steps++;
    if (--nest->left > 0) {
        enum co_status status = co_create(nest->pool, body_nest, &inner);
        if (status == CO_OK)
            status = co_enter(inner, nest, NULL);
        if (status != CO_FINISHED)
            nest->status = status;
    }
    return nest;
}

/* --- cases -------------------------------------------------------------- */

static int64_t
run_lifecycle(int policy, long n, long width)
{
    co_pool *pool = bench_pool(policy);
    long steps = 0;
    (void)width;
    if (!pool)
        return BENCH_REFUSED;

    int64_t start = bench_clock();
    for (long i = 0; i < n; i++) {
        co_t *co;
        enum co_status status = co_create(pool, bench_body_empty, &co);
        if (status == CO_OK)
            status = co_enter(co, &steps, NULL);
        if (status != CO_FINISHED)
            return bench_failure(status);
    }
    int64_t end = bench_clock();
    return steps == n ? end - start : BENCH_WRONG;
}

static int64_t
run_cost(int policy, long n, long width)
{
    co_pool *pool = bench_pool(policy);
    long steps = 0;
    (void)width;
    if (!pool)
        return BENCH_REFUSED;

    int64_t start = bench_clock();
    for (long i = 0; i < n; i++) {
        co_t *co;
        enum co_status status = co_create(pool, body_yield_once, &co);
        if (status == CO_OK)
            status = co_enter(co, &steps, NULL);
        if (status == CO_OK)
            status = co_enter(co, &steps, NULL);
        if (status != CO_FINISHED)
            return bench_failure(status);
    }
    int64_t end = bench_clock();
    return steps == 2 * n ? end - start : BENCH_WRONG;
}

static int64_t
yield_with(int policy, co_fn *body, long n)
{
    co_pool *pool = bench_pool(policy);
    long steps = 0;
    co_t *co;
    if (!pool)
        return BENCH_REFUSED;

    enum co_status status = co_create(pool, body, &co);
    if (status != CO_OK)
        return bench_failure(status);
    int64_t start = bench_clock();
    for (long i = 0; i < n; i++)
        co_enter(co, &steps, NULL);
    int64_t end = bench_clock();
    if (co_enter(co, NULL, NULL) != CO_FINISHED)
        return BENCH_WRONG;
    return steps == n ? end - start : BENCH_WRONG;
}

static int64_t
run_yield(int policy, long n, long width)
{
    (void)width;
    return yield_with(policy, body_yield_on, n);
}

static int64_t
run_inexact(int policy, long n, long width)
{
    (void)width;
    feclearexcept(FE_ALL_EXCEPT);
    return yield_with(policy, body_yield_on_inexact, n);
}

static int64_t
run_nesting(int policy, long n, long width)
{
    struct nest nest = {.pool = bench_pool(policy)};
    (void)width;
    if (!nest.pool)
        return BENCH_REFUSED;

    int64_t start = bench_clock();
    for (long i = 0; i < n; i++) {
        co_t *co;
        nest.left = BENCH_NESTING;
        enum co_status status = co_create(nest.pool, body_nest, &co);
        if (status == CO_OK)
            status = co_enter(co, &nest, NULL);
        if (status != CO_FINISHED)
            return bench_failure(status);
        if (nest.status != CO_OK)
            return bench_failure(nest.status);
    }
    int64_t end = bench_clock();
    return nest.steps == n * BENCH_NESTING ? end - start : BENCH_WRONG;
}

/* Round-robin over `width` coroutines, n times round. Making them and letting
 * them finish is not timed. */
static int64_t
run_crowd(int policy, long n, long width)
{
    co_pool *pool = bench_pool(policy);
    long steps = 0, made = 0;
    int64_t elapsed = 0;
    if (!pool)
        return BENCH_REFUSED;
    co_t **crowd = malloc((size_t)width * sizeof *crowd);
    if (!crowd)
        return bench_refuse("malloc() failed");

    enum co_status status = CO_OK;
    while (made < width && status == CO_OK) {
        status = co_create(pool, body_yield_on, &crowd[made]);
        if (status == CO_OK)
            co_enter(crowd[made++], &steps, NULL);
    }
    if (status == CO_OK) {
        int64_t start = bench_clock();
        for (long i = 0; i < n; i++)
            for (long k = 0; k < width; k++)
                co_enter(crowd[k], &steps, NULL);
        elapsed = bench_clock() - start;
    }
    if (steps != (status == CO_OK ? n + 1 : 1) * made)
        elapsed = BENCH_WRONG;
    for (long k = 0; k < made; k++)
        if (co_enter(crowd[k], NULL, NULL) != CO_FINISHED)
            elapsed = BENCH_WRONG;
    free(crowd);
    return status == CO_OK ? elapsed : bench_failure(status);
}

static int64_t
run_mixed(int policy, long n, long width)
{
#define BODY(name) body_##name,
    static co_fn *const bodies[] = {BENCH_MIXED(BODY)};
#undef BODY
    co_pool *pool = bench_pool(policy);
    co_t *mixed[BENCH_BODIES];
    long steps = 0;
    uint64_t order = 0;
    bool right = true;
    (void)width;
    if (!pool)
        return BENCH_REFUSED;

    for (int k = 0; k < BENCH_BODIES; k++) {
        enum co_status status = co_create(pool, bodies[k], &mixed[k]);
        if (status != CO_OK)
            return bench_failure(status);
        co_enter(mixed[k], &steps, NULL);
    }
    int64_t start = bench_clock();
    for (long i = 0; i < n; i++)
        co_enter(mixed[bench_next_body(&order)], &steps, NULL);
    int64_t end = bench_clock();
    for (int k = 0; k < BENCH_BODIES; k++)
        right = co_enter(mixed[k], NULL, NULL) == CO_FINISHED && right;
    return right && steps == n + BENCH_BODIES ? end - start : BENCH_WRONG;
}

const struct bench_row bench_pool_rows[] = {
    {"lifecycle", run_lifecycle}, {"cost", run_cost},
    {"yield", run_yield},         {"inexact", run_inexact},
    {"nesting", run_nesting},     {"crowd", run_crowd},
    {"mixed", run_mixed},         {"handoff", bench_handoff},
    {"threads", bench_threads},   {NULL, NULL},
};
