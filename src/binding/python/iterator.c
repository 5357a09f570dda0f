/* SPDX-License-Identifier: MIT */
#include "python/iterator.h"

#include "python/error.h"

int
iterator_call(PyObject *it, const char *name, PyObject *arg, PyObject **result)
{
    PyObject *method = PyObject_GetAttrString(it, name);

    *result = NULL;
    if (!method) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError))
            return -1;
        PyErr_Clear();
        return 0;
    }
    *result =
        arg ? PyObject_CallOneArg(method, arg) : PyObject_CallNoArgs(method);
    Py_DECREF(method);
    return *result ? 1 : -1;
}

PySendResult
iterator_throw(PyObject *it, PyObject *exc, PyObject **result)
{
    /* As a coroutine does: who closes it does not expect another value. */
    bool closes = PyErr_GivenExceptionMatches(exc, PyExc_GeneratorExit);
    int called = closes ? iterator_call(it, "close", NULL, result)
                        : iterator_call(it, "throw", exc, result);

    if (called == 0 || (called > 0 && closes)) {
        Py_CLEAR(*result);
        error_raise(exc);
        return PYGEN_ERROR;
    }
    Py_DECREF(exc);
    if (called > 0)
        return PYGEN_NEXT;
    if (closes)
        return PYGEN_ERROR;
    *result = error_take_stop_iteration();
    return *result ? PYGEN_RETURN : PYGEN_ERROR;
}
