/* SPDX-License-Identifier: MIT */
#include "strand/keep.h"

void
free_faces_drop(struct free_faces *list)
{
    PyObject *face;

    while ((face = free_faces_take(list)) != NULL) {
        PyTypeObject *type = Py_TYPE(face);

        PyObject_GC_Del(face);
        Py_DECREF(type);
    }
}

void
spare_contexts_drop(struct spare_contexts *list)
{
    while (list->count)
        Py_XDECREF(spare_contexts_take(list));
}
