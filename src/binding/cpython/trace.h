/* SPDX-License-Identifier: MIT
 *
 * Trace and profile functions: the thread has one of each, and a chain keeps
 * what it had when it was left.
 *
 * Thread rule: all functions need the GIL; `ts` is the current thread state.
 */
#ifndef COPOOL_CPYTHON_TRACE_H
#define COPOOL_CPYTHON_TRACE_H

#include "cpython/tstate.h"

/* A trace function follows calls and returns, so a tool that has its data on a
 * stack of calls (coverage has) needs one for each chain, as it needs one for
 * each thread. A chain keeps the one that it had when it was left. But
 * sys.settrace(None) ends tracing in all chains of the thread, and a chain that
 * had none takes part in what has begun meanwhile. */
__attribute__((cold)) void tstate_save_trace(PyThreadState *ts,
                                             struct tstate_slice *s);

/* After the switch. What the other chain had may have nobody else, and to free
 * it may run Python code, so that it is left in the slice for later. */
__attribute__((cold)) void tstate_resume_trace(PyThreadState *ts,
                                               struct tstate_slice *s);

static inline bool
tstate_is_traced(const PyThreadState *ts)
{
    return __builtin_expect(ts->c_tracefunc != NULL, 0);
}

/* Whether it has a trace function or a profile function. */
static inline bool
tstate_is_followed(const PyThreadState *ts)
{
    return __builtin_expect(
        ((uintptr_t)ts->c_tracefunc | (uintptr_t)ts->c_profilefunc) != 0, 0);
}

/* On 3.11, where profile functions are told by them: tells the thread's one, if
 * it has that object, that the frame is called, or has returned. */
void tstate_profile_event(PyThreadState *ts, PyObject *object,
                          PyFrameObject *frame, bool called);

/* Makes the running chain as mute for trace functions as another one was: how
 * many of their calls it is in. */
static inline void
tstate_set_tracing(PyThreadState *ts, int tracing)
{
    if (__builtin_expect(ts->tracing == tracing, 1))
        return;
    ts->tracing = tracing;
#ifdef CO_COUNTS_ALL_CALLS
    tstate_refresh_tracing(ts);
#endif
}

/* Gives the running chain, which has just begun, a trace function of its own if
 * threading.settrace() has been told of one. Runs Python code; errors are
 * reported as unraisable. */
void tstate_begin_trace(PyThreadState *ts);

/* threading.settrace()'s function, a new reference, or NULL without an
 * exception set if there is none. Runs Python code. */
PyObject *tstate_trace_hook(PyThreadState *ts);

/* Gives the running chain, which is traced, the trace function of one that is
 * not running. May run Python code. */
void tstate_share_trace(PyThreadState *ts, const struct tstate_slice *other);

#endif
