/* SPDX-License-Identifier: MIT
 *
 * The exception that is set, on its way from one chain to another, and what
 * generators do to exceptions, for the faces that behave like them.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_PYTHON_ERROR_H
#define COPOOL_PYTHON_ERROR_H

#include "cpython/tstate.h"

struct error {
    PyObject *type, *value, *traceback;
};

/* Takes the exception that is set / sets the one that was taken. */
static inline void
error_take(struct error *error)
{
    PyErr_Fetch(&error->type, &error->value, &error->traceback);
}

static inline void
error_restore(struct error *error)
{
    PyErr_Restore(error->type, error->value, error->traceback);
    error->type = error->value = error->traceback = NULL;
}

static inline void
error_drop(struct error *error)
{
    Py_CLEAR(error->type);
    Py_CLEAR(error->value);
    Py_CLEAR(error->traceback);
}

/* Takes the exception that is set, as one object / sets it; steals it. */
PyObject *error_take_raised(void);
void error_raise(PyObject *exc);

/* Sets the exception that throw(type, value, traceback) raises; value and
 * traceback may be NULL. -1 with another one set if these can't be raised. */
int error_set_thrown(PyObject *type, PyObject *value, PyObject *traceback);

/* Raises the exception that is set, which was thrown in, as if by the function
 * that was suspended: in the context of what that is handling. */
void error_raise_here(void);

/* Makes an exception that was taken the context of the one that is set, which
 * comes in its place. May run Python code. */
void error_replace(struct error *error);

/* Sets StopIteration with the value that a call returned; steals it. */
void error_set_stop_iteration(PyObject *value);

/* Takes the value of the StopIteration that is set: a new reference, or NULL
 * with an exception set, which is the same if it is no StopIteration. */
PyObject *error_take_stop_iteration(void);

/* Makes a RuntimeError of the StopIteration that is set, so that it does not
 * look as if an iteration had ended well (PEP 479). */
void error_hide_stop_iteration(void);

#endif
