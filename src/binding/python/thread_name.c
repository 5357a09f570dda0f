/* SPDX-License-Identifier: MIT */
#include "python/thread_name.h"

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

void
thread_name_plain(unsigned long ident, char *name, size_t size)
{
    PyObject *module = PyUnicode_FromString("threading"), *threading = NULL;
    PyObject *key = PyLong_FromUnsignedLong(ident), *all = NULL, *found = NULL;
    PyObject *attribute = PyUnicode_FromString("_name");
    const char *text = NULL;

    name[0] = '\0';
    if (module && key && attribute)
        threading = PyImport_GetModule(module);
    if (threading)
        all = PyObject_GetAttrString(threading, "_active");
    if (all && PyDict_CheckExact(all))
        found = PyDict_GetItemWithError(all, key);
    if (found) /* what a class of the program's has in its place is not asked */
        found = PyObject_GenericGetAttr(found, attribute);
    if (found && PyUnicode_Check(found))
        text = PyUnicode_AsUTF8(found);
    if (text)
        (void)PyOS_snprintf(name, size, "%s", text);
    PyErr_Clear();
    Py_XDECREF(module);
    Py_XDECREF(threading);
    Py_XDECREF(key);
    Py_XDECREF(all);
    Py_XDECREF(attribute);
    Py_XDECREF(found);
}
