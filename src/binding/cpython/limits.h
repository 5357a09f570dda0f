/* SPDX-License-Identifier: MIT
 *
 * What keeps calls within their stack: how many CPython lets a stack hold, and
 * the limits of a chain that goes on on another one.
 *
 * Thread rule: all functions need the GIL; `ts` is the current thread state.
 */
#ifndef COPOOL_CPYTHON_LIMITS_H
#define COPOOL_CPYTHON_LIMITS_H

#include "cpython/tstate.h"

/* The running chain, which has the slice `s`, goes on on the stack of another
 * one, with what that has left of it, until it leaves. */
struct tstate_limit {
#ifdef CO_COUNTS_ALL_CALLS
    int max_depth;
    int deeper; /* calls that stand there, but for as many of its own */
#elif defined(CO_COUNTS_C_CALLS)
    int c_remaining;
#else
    struct tstate_limits limits;
#endif
};

struct tstate_limit tstate_enter_stack(PyThreadState *ts,
                                       struct tstate_slice *s,
                                       const struct tstate_slice *other);
void tstate_leave_stack(PyThreadState *ts, struct tstate_slice *s,
                        const struct tstate_limit *before);

#ifdef CO_COUNTS_C_CALLS
/* Finds out how many a thread may make. False with an exception set. */
bool tstate_know_thread_budget(void);
#endif

/* How many nested calls through C a stack of that many bytes holds, if CPython
 * counts them. */
int tstate_budget(size_t stack_size);

/* The stack size in bytes that holds what programs do at CPython's default
 * limits, and the least that is of any use. */
size_t tstate_default_stack(void);
size_t tstate_least_stack(void);

/* Around sys.setrecursionlimit(), which must see nothing hidden of the limit in
 * any thread, and after which no running chain, which has that slice, may have
 * more of it than its stack can hold. Only where one counter counts all calls;
 * elsewhere a stack is guarded by something else. */
#ifdef CO_COUNTS_ALL_CALLS
enum { TSTATE_HIDES_LIMIT = 1 };
#else
enum { TSTATE_HIDES_LIMIT = 0 };
#endif
void tstate_hide_limit(PyThreadState *ts, struct tstate_slice *slice,
                       bool hide);

#ifdef CO_COUNTS_TRASH
/* How deep in deallocations the running chain is. */
int tstate_trash_nesting(PyThreadState *ts);
#endif

#endif
