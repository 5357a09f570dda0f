/* SPDX-License-Identifier: MIT
 *
 * What the files of the C-level benchmark share. The library that they make
 * is loaded by copool.commands.bench through ctypes; nothing here knows of
 * Python.
 *
 * Thread rule: one corebench_run() at a time. The cases that want threads
 * start and join their own.
 */
#ifndef CO_COREBENCH_H
#define CO_COREBENCH_H

#include <stdint.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

#define COREBENCH_API __attribute__((visibility("default")))

/* What a case gives instead of nanoseconds. */
enum bench_error {
    BENCH_UNKNOWN = -1, /* no such case, or the subject has no such case */
    BENCH_WRONG = -2,   /* it came to a wrong result: the time means nothing */
    BENCH_REFUSED = -3, /* no memory, no thread, or a cap: bench_why() says */
};

/* A case runs n operations and gives the nanoseconds that all of them took,
 * or a bench_error. `width` is the number of threads, or of coroutines alive,
 * where a case has such a thing. `which` is the subject's own argument. */
typedef int64_t bench_case(int which, long n, long width);

struct bench_row {
    const char *name; /* of the case */
    bench_case *run;
};

struct bench_subject {
    const char *name;
    int which;
    const struct bench_row *rows; /* ends with a NULL name */
};

extern const struct bench_row bench_baseline_rows[];
extern const struct bench_row bench_pool_rows[];
extern const struct bench_row bench_ucontext_rows[];
#ifdef HAVE_BOOST_CONTEXT
extern const struct bench_row bench_boost_rows[];
extern const struct bench_row bench_fcontext_rows[];
#endif

/* Notes why a case gives BENCH_REFUSED, and gives that. `why` has static
 * storage. */
int64_t bench_refuse(const char *why);

/* The number of coroutines that enter one another in the nesting case. */
enum { BENCH_NESTING = 1000 };

static inline int64_t
bench_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Raises the flag for that, which stays raised until somebody clears it. The
 * C library's function for it may raise that of another unit of the processor.
 */
static inline void
bench_be_inexact(void)
{
    volatile double third = 1;
    third /= 3;
}

/* --- for copool.commands.bench
 * --------------------------------------------------- */

/* Runs n operations of a case by a subject, or gives a bench_error. */
COREBENCH_API int64_t corebench_run(const char *case_name, const char *subject,
                                    long n, long width);

/* Why the last run was refused. */
COREBENCH_API const char *corebench_why(void);

/* The compiler that made the core and this. */
COREBENCH_API const char *corebench_compiler(void);

/* 1 when Boost.Context was there at build time. */
COREBENCH_API int corebench_has_boost(void);

/* Does nothing but call the other one, which does nothing. The instruction
 * counter has callgrind write down its counts, and clear them, at that. */
COREBENCH_API void corebench_mark(void);
COREBENCH_API void corebench_dump(void);

#ifdef __cplusplus
}
#endif

#endif
