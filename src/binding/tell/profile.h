/* SPDX-License-Identifier: MIT
 *
 * What copool.profile() has in C: a clock for each chain, events by chain, and
 * who is told of switches.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_TELL_PROFILE_H
#define COPOOL_TELL_PROFILE_H

#include "cpython/version.h"

/* Adds its types and functions to the module; -1 with an exception set. */
int profile_init(PyObject *module);

#endif
