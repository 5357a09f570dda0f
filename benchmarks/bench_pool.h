/* SPDX-License-Identifier: MIT
 *
 * Between the two files that have copool's own subjects: the cases of one
 * thread are in bench_pool.c, those of several in bench_threads.c.
 */
#ifndef CO_BENCH_POOL_H
#define CO_BENCH_POOL_H

#include "copool.h"
#include "corebench.h"

/* The pool that has this policy and otherwise the default options. NULL, with
 * the reason noted, when it cannot be made. Not to be called by two threads
 * at once. */
co_pool *bench_pool(int policy);

/* What a case gives after a status that it did not expect. */
int64_t bench_failure(enum co_status status);

/* Adds one to the long that it is sent, and returns. */
void *bench_body_empty(void *steps);

bench_case bench_handoff;
bench_case bench_threads;
bench_case bench_threads_call;

#endif
