/* SPDX-License-Identifier: MIT */
#include "cpython/objects.h"

#include "cpython/inside.h"
#include "cpython/tstate.h"

bool
tstate_is_awaited(PyObject *coroutine)
{
    PyObject *awaited;
    bool is;

    if (((PyCoroObject *)coroutine)->cr_frame_state == FRAME_CREATED)
        return false;
    awaited = PyObject_GetAttrString(coroutine, "cr_await");
    is = awaited && awaited != Py_None;
    Py_XDECREF(awaited);
    return is;
}

PyObject *
tstate_coroutine_name(PyObject *coroutine)
{
    if (!PyCoro_CheckExact(coroutine) && !PyGen_CheckExact(coroutine))
        return NULL;
    return ((PyGenObject *)coroutine)->gi_qualname;
}

bool
tstate_is_awaitable(PyObject *generator)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyCodeObject *code = PyGen_GetCode((PyGenObject *)generator);
    int flags = code->co_flags;

    Py_DECREF(code);
#else
    int flags = ((PyGenObject *)generator)->gi_code->co_flags;
#endif
    return flags & CO_ITERABLE_COROUTINE;
}

bool
tstate_runs_nothing(PyObject *fn)
{
    int flags = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR;
    PyCodeObject *code;

    while (PyMethod_Check(fn))
        fn = PyMethod_GET_FUNCTION(fn);
    if (!PyFunction_Check(fn))
        return false;
    code = (PyCodeObject *)PyFunction_GET_CODE(fn);
    return (code->co_flags & flags) != 0;
}

void
tstate_set_finalized(PyObject *op, bool finalized)
{
    PyGC_Head *head = (PyGC_Head *)op - 1;

    if (finalized)
        head->_gc_prev |= (uintptr_t)_PyGC_PREV_MASK_FINALIZED;
    else
        head->_gc_prev &= ~(uintptr_t)_PyGC_PREV_MASK_FINALIZED;
}
