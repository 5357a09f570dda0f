/* SPDX-License-Identifier: MIT */
#include "cpython/contexts.h"

#include "cpython/inside.h"

PyObject *
tstate_no_values(void)
{
    PyObject *context = PyContext_New(), *values;

    if (!context)
        return NULL;
    values = Py_NewRef(tstate_context_values(context));
    Py_DECREF(context);
    return values;
}
