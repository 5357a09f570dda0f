/* SPDX-License-Identifier: MIT
 *
 * How a Bridge is made, finalized and freed.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_BRIDGE_LIFE_H
#define COPOOL_BRIDGE_LIFE_H

#include "bridge/bridge.h"

int bridge_traverse(PyObject *op, visitproc visit, void *arg);
int bridge_is_gc(PyObject *op);
int bridge_clear(PyObject *op);
void bridge_finalize(PyObject *op);
void bridge_dealloc(PyObject *op);

/* Adds the functions that make one; -1 with an exception set. */
int bridge_life_init(PyObject *module);

#endif
