/* SPDX-License-Identifier: MIT
 *
 * Moving control into a coroutine and out of it.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_COROUTINE_SWITCH_H
#define COPOOL_COROUTINE_SWITCH_H

#include "coroutine/coroutine.h"

extern const struct face_ops coroutine_ops;

/* Whether it is a coroutine's, which may be on the thread's stack. */
bool coroutine_is(const struct strand *s);

/* The methods, and yield_(). */
PyObject *coroutine_enter(PyObject *op, PyObject *const *args,
                          Py_ssize_t nargs);
PyObject *coroutine_throw(PyObject *op, PyObject *exc);
PyObject *coroutine_close(PyObject *op, PyObject *ignored);
PyObject *coroutine_iternext(PyObject *op);
PyObject *core_yield(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

#endif
