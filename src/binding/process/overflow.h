/* SPDX-License-Identifier: MIT
 *
 * What is said on standard error when C code runs into the guard of a strand's
 * stack: whose it is, what that calls, how large it was and how to have a
 * larger one. The process then ends as it would have without (see core/segv.h).
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_OVERFLOW_H
#define COPOOL_OVERFLOW_H

#include "cpython/version.h"

struct module_state;

/* For a thread with a new record: it is watched from now on. Not done when the
 * module is loaded, since a process that only imports copool must keep its
 * signal handlers. */
void overflow_watch(void);

/* Adds its function to the module; -1 with an exception set. */
int overflow_init(PyObject *module, struct module_state *state);

#endif
