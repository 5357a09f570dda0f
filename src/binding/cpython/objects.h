/* SPDX-License-Identifier: MIT
 *
 * What else is to be known of CPython's own objects: coroutines, generators,
 * functions, and what the collector has marked.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_CPYTHON_OBJECTS_H
#define COPOOL_CPYTHON_OBJECTS_H

#include "cpython/version.h"

/* Whether the coroutine waits for something, and so is driven by somebody. */
bool tstate_is_awaited(PyObject *coroutine);

/* The qualified name of a coroutine or generator, a borrowed reference, or NULL
 * if it is neither. Only reads memory. */
PyObject *tstate_coroutine_name(PyObject *coroutine);

/* Whether a call of that function runs nothing of it yet, but makes a generator
 * or a coroutine. Methods are looked through. */
bool tstate_runs_nothing(PyObject *fn);

/* Whether `await` takes the generator: types.coroutine() has made it so. */
bool tstate_is_awaitable(PyObject *generator);

/* Whether the finalizer of an object counts as called, which it is once. */
void tstate_set_finalized(PyObject *op, bool finalized);

#endif
