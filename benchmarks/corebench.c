/* SPDX-License-Identifier: MIT
 *
 * The entry points of the C-level benchmark, its table of subjects, and the
 * two baselines: a call through a pointer, and a mapping of 16 KiB.
 *
 * A thread is parked as long as the library is loaded. While a process has
 * one thread only, glibc's mutex leaves out the atomic instructions; what the
 * benchmark compares is how pools do in programs that have threads, so every
 * subject runs in a process that has two.
 */
#include "corebench.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench_pool.h"

static const char *refusal = "";

static const struct bench_subject subjects[] = {
    {"call", 0, bench_baseline_rows},
    {"none", CO_POLICY_NONE, bench_pool_rows},
    {"mutex", CO_POLICY_MUTEX, bench_pool_rows},
    {"release", CO_POLICY_RELEASE, bench_pool_rows},
    {"magazine", CO_POLICY_MAGAZINE, bench_pool_rows},
    {"ucontext", 0, bench_ucontext_rows},
#ifdef HAVE_BOOST_CONTEXT
    {"boost", 0, bench_boost_rows},
    {"fcontext", 0, bench_fcontext_rows},
#endif
    {NULL, 0, NULL},
};

int64_t
bench_refuse(const char *why)
{
    refusal = why;
    return BENCH_REFUSED;
}

/* --- the parked thread -------------------------------------------------- */

static void *
park(void *unused)
{
    (void)unused;
    for (;;)
        pause();
    return NULL;
}

static int64_t
park_a_thread(void)
{
    static pthread_t parked;
    static int is_parked;

    if (is_parked)
        return 0;
    if (pthread_create(&parked, NULL, park, NULL) != 0)
        return bench_refuse("no thread could be started");
    is_parked = 1;
    return 0;
}

/* --- the baselines ------------------------------------------------------ */

static __attribute__((noinline)) void
count_one(long *counter)
{
    *counter += 1;
    __asm__ volatile("" : : "r"(counter) : "memory");
}

static int64_t
run_call(int which, long n, long width)
{
    void (*volatile function)(long *) = count_one;
    long counter = 0;
    (void)which;
    (void)width;

    int64_t start = bench_clock();
    for (long i = 0; i < n; i++)
        function(&counter);
    int64_t end = bench_clock();
    return counter == n ? end - start : BENCH_WRONG;
}

/* What CPython does for every greenlet that it runs: maps the first chunk of
 * a data stack, writes to its beginning, and unmaps it at the end. */
static int64_t
run_map(int which, long n, long width)
{
    const size_t size = 16 * 1024;
    (void)which;
    (void)width;

    int64_t start = bench_clock();
    for (long i = 0; i < n; i++) {
        volatile char *chunk = mmap(NULL, size, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (chunk == MAP_FAILED)
            return bench_refuse("mmap() failed");
        chunk[0] = 1;
        munmap((void *)chunk, size);
    }
    return bench_clock() - start;
}

const struct bench_row bench_baseline_rows[] = {
    {"function-call", run_call},
    {"map-16k", run_map},
    {"threads", bench_threads_call},
    {NULL, NULL},
};

/* --- entry points ------------------------------------------------------- */

int64_t
corebench_run(const char *case_name, const char *subject, long n, long width)
{
    int64_t status = park_a_thread();
    if (status < 0)
        return status;
    for (const struct bench_subject *s = subjects; s->name; s++) {
        if (strcmp(s->name, subject) != 0)
            continue;
        for (const struct bench_row *row = s->rows; row->name; row++)
            if (strcmp(row->name, case_name) == 0)
                return row->run(s->which, n, width);
    }
    return BENCH_UNKNOWN;
}

const char *
corebench_why(void)
{
    return refusal;
}

const char *
corebench_compiler(void)
{
#ifdef __clang__
    return __VERSION__;
#else
    return "GCC " __VERSION__;
#endif
}

int
corebench_has_boost(void)
{
#ifdef HAVE_BOOST_CONTEXT
    return 1;
#else
    return 0;
#endif
}

/* callgrind looks for this name. It sees no call that comes from libffi, as
 * those of ctypes do; hence a function for it to be called from. */
__attribute__((noinline)) void
corebench_dump(void)
{
    __asm__ volatile("");
}

void
corebench_mark(void)
{
    corebench_dump();
    __asm__ volatile(""); /* so that the call is not the last thing, a jump */
}
