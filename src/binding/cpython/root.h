/* SPDX-License-Identifier: MIT
 *
 * What a chain hangs from that starts on a stack of our own.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_CPYTHON_ROOT_H
#define COPOOL_CPYTHON_ROOT_H

#include "cpython/tstate.h"

/* What the frame of a root executes, so that tools which show it have a name to
 * show. The interpreter takes it for a function that has not begun yet. */
extern PyCodeObject *tstate_enter_code;

/* What stands for frames that are left out. */
extern PyCodeObject *tstate_more_code;

/* Makes both, if need be. False with an exception set. */
bool tstate_know_codes(void);

/* Whether the running chain, which started from root, is back at its start. */
bool tstate_is_unwound(PyThreadState *ts, struct tstate_slice *slice,
                       struct tstate_root *root);

/* The chain has ended: what its root owns besides, a reference, or NULL. */
static inline PyObject *
tstate_end(struct tstate_root *root)
{
#ifdef CO_COUNTS_ALL_CALLS
    PyObject *locals =
        root->frame.f_locals; /* locals() has been called there */

    root->frame.f_locals = NULL;
    return locals;
#else
    (void)root;
    return NULL;
#endif
}

#endif
