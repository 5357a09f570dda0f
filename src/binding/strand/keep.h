/* SPDX-License-Identifier: MIT
 *
 * What a thread keeps to be used again: faces, and contexts of coroutines.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_STRAND_KEEP_H
#define COPOOL_STRAND_KEEP_H

#include "cpython/contexts.h"

#include "check.h"
#include "os.h"

/* Faces of one type that a thread keeps to be reused at once: untracked, and
 * with their reference to the type. None in builds that look for mistakes,
 * where memory that is freed should be seen to be free. */
#if CO_CHECK || defined(Py_REF_DEBUG)
enum { STRAND_MAX_FREE = 0 };
#else
enum { STRAND_MAX_FREE = 256 };
#endif

struct free_faces {
    PyTypeObject *type; /* NULL when the record is not in use */
    PyObject *first;    /* linked by the first field after the head */
    unsigned count;
};

static inline PyObject **
free_faces_link(PyObject *face)
{
    return (PyObject **)(face + 1);
}

/* A face with one reference, for PyObject_GC_Track(), or NULL. */
static inline PyObject *
free_faces_take(struct free_faces *list)
{
    PyObject *face = list->first;

    if (CO_LIKELY(face != NULL)) {
        list->first = *free_faces_link(face);
        list->count--;
        Py_SET_REFCNT(face, 1);
    }
    return face;
}

/* False if there are enough. The finalizer of a face is called once only: one
 * that has been called must not come here. */
static inline bool
free_faces_keep(struct free_faces *list, PyObject *face)
{
    if (list->count == STRAND_MAX_FREE)
        return false;
    *free_faces_link(face) = list->first;
    list->first = face;
    list->count++;
    return true;
}

/* Frees all of them. May run Python code. */
void free_faces_drop(struct free_faces *list);

/* Contexts that a thread keeps for its coroutines: to fill one with what
 * another has in it is cheaper than CPython's copies. The collector shows them
 * to whoever asks it for all objects, so that each must be like any other, with
 * no values. */
#if CO_CHECK || defined(Py_REF_DEBUG)
enum { STRAND_MAX_CONTEXTS = 0 };
#else
enum { STRAND_MAX_CONTEXTS = 16 };
#endif

struct spare_contexts {
    PyObject *no_values; /* NULL when the record is not in use */
    PyObject *contexts[STRAND_MAX_CONTEXTS + 1];
    unsigned count;
};

/* One to be filled, a new reference, or NULL. */
static inline PyObject *
spare_contexts_take(struct spare_contexts *list)
{
    PyObject *context;

    if (CO_UNLIKELY(list->count == 0))
        return NULL;
    context = list->contexts[--list->count];
    if (CO_LIKELY(tstate_context_is_alone(context)))
        return context;
    Py_DECREF(context);
    return NULL;
}

/* Steals the reference to a context that has been left for good. May run Python
 * code. */
static inline void
spare_contexts_keep(struct spare_contexts *list, PyObject *context)
{
    if (CO_LIKELY(tstate_context_is_alone(context) && list->no_values &&
                  list->count < STRAND_MAX_CONTEXTS)) {
        list->contexts[list->count++] = context;
        context =
            tstate_context_swap_values(context, Py_NewRef(list->no_values));
    }
    Py_DECREF(context);
}

/* Frees all of them. */
void spare_contexts_drop(struct spare_contexts *list);

#endif
