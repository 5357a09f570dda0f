/* SPDX-License-Identifier: MIT */
#include "face/life.h"

#include "cpython/thread.h"

PyObject *
face_alloc(PyTypeObject *type, PyObject *name, bool note_maker,
           struct label **label)
{
    PyObject *face;

    if (!label_make(label, name, note_maker))
        return NULL;
    face = PyObject_GC_New(PyObject, type);
    if (!face)
        label_free(label);
    return face;
}

void
face_end(PyObject *face, struct strand *s)
{
    if (tstate_is_finalizing()) {
        strand_abandon(s);
    } else if (!strand_is_here(s)) {
        Py_INCREF(face);
        strand_drop(s);
    } else if (strand_is_left(s)) {
        strand_take_back(s);
    } else {
        s->ops->unwind(face);
    }
}
