/* SPDX-License-Identifier: MIT */
#include "state.h"

static const char key[] = "copool._core";

PyObject *
state_module(void)
{
    PyObject *dict = PyInterpreterState_GetDict(PyInterpreterState_Get());

    return dict ? PyDict_GetItemString(dict, key) : NULL;
}

int
state_set_module(PyObject *module)
{
    PyObject *dict = PyInterpreterState_GetDict(PyInterpreterState_Get());

    if (!dict) {
        PyErr_SetString(PyExc_ImportError,
                        "copool: the interpreter has no dictionary");
        return -1;
    }
    return PyDict_SetItemString(dict, key, module);
}

struct module_state *
state_get(void)
{
    PyObject *module = state_module();

    if (!module) {
        PyErr_SetString(PyExc_RuntimeError,
                        "copool._core is not loaded in this interpreter");
        return NULL;
    }
    return PyModule_GetState(module);
}
