/* SPDX-License-Identifier: MIT
 *
 * What a contextvars.Context has in it, and which one the running chain has.
 *
 * Thread rule: all functions need the GIL; `ts` is the current thread state.
 */
#ifndef COPOOL_CPYTHON_CONTEXTS_H
#define COPOOL_CPYTHON_CONTEXTS_H

#include "cpython/version.h"

#include "internal/pycore_context.h"

/* Whether no variable has a value in that context. */
static inline bool
tstate_context_is_empty(const PyObject *context)
{
    return ((const PyContext *)context)->ctx_vars->h_count == 0;
}

/* Whether something runs in that context by Context.run(). */
static inline bool
tstate_context_is_entered(const PyObject *context)
{
    return ((const PyContext *)context)->ctx_entered != 0;
}

/* Whether nobody but the owner of one reference has that context, and the
 * collector has not cleared it. */
static inline bool
tstate_context_is_alone(PyObject *op)
{
    const PyContext *context = (const PyContext *)op;

    return Py_REFCNT(op) == 1 && !context->ctx_weakreflist &&
           !context->ctx_entered && context->ctx_vars;
}

/* What variables have as values there: an object that never changes, a borrowed
 * reference. */
static inline PyObject *
tstate_context_values(const PyObject *context)
{
    return (PyObject *)((const PyContext *)context)->ctx_vars;
}

/* The values of an empty one: a new reference, or NULL with an exception set.
 */
PyObject *tstate_no_values(void);

/* Replaces that in a context which is not running; steals the reference and
 * returns that of before. */
static inline PyObject *
tstate_context_swap_values(PyObject *op, PyObject *values)
{
    PyContext *context = (PyContext *)op;
    PyObject *before = (PyObject *)context->ctx_vars;

    context->ctx_vars = (PyHamtObject *)values;
    return before;
}

/* Sets the context of the running chain, a reference that it steals, NULL for
 * none; returns that of before. */
static inline PyObject *
tstate_swap_context(PyThreadState *ts, PyObject *context)
{
    PyObject *before = ts->context;

    ts->context = context;
    ts->context_ver++;
    return before;
}

#endif
