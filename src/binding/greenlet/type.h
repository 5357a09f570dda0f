/* SPDX-License-Identifier: MIT
 *
 * The type greenlet, but for what moves control.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_GREENLET_TYPE_H
#define COPOOL_GREENLET_TYPE_H

#include "greenlet/greenlet.h"

/* Fills it in and makes it ready: -1 with an exception set. */
int greenlet_type_ready(void);

int greenlet_set_parent(PyGreenlet *self, PyObject *parent);

#endif
