/* SPDX-License-Identifier: MIT
 *
 * What a Bridge shows, as a coroutine does.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_BRIDGE_ATTRIBUTES_H
#define COPOOL_BRIDGE_ATTRIBUTES_H

#include "bridge/bridge.h"

extern PyGetSetDef bridge_getset[];

PyObject *bridge_repr(PyObject *op);

#endif
