/* SPDX-License-Identifier: MIT */
#include "thread_name.h"

PyObject *
thread_name(unsigned long ident)
{
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *all = NULL, *text = NULL;

    if (threading)
        all = PyObject_CallMethod(threading, "enumerate", NULL);
    for (Py_ssize_t i = 0; all && i < PyList_GET_SIZE(all); i++) {
        PyObject *thread = PyList_GET_ITEM(all, i);
        PyObject *its = PyObject_GetAttrString(thread, "ident");
        PyObject *name = its ? PyObject_GetAttrString(thread, "name") : NULL;

        if (name && PyLong_Check(its) && PyLong_AsUnsignedLong(its) == ident)
            text = PyUnicode_FromFormat("%R (ident %lu)", name, ident);
        Py_XDECREF(its);
        Py_XDECREF(name);
        if (text || PyErr_Occurred())
            break;
    }
    Py_XDECREF(threading);
    Py_XDECREF(all);
    if (!text) {
        PyErr_Clear();
        text = PyUnicode_FromFormat("with ident %lu", ident);
    }
    return text;
}
