/* SPDX-License-Identifier: MIT
 *
 * The end of a thread state and of the interpreter, as far as a chain may
 * notice.
 *
 * Thread rule: all functions need the GIL; `ts` is the current thread state.
 */
#ifndef COPOOL_CPYTHON_THREAD_H
#define COPOOL_CPYTHON_THREAD_H

#include "cpython/tstate.h"

/* What CPython clears after the dictionary of a thread state that ends, as far
 * as it may run Python code. */
void tstate_clear_rest(PyThreadState *ts);

/* The dictionary that was made for it since, which CPython would not free. */
void tstate_drop_dict(PyThreadState *ts);

/* Whether its dictionary may be gone for good, so that what is begun now would
 * not be told to end. Before 3.13 threading.local() is a part of it, whose
 * finalizers may come after ours: there that is left to leak. */
static inline bool
tstate_is_ending(const PyThreadState *ts)
{
#if PY_VERSION_HEX < 0x030D0000
    (void)ts;
    return false;
#else
    return ts->_status.finalizing && !ts->dict;
#endif
}

/* Whether CPython is clearing it, for a record that has been in its dictionary.
 */
static inline bool
tstate_is_being_cleared(const PyThreadState *ts)
{
#if PY_VERSION_HEX < 0x030D0000
    return !ts->dict;
#else
    return ts->_status.finalizing;
#endif
}

/* Lets the thread state free its own data stack rather than the running
 * chain's, when it ends with a chain of ours still running. */
void tstate_return_data_stack(PyThreadState *ts, struct tstate_slice *own);

bool tstate_is_finalizing(void);

#endif
