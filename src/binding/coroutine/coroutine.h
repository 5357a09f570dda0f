/* SPDX-License-Identifier: MIT
 *
 * The layout of a copool.Coroutine, for coroutine.c, which has all that it
 * does, and for those who read it from outside (section.c).
 */
#ifndef COPOOL_COROUTINE_H
#define COPOOL_COROUTINE_H

#include "face/label.h"
#include "face/outlook.h"
#include "strand/strand.h"

typedef struct {
    PyObject_HEAD
    PyObject *fn; /* NULL once it has returned; see strand_callable() */
    struct strand *strand;
    struct outlook outlook; /* only valid when suspended */
    enum face_state state : 8;
    bool finalized; /* tp_finalize was called, which is once for an object */
    enum strand_ending ending : 8; /* NOT_ENDING but for while it is closed */
    PyObject *context; /* the constructor's, None for the caller's, or NULL for
                          a copy of that; NULL once started */
    PyObject *weakrefs;
    struct label *label; /* or NULL */
} Coroutine;

/* Adds the type and its functions to the module; -1 with an exception set. */
int coroutine_init(PyObject *module, struct module_state *state);

#endif
