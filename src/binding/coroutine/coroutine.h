/* SPDX-License-Identifier: MIT
 *
 * copool.Coroutine: the asymmetric face of a strand. Who enters a coroutine
 * waits until it yields or ends. switch.c has how, type.c what else there is.
 *
 *      state       strand   strand->caller
 *      CREATED     NULL
 *      ENTERED     yes      who entered it     running, or waiting for one that
 *                                              it entered in turn
 *      SUSPENDED   yes      NULL
 *      FINISHED    NULL
 *
 * Thread rule: the GIL; a started coroutine belongs to its thread.
 */
#ifndef COPOOL_COROUTINE_COROUTINE_H
#define COPOOL_COROUTINE_COROUTINE_H

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

static inline void
coroutine_assert_consistent(const Coroutine *self)
{
    (void)self;
    CO_ASSERT((self->strand != NULL) ==
              (self->state == ENTERED || self->state == SUSPENDED));
    CO_ASSERT(!self->strand ||
              (self->strand->caller != NULL) == (self->state == ENTERED));
    CO_ASSERT(!self->strand || self->strand->face == (PyObject *)self);
}

/* Adds the type and its functions to the module; -1 with an exception set. */
int coroutine_init(PyObject *module, struct module_state *state);

#endif
