/* SPDX-License-Identifier: MIT */
#include "greenlet/greenlet.h"

#include <stddef.h>

PyObject *greenlet_exit, *greenlet_error;
Py_ssize_t greenlet_mains;

/* Modules compiled against greenlet's header, such as gevent's, derive C types
 * from this one and were told its size. */
static_assert(sizeof(PyGreenlet) == sizeof(PyObject) + 3 * sizeof(void *),
              "PyGreenlet must have the layout of greenlet's header");

PyTypeObject greenlet_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "greenlet.greenlet",
    .tp_basicsize = sizeof(PyGreenlet),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .tp_alloc = PyType_GenericAlloc,
    .tp_free = PyObject_GC_Del,
    .tp_weaklistoffset = offsetof(PyGreenlet, weakrefs),
    .tp_dictoffset = offsetof(PyGreenlet, dict),
};

PyGreenlet *
greenlet_alloc(PyTypeObject *type)
{
    PyGreenlet *self = (PyGreenlet *)type->tp_alloc(type, 0);

    if (!self)
        return NULL;
    self->pimpl = PyMem_Calloc(1, sizeof *self->pimpl);
    if (!self->pimpl) {
        Py_DECREF(self);
        return (PyGreenlet *)PyErr_NoMemory();
    }
    return self;
}
