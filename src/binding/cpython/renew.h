/* SPDX-License-Identifier: MIT
 *
 * Code that tools have changed while chains were suspended.
 *
 * Thread rule: all functions need the GIL; `ts` is the current thread state.
 */
#ifndef COPOOL_CPYTHON_RENEW_H
#define COPOOL_CPYTHON_RENEW_H

#include "cpython/tstate.h"

/* A tool that begins to follow calls, or ends, changes the code of what is
 * running, and other code when that is next called. Chains that are suspended
 * meanwhile are left out: their code must be renewed before they go on. Not
 * only would a tool miss what they do: from 3.15 on an exception in them would
 * crash, and a debug build of 3.14 ends the process. */

/* Changes with each of these. */
static inline uint64_t
tstate_instrumentation(const PyThreadState *ts)
{
#ifndef CO_INSTRUMENTS_CODE
    (void)ts;
    return 0;
#elif PY_VERSION_HEX < 0x030D0000
    return ts->interp->monitoring_version;
#else
    return ts->eval_breaker & ~(uintptr_t)0xff; /* these are flags */
#endif
}

/* Whether it is another one. From 3.13 on it may be just a flag that is set. */
static inline bool
tstate_is_instrumented_anew(const PyThreadState *ts, uint64_t version)
{
#ifndef CO_INSTRUMENTS_CODE
    (void)ts;
    (void)version;
    return false;
#elif PY_VERSION_HEX < 0x030D0000
    return ts->interp->monitoring_version != version;
#else
    return ts->eval_breaker != version;
#endif
}

/* Work on the code of some chains. It is zero at the beginning. Runs no Python
 * code, but must not be in the middle of a switch. The version may change with
 * tstate_renewal_end(), which is of no importance to anybody. */
struct tstate_renewal {
    PyObject *monitoring; /* sys.monitoring's names, borrowed */
    int tool;             /* with which it is done */
    bool taken;           /* it was not in use */
};

/* Renews the code of a chain that is not running. */
void tstate_renew(struct tstate_renewal *r, PyThreadState *ts,
                  const struct tstate_slice *s);
void tstate_renewal_end(struct tstate_renewal *r);

/* After that: the code of the chain, which was renewed to that version, counts
 * as renewed to the one that there is now. A debug build that makes new ones
 * insists on it, for all that goes on. */
void tstate_confirm(PyThreadState *ts, const struct tstate_slice *s,
                    uint64_t version);

#if defined(Py_DEBUG) && PY_VERSION_HEX >= 0x030D0000 &&                       \
    PY_VERSION_HEX < 0x030F0000
enum { TSTATE_INSISTS_ON_VERSION = 1 };
#else
enum { TSTATE_INSISTS_ON_VERSION = 0 };
#endif

#endif
