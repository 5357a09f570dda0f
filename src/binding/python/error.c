/* SPDX-License-Identifier: MIT */
#include "python/error.h"

int
error_set_thrown(PyObject *type, PyObject *value, PyObject *traceback)
{
    if (traceback == Py_None)
        traceback = NULL;
    if (traceback && !PyTraceBack_Check(traceback)) {
        PyErr_SetString(PyExc_TypeError,
                        "throw() third argument must be a traceback object");
        return -1;
    }
    if (PyExceptionClass_Check(type)) {
        Py_INCREF(type);
        Py_XINCREF(value);
        Py_XINCREF(traceback);
        PyErr_NormalizeException(&type, &value, &traceback);
        PyErr_Restore(type, value, traceback);
        return 0;
    }
    if (!PyExceptionInstance_Check(type)) {
        PyErr_Format(PyExc_TypeError,
                     "exceptions must be classes, or instances, not %.200s",
                     Py_TYPE(type)->tp_name);
        return -1;
    }
    if (value && value != Py_None) {
        PyErr_SetString(PyExc_TypeError,
                        "instance exception may not have a separate value");
        return -1;
    }
    if (!traceback)
        traceback = PyException_GetTraceback(type);
    else
        Py_INCREF(traceback);
    PyErr_Restore(Py_NewRef(Py_TYPE(type)), Py_NewRef(type), traceback);
    return 0;
}

static void
take_normalized(struct error *error)
{
    error_take(error);
    PyErr_NormalizeException(&error->type, &error->value, &error->traceback);
    if (error->traceback)
        PyException_SetTraceback(error->value, error->traceback);
}

PyObject *
error_take_raised(void)
{
    struct error error;

    take_normalized(&error);
    Py_DECREF(error.type);
    Py_XDECREF(error.traceback);
    return error.value;
}

void
error_raise(PyObject *exc)
{
    PyErr_Restore(Py_NewRef(Py_TYPE(exc)), exc, PyException_GetTraceback(exc));
}

void
error_raise_here(void)
{
    struct error error;

    take_normalized(&error);
    PyErr_SetObject(error.type, error.value);
    error_drop(&error);
}

/* An instance, since a tuple or an exception would be taken apart. It is made
 * by hand: most of the cost of a call that is awaited is in this. */
void
error_set_stop_iteration(PyObject *value)
{
    PyTypeObject *type = (PyTypeObject *)PyExc_StopIteration;
    PyObject *args, *stop;

    if (value == Py_None) {
        Py_DECREF(value);
        PyErr_SetNone(PyExc_StopIteration);
        return;
    }
    args = PyTuple_Pack(1, value);
    stop = args ? type->tp_new(type, args, NULL) : NULL;
    Py_XDECREF(args);
    if (!stop) {
        Py_DECREF(value);
        return;
    }
    Py_XSETREF(((PyStopIterationObject *)stop)->value, value);
    PyErr_Restore(Py_NewRef(PyExc_StopIteration), stop, NULL);
}

PyObject *
error_take_stop_iteration(void)
{
    struct error error;
    PyObject *value;

    if (!PyErr_ExceptionMatches(PyExc_StopIteration))
        return NULL;
    take_normalized(&error);
    value = Py_NewRef(((PyStopIterationObject *)error.value)->value);
    error_drop(&error);
    return value;
}

void
error_hide_stop_iteration(void)
{
    struct error stop, error;

    take_normalized(&stop);
    PyErr_SetString(PyExc_RuntimeError, "coroutine raised StopIteration");
    error_take(&error);
    PyErr_NormalizeException(&error.type, &error.value, &error.traceback);
    PyException_SetContext(error.value, Py_NewRef(stop.value));
    PyException_SetCause(error.value, Py_NewRef(stop.value));
    error_drop(&stop);
    error_restore(&error);
}

void
error_replace(struct error *error)
{
    struct error now;

    error_take(&now);
    PyErr_NormalizeException(&error->type, &error->value, &error->traceback);
    PyErr_NormalizeException(&now.type, &now.value, &now.traceback);
    if (now.value != error->value)
        PyException_SetContext(now.value, Py_NewRef(error->value));
    error_drop(error);
    error_restore(&now);
}
