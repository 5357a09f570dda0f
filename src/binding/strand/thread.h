/* SPDX-License-Identifier: MIT
 *
 * The record of a thread: found, made, and ended with its thread state.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_STRAND_THREAD_H
#define COPOOL_STRAND_THREAD_H

#include "cpython/tstate.h"
#include "strand/record.h"
#include "strand/unwind.h"

/* The current thread's record. NULL without an exception if it has none, with
 * one if there is no memory to find out. */
struct thread_record *thread_record_peek(void);

/* Whether it is the current thread's: a thread state that has ended may have
 * been at the address where the current one is. For finalizers. */
bool strand_is_here(const struct strand *s);

/* For the thread state `ts`, made if need be. NULL with an exception set. */
struct thread_record *thread_record_search(PyThreadState *ts);

/* The current thread's record. NULL with an exception set if there is no
 * memory for it, or if the thread is ending. */
static inline struct thread_record *
thread_record_get(void)
{
    PyThreadState *ts = tstate_get();
    struct thread_record *t = thread_record_last;

    /* It may be the record that a thread of another interpreter uses now. */
    if (CO_LIKELY(t && __atomic_load_n(&t->ts, __ATOMIC_RELAXED) == ts))
        return t;
    return thread_record_search(ts);
}

bool thread_record_is_late(void);

/* Sets *t to the same; or to NULL in a thread that is ending and can have none
 * any more. For what only asks, or makes what may begin in another thread.
 * False with an exception set if there is no memory. */
static inline bool
thread_record_try(struct thread_record **t)
{
    *t = thread_record_get();
    return CO_LIKELY(*t != NULL) || thread_record_is_late();
}

/* The current thread's record after what other threads left for it to do, which
 * may run Python code. NULL with an exception set. For functions that are about
 * to switch. */
static inline struct thread_record *
thread_record_enter(void)
{
    struct thread_record *t = thread_record_get();

    if (CO_UNLIKELY(t && t->dropped))
        strand_unwind_dropped(t);
    return t;
}

/* Whether the threads of the interpreter keep faces to be reused at once, whose
 * makers then can't be noted. */
void strand_keep_faces(bool keep);

/* tstate_hide_limit() for what runs in each thread of this interpreter. */
void strand_hide_limits(bool hide);

#endif
