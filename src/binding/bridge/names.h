/* SPDX-License-Identifier: MIT
 *
 * What a Bridge is called: as what it calls, or drives, unless it was renamed.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_BRIDGE_NAMES_H
#define COPOOL_BRIDGE_NAMES_H

#include "bridge/bridge.h"

/* The function in Python that a callable is, or a method of; or NULL. */
static inline PyFunctionObject *
bridge_function_of(PyObject *callable)
{
    if (CO_UNLIKELY(PyMethod_Check(callable)))
        callable = PyMethod_GET_FUNCTION(callable);
    return CO_LIKELY(PyFunction_Check(callable)) ? (PyFunctionObject *)callable
                                                 : NULL;
}

PyObject *bridge_get_name(PyObject *op, void *closure);
PyObject *bridge_get_qualname(PyObject *op, void *closure);
int bridge_set_name(PyObject *op, PyObject *name, void *closure);
int bridge_set_qualname(PyObject *op, PyObject *name, void *closure);

/* Those that the callable has now, and that were not set, are its own from now
 * on. May run Python code. False with an exception set. */
bool bridge_keep_names(Bridge *self);

/* The code of what a call calls: a new reference, or None. */
PyObject *bridge_callable_code(const Bridge *self);

#endif
