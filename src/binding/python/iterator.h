/* SPDX-License-Identifier: MIT
 *
 * An iterator that an `await` drives.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_PYTHON_ITERATOR_H
#define COPOOL_PYTHON_ITERATOR_H

#include "cpython/version.h"

/* Calls a method that the iterator may lack; result is NULL without an
 * exception set if it does. */
int iterator_call(PyObject *it, const char *name, PyObject *arg,
                  PyObject **result);

/* Throws an exception, which it steals, into an iterator that waits; *result
 * gets what that yields or returns. */
PySendResult iterator_throw(PyObject *it, PyObject *exc, PyObject **result);

#endif
