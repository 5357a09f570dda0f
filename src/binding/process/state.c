/* SPDX-License-Identifier: MIT */
#include "process/state.h"

#include "python/dict.h"

static const char key[] = "copool._core";

PyObject *
state_module(void)
{
    PyObject *dict = PyInterpreterState_GetDict(PyInterpreterState_Get());

    return dict ? dict_find(dict, key) : PyErr_NoMemory();
}

int
state_set_module(PyObject *module)
{
    PyObject *dict = PyInterpreterState_GetDict(PyInterpreterState_Get());

    if (!dict) {
        PyErr_NoMemory();
        return -1;
    }
    return PyDict_SetItemString(dict, key, module);
}

struct module_state *
state_get(void)
{
    PyObject *module = state_module();

    if (!module && !PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError,
                        "copool._core is not loaded in this interpreter");
    if (!module)
        return NULL;
    return PyModule_GetState(module);
}
