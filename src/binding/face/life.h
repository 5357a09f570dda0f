/* SPDX-License-Identifier: MIT
 *
 * What the types of the faces do alike: made, finalized and freed.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_FACE_LIFE_H
#define COPOOL_FACE_LIFE_H

#include "face/label.h"
#include "face/outlook.h"
#include "strand/keep.h"
#include "strand/thread.h"

/* A face that none was kept for, not tracked yet, and its label, as in
 * label_make(). NULL with an exception set. */
PyObject *face_alloc(PyTypeObject *type, PyObject *name, bool note_maker,
                     struct label **label);

/* For tp_finalize of a suspended face: ends its chain, or has its own thread do
 * so. */
void face_end(PyObject *face, struct strand *s);

/* For tp_is_gc. The collector takes no notice of what this denies. It finalizes
 * an object once: one that was garbage before it began would be cleared, with
 * all that its chain uses, while the chain is still to be unwound. */
static inline bool
face_is_gc(bool finalized, const struct strand *s)
{
    return !finalized || !s;
}

/* For tp_dealloc: what comes before its fields are cleared. */
static inline void
face_untrack(PyObject *face, const PyObject *weakrefs,
             const struct outlook *outlook)
{
    outlook_assert_forgotten(outlook);
    PyObject_GC_UnTrack(face);
    if (CO_UNLIKELY(weakrefs != NULL))
        PyObject_ClearWeakRefs(face);
}

/* What comes after that: the thread keeps it, or else it is freed. */
static inline bool
face_keep(struct free_faces *list, PyObject *face, bool finalized)
{
    return list->type == Py_TYPE(face) && !finalized &&
           free_faces_keep(list, face);
}

static inline void
face_free(PyObject *face)
{
    PyTypeObject *type = Py_TYPE(face);

    PyObject_GC_Del(face);
    Py_DECREF(type);
}

#endif
