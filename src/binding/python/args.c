/* SPDX-License-Identifier: MIT */
#include "python/args.h"

bool
args_pack(PyObject *const *args, Py_ssize_t nargs, PyObject *names,
          PyObject **tuple, PyObject **kwargs)
{
    Py_ssize_t n = names ? PyTuple_GET_SIZE(names) : 0;

    *kwargs = NULL;
    *tuple = PyTuple_New(nargs);
    if (!*tuple)
        return false;
    for (Py_ssize_t i = 0; i < nargs; i++)
        PyTuple_SET_ITEM(*tuple, i, Py_NewRef(args[i]));
    if (!names)
        return true;
    *kwargs = PyDict_New();
    for (Py_ssize_t i = 0; *kwargs && i < n; i++)
        if (PyDict_SetItem(*kwargs, PyTuple_GET_ITEM(names, i),
                           args[nargs + i]) < 0)
            Py_CLEAR(*kwargs);
    if (!*kwargs)
        Py_CLEAR(*tuple);
    return *kwargs != NULL;
}
