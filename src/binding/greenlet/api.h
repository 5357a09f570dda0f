/* SPDX-License-Identifier: MIT
 *
 * The C API of greenlet.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_GREENLET_API_H
#define COPOOL_GREENLET_API_H

#include "greenlet/greenlet.h"

/* A capsule with it, for when the exceptions are made: a new reference, or NULL
 * with an exception set. */
PyObject *greenlet_make_api(void);

#endif
