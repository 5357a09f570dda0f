/* SPDX-License-Identifier: MIT */
#include "face/error.h"

#include "process/state.h"
#include "python/thread_name.h"

bool
face_threads(const struct thread_record *its, const struct thread_record *here,
             PyObject **owner, PyObject **current)
{
    *owner = thread_name(its->ident);
    *current = *owner ? thread_name(here->ident) : NULL;
    if (*current)
        return true;
    Py_CLEAR(*owner);
    return false;
}

void
face_raise_foreign(const struct thread_record *here, PyObject *face,
                   const struct strand *s, const char *format)
{
    PyObject *owner, *current;

    if (!face_threads(s->thread, here, &owner, &current))
        return;
    PyErr_Format(here->state->coroutine_error, format, face, owner, current);
    Py_DECREF(owner);
    Py_DECREF(current);
}
