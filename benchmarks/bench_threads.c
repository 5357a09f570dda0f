/* SPDX-License-Identifier: MIT
 *
 * The cases that have more than one thread: `threads`, where each makes and
 * finishes coroutines of its own, and `handoff`, where one makes them all and
 * another finishes them all.
 */
#include "bench_pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { WARM_UP = 512, MOST_THREADS = 256 };

/* Waits a little: first without leaving the processor, then by leaving it, so
 * that two threads on one processor also get on. */
static void
wait_a_little(unsigned *turns)
{
    if (++*turns % 64 == 0)
        sched_yield();
}

/* --- threads ------------------------------------------------------------ */

/* Where all threads look. They stop as soon as the first has done its share,
 * so that all of them run all of the time that is measured. */
struct course {
    _Atomic long absent;  /* how many have not come to the start yet */
    _Atomic bool is_over; /* one of them has done all its operations */
};

enum { STRIDE = 64 }; /* operations between two looks at is_over */

struct runner {
    struct course *course;
    co_pool *pool; /* NULL: plain calls */
    long n;        /* how many to do at most */
    long done;     /* how many it did */
    long steps;    /* how many of these really ran */
    int64_t start, end;
    enum co_status status;
};

static enum co_status
finish_many(co_pool *pool, long n, long *steps)
{
    void *(*volatile function)(void *) = bench_body_empty;

    if (!pool) {
        for (long i = 0; i < n; i++)
            function(steps);
        return CO_FINISHED;
    }
    for (long i = 0; i < n; i++) {
        co_t *co;
        enum co_status status = co_create(pool, bench_body_empty, &co);
        if (status == CO_OK)
            status = co_enter(co, steps, NULL);
        if (status != CO_FINISHED)
            return status;
    }
    return CO_FINISHED;
}

static void *
run_runner(void *argument)
{
    struct runner *runner = argument;
    struct course *course = runner->course;
    long warm = 0, steps = 0; /* not in the struct: no shared cache lines */
    long done = 0;
    unsigned turns = 0;
    enum co_status status = CO_FINISHED;

    finish_many(runner->pool, WARM_UP, &warm);
    /* relaxed, here and below: the course orders nothing, it only brings the
     * starts and the ends together; what runners leave behind is read after
     * pthread_join(). */
    atomic_fetch_sub_explicit(&course->absent, 1, memory_order_relaxed);
    while (atomic_load_explicit(&course->absent, memory_order_relaxed))
        wait_a_little(&turns);
    runner->start = bench_clock();
    while (done < runner->n && status == CO_FINISHED &&
           !atomic_load_explicit(&course->is_over, memory_order_relaxed)) {
        long stride = runner->n - done < STRIDE ? runner->n - done : STRIDE;
        status = finish_many(runner->pool, stride, &steps);
        done += stride;
    }
    atomic_store_explicit(&course->is_over, true, memory_order_relaxed);
    runner->end = bench_clock();
    runner->status = status;
    runner->done = done;
    runner->steps = steps;
    return NULL;
}

static int64_t
run_threads(co_pool *pool, long n, long width)
{
    pthread_t threads[MOST_THREADS];
    struct runner runners[MOST_THREADS];
    struct course course;
    long started = 0;
    if (width < 1 || width > MOST_THREADS)
        return bench_refuse("more threads than the benchmark has room for");

    atomic_init(&course.absent, width);
    atomic_init(&course.is_over, false);
    for (; started < width; started++) {
        runners[started] =
            (struct runner){.course = &course, .pool = pool, .n = n};
        if (pthread_create(&threads[started], NULL, run_runner,
                           &runners[started]) != 0)
            break;
    }
    /* relaxed: as above. Lets those go who wait for threads that never came.
     */
    atomic_fetch_sub_explicit(&course.absent, width - started,
                              memory_order_relaxed);
    for (long i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (started < width)
        return bench_refuse("no thread could be started");

    int64_t first = runners[0].start, last = runners[0].end;
    long done = 0;
    for (long i = 0; i < width; i++) {
        if (runners[i].status != CO_FINISHED)
            return bench_failure(runners[i].status);
        if (runners[i].steps != runners[i].done)
            return BENCH_WRONG;
        done += runners[i].done;
        first = runners[i].start < first ? runners[i].start : first;
        last = runners[i].end > last ? runners[i].end : last;
    }
    /* As if each had done n. */
    return (int64_t)((double)(last - first) * (double)(n * width) /
                     (double)done);
}

/* `width` threads, until one has done n operations; the time is what all would
 * have taken for n each at that pace. */
int64_t
bench_threads(int policy, long n, long width)
{
    co_pool *pool = bench_pool(policy);
    return pool ? run_threads(pool, n, width) : BENCH_REFUSED;
}

/* The same with a plain call for each operation: how far the machine itself
 * scales at the moment. */
int64_t
bench_threads_call(int which, long n, long width)
{
    (void)which;
    return run_threads(NULL, n, width);
}

/* --- handoff ------------------------------------------------------------ */

enum { RING = 256 }; /* coroutines under way between the two threads */

/* One thread writes, one reads. Each index is written by one of them only and
 * stands in a cache line of its own. */
struct ring {
    _Alignas(64) _Atomic long sent; /* how many were put in */
    _Alignas(64) _Atomic long done; /* how many were taken out and finished */
    _Alignas(64) co_t *slots[RING]; /* NULL: no more will come */
};

struct finisher {
    struct ring ring;
    long total;
    long steps;
    enum co_status status;
};

static void *
run_finisher(void *argument)
{
    struct finisher *finisher = argument;
    struct ring *ring = &finisher->ring;
    unsigned turns = 0;

    for (long i = 0; i < finisher->total; i++) {
        /* acquire: pairs with the release in send(), which makes the slot
         * and the coroutine visible. */
        while (atomic_load_explicit(&ring->sent, memory_order_acquire) == i)
            wait_a_little(&turns);
        co_t *co = ring->slots[i % RING];
        if (!co)
            break;
        enum co_status status = co_enter(co, &finisher->steps, NULL);
        if (status != CO_FINISHED)
            finisher->status = status;
        /* release: pairs with the acquire in send() and in await(), so that
         * the slot is free and `steps` is there to be read. */
        atomic_store_explicit(&ring->done, i + 1, memory_order_release);
    }
    return NULL;
}

/* Waits until `count` coroutines have finished. */
static void
await(struct ring *ring, long count)
{
    unsigned turns = 0;
    /* acquire: pairs with the release in run_finisher(). */
    while (atomic_load_explicit(&ring->done, memory_order_acquire) < count)
        wait_a_little(&turns);
}

static void
send(struct ring *ring, long index, co_t *co)
{
    await(ring, index - RING + 1);
    ring->slots[index % RING] = co;
    /* release: pairs with the acquire in run_finisher(). */
    atomic_store_explicit(&ring->sent, index + 1, memory_order_release);
}

int64_t
bench_handoff(int policy, long n, long width)
{
    struct finisher finisher = {.total = WARM_UP + n, .status = CO_FINISHED};
    struct ring *ring = &finisher.ring;
    co_pool *pool = bench_pool(policy);
    int64_t start = 0;
    pthread_t thread;
    (void)width;
    if (!pool)
        return BENCH_REFUSED;
    if (pthread_create(&thread, NULL, run_finisher, &finisher) != 0)
        return bench_refuse("no thread could be started");

    for (long i = 0; i < finisher.total; i++) {
        co_t *co;
        if (i == WARM_UP) {
            await(ring, i);
            start = bench_clock();
        }
        enum co_status status;
        unsigned turns = 0;
        /* At the cap we are merely too far ahead of the other thread. */
        while ((status = co_create(pool, bench_body_empty, &co)) == CO_AT_CAP)
            wait_a_little(&turns);
        if (status != CO_OK) {
            send(ring, i, NULL);
            pthread_join(thread, NULL);
            return bench_failure(status);
        }
        send(ring, i, co);
    }
    await(ring, finisher.total);
    int64_t end = bench_clock();
    pthread_join(thread, NULL);
    if (finisher.status != CO_FINISHED)
        return bench_failure(finisher.status);
    return finisher.steps == finisher.total ? end - start : BENCH_WRONG;
}
