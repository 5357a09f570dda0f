/* SPDX-License-Identifier: MIT */
#include "python/dict.h"

PyObject *
dict_find(PyObject *dict, const char *name)
{
    PyObject *string = PyUnicode_FromString(name);
    PyObject *found = string ? PyDict_GetItemWithError(dict, string) : NULL;

    Py_XDECREF(string);
    return found;
}
