/* SPDX-License-Identifier: MIT
 *
 * Whether it is watched that C code runs into the guard of a stack, in all of
 * the process.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_PROCESS_OVERFLOW_H
#define COPOOL_PROCESS_OVERFLOW_H

#include "cpython/version.h"

#include <stdbool.h>

/* For a thread with a new record: it is watched from now on. Not done when the
 * module is loaded, since a process that only imports copool must keep its
 * signal handlers. */
void overflow_watch(void);

/* Adds its function to the module; -1 with an exception set. `report` says, in
 * the handler, what has overflown there; false if that is nothing of ours. */
int overflow_init(PyObject *module, bool (*report)(const void *address));

#endif
