/* SPDX-License-Identifier: MIT
 *
 * A subject to compare with: coroutines made with makecontext() and
 * swapcontext(), as one would write them with the C library alone. Their
 * stacks are kept in a list and reused, without a lock, so what is compared
 * is the switch. swapcontext() makes a system call for the signal mask.
 *
 * Thread rule: one thread.
 */
#include "corebench.h"

#include <fenv.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "bench_mixed.h"

enum { STACK_SIZE = 64 * 1024 };

struct fiber {
    ucontext_t own, caller;
    struct fiber *next; /* while it is in the list of unused ones */
    void *stack;
    void (*body)(struct fiber *fiber);
    long *steps;
    int finished, stop;
};

static struct fiber *unused;

/* makecontext() passes ints only. */
static struct fiber *starting;

static void
start(void)
{
    struct fiber *fiber = starting;
    fiber->body(fiber);
    fiber->finished = 1;
    swapcontext(&fiber->own, &fiber->caller);
}

static struct fiber *
fiber_create(void (*body)(struct fiber *), long *steps)
{
    struct fiber *fiber = unused;
    if (fiber) {
        unused = fiber->next;
    } else {
        fiber = calloc(1, sizeof *fiber);
        if (!fiber)
            return NULL;
        fiber->stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (fiber->stack == MAP_FAILED) {
            free(fiber);
            return NULL;
        }
    }
    fiber->body = body;
    fiber->steps = steps;
    fiber->finished = fiber->stop = 0;
    getcontext(&fiber->own);
    fiber->own.uc_stack.ss_sp = fiber->stack;
    fiber->own.uc_stack.ss_size = STACK_SIZE;
    fiber->own.uc_link = NULL;
    makecontext(&fiber->own, start, 0);
    return fiber;
}

static void
fiber_put(struct fiber *fiber)
{
    fiber->next = unused;
    unused = fiber;
}

static int
fiber_enter(struct fiber *fiber)
{
    starting = fiber;
    swapcontext(&fiber->caller, &fiber->own);
    return fiber->finished;
}

static void
fiber_yield(struct fiber *fiber)
{
    swapcontext(&fiber->own, &fiber->caller);
}

static int64_t
out_of_memory(void)
{
    return bench_refuse("no memory or no mapping left for a stack");
}

/* --- bodies and cases: bench_pool.c has the same ones ------------------- */

static void
body_empty(struct fiber *fiber)
{
    ++*fiber->steps;
}

static void
body_yield_once(struct fiber *fiber)
{
    ++*fiber->steps;
    fiber_yield(fiber);
    ++*fiber->steps;
}

static void
body_yield_on(struct fiber *fiber)
{
    while (!fiber->stop) {
        ++*fiber->steps;
        fiber_yield(fiber);
    }
}

static void
body_yield_on_inexact(struct fiber *fiber)
{
    bench_be_inexact();
    body_yield_on(fiber);
}

BENCH_INLINE bool
goes_on(void *self)
{
    struct fiber *fiber = self;
    fiber_yield(fiber);
    return !fiber->stop;
}

#define BODY(name)                                                             \
    static void body_##name(struct fiber *fiber)                               \
    {                                                                          \
        *fiber->steps += name(goes_on, fiber);                                 \
    }
BENCH_MIXED(BODY)
#undef BODY

static int64_t
run_lifecycle(int which, long n, long width)
{
    long steps = 0;
    (void)which;
    (void)width;

    int64_t begin = bench_clock();
    for (long i = 0; i < n; i++) {
        struct fiber *fiber = fiber_create(body_empty, &steps);
        if (!fiber)
            return out_of_memory();
        if (!fiber_enter(fiber))
            return BENCH_WRONG;
        fiber_put(fiber);
    }
    int64_t end = bench_clock();
    return steps == n ? end - begin : BENCH_WRONG;
}

static int64_t
run_cost(int which, long n, long width)
{
    long steps = 0;
    (void)which;
    (void)width;

    int64_t begin = bench_clock();
    for (long i = 0; i < n; i++) {
        struct fiber *fiber = fiber_create(body_yield_once, &steps);
        if (!fiber)
            return out_of_memory();
        fiber_enter(fiber);
        if (!fiber_enter(fiber))
            return BENCH_WRONG;
        fiber_put(fiber);
    }
    int64_t end = bench_clock();
    return steps == 2 * n ? end - begin : BENCH_WRONG;
}

static int64_t
yield_with(void (*body)(struct fiber *), long n)
{
    long steps = 0;

    struct fiber *fiber = fiber_create(body, &steps);
    if (!fiber)
        return out_of_memory();
    int64_t begin = bench_clock();
    for (long i = 0; i < n; i++)
        fiber_enter(fiber);
    int64_t end = bench_clock();
    fiber->stop = 1;
    int finished = fiber_enter(fiber);
    fiber_put(fiber);
    return finished && steps == n ? end - begin : BENCH_WRONG;
}

static int64_t
run_yield(int which, long n, long width)
{
    (void)which;
    (void)width;
    return yield_with(body_yield_on, n);
}

static int64_t
run_inexact(int which, long n, long width)
{
    (void)which;
    (void)width;
    feclearexcept(FE_ALL_EXCEPT);
    return yield_with(body_yield_on_inexact, n);
}

static int64_t
run_crowd(int which, long n, long width)
{
    long steps = 0, made = 0;
    int64_t elapsed;
    (void)which;
    struct fiber **crowd = malloc((size_t)width * sizeof(struct fiber *));
    if (!crowd)
        return out_of_memory();

    for (; made < width; made++) {
        crowd[made] = fiber_create(body_yield_on, &steps);
        if (!crowd[made])
            break;
        fiber_enter(crowd[made]);
    }
    if (made == width) {
        int64_t begin = bench_clock();
        for (long i = 0; i < n; i++)
            for (long k = 0; k < width; k++)
                fiber_enter(crowd[k]);
        elapsed = bench_clock() - begin;
        if (steps != (n + 1) * width)
            elapsed = BENCH_WRONG;
    } else {
        elapsed = out_of_memory();
    }
    /* Unmapped, not kept: the next in line may need the mappings. */
    for (long k = 0; k < made; k++) {
        munmap(crowd[k]->stack, STACK_SIZE);
        free(crowd[k]);
    }
    free(crowd);
    return elapsed;
}

static int64_t
run_mixed(int which, long n, long width)
{
#define BODY(name) body_##name,
    static void (*const bodies[])(struct fiber *) = {BENCH_MIXED(BODY)};
#undef BODY
    struct fiber *mixed[BENCH_BODIES];
    long steps = 0;
    uint64_t order = 0;
    bool right = true;
    (void)which;
    (void)width;

    for (int k = 0; k < BENCH_BODIES; k++) {
        mixed[k] = fiber_create(bodies[k], &steps);
        if (!mixed[k])
            return out_of_memory();
        fiber_enter(mixed[k]);
    }
    int64_t begin = bench_clock();
    for (long i = 0; i < n; i++)
        fiber_enter(mixed[bench_next_body(&order)]);
    int64_t end = bench_clock();
    for (int k = 0; k < BENCH_BODIES; k++) {
        mixed[k]->stop = 1;
        right = fiber_enter(mixed[k]) && right;
        fiber_put(mixed[k]);
    }
    return right && steps == n + BENCH_BODIES ? end - begin : BENCH_WRONG;
}

const struct bench_row bench_ucontext_rows[] = {
    {"lifecycle", run_lifecycle},
    {"cost", run_cost},
    {"yield", run_yield},
    {"inexact", run_inexact},
    {"crowd", run_crowd},
    {"mixed", run_mixed},
    {NULL, NULL},
};
