/* SPDX-License-Identifier: MIT
 *
 * Driving a Bridge, as `await` and tasks do: send, throw and close.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_BRIDGE_PROTOCOL_H
#define COPOOL_BRIDGE_PROTOCOL_H

#include "bridge/bridge.h"

extern const struct face_ops bridge_ops;

/* What it calls. */
PyObject *bridge_callee(PyObject *face);

/* Whether it is a Bridge's, which may be on the thread's stack. */
static inline bool
bridge_is(const struct strand *s)
{
    return s->ops == &bridge_ops || (s->ops && s->ops->callee == bridge_callee);
}

/* asyncio's tools see what it drives, unless it waits in await_(). */
void bridge_show_target(Bridge *self);

PySendResult bridge_send(PyObject *op, PyObject *value, PyObject **result);
PyObject *bridge_iternext(PyObject *op);
PyObject *bridge_await(PyObject *op);
PyObject *bridge_send_method(PyObject *op, PyObject *value);
PyObject *bridge_throw(PyObject *op, PyObject *const *args, Py_ssize_t nargs);
PyObject *bridge_close(PyObject *op, PyObject *ignored);

#endif
