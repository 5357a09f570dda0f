/* SPDX-License-Identifier: MIT
 *
 * The symmetric face of a strand, with the interface and the behaviour of the
 * type greenlet of the package of that name: whoever is switched to goes on,
 * and who ends goes on in its parent. switch.c moves control, type.c has the
 * rest of the type, module.c the functions and api.c the C API.
 *
 *      state      started  strand
 *      pending    no       NULL
 *      active     yes      yes     the current greenlet of its thread, or
 *                                  suspended
 *      dead       yes      NULL
 *
 * A thread's own chain of calls is a greenlet too, its main greenlet; it is
 * made when first asked for. Coroutines that a greenlet enters run as part of
 * it, as generators do: so it is `top` that goes on when it is switched to,
 * which is its own strand or that of a coroutine.
 *
 * Thread rule: the GIL. An active greenlet is switched to in its thread only; a
 * pending or dead one belongs to the thread of the first active one among its
 * parents. The type is static, since extension modules are built against its
 * layout, and therefore for the main interpreter only.
 */
#ifndef COPOOL_GREENLET_GREENLET_H
#define COPOOL_GREENLET_GREENLET_H

#include "face/label.h"
#include "face/outlook.h"
#include "strand/record.h"

struct greenlet;

/* The layout is fixed: modules compiled against greenlet's header derive their
 * own types from it. */
typedef struct {
    PyObject_HEAD
    PyObject *weakrefs;
    PyObject *dict;
    struct greenlet *pimpl; /* NULL only while it is made or freed */
} PyGreenlet;

struct greenlet {
    struct strand *strand;
    struct strand *top;         /* goes on next; only valid while suspended */
    struct outlook outlook;     /* the same */
    PyObject *const *stack_end; /* of the arguments of the call in which it has
                                   stopped, or NULL; only valid with top, where
                                   it is needed */
    PyGreenlet *parent;         /* NULL for a main greenlet */
    PyGreenlet *killer; /* who unwinds it and gets control back, or NULL */
    PyObject *run;      /* what it calls or will call, or NULL; what successor()
                         * could not drop, while it ends */
    PyObject *context;  /* only valid while not active */
    PyObject *exit;     /* a weak reference to the GreenletExit that was thrown
                         * into it last, or NULL */
    struct label *label; /* or NULL */
    bool started;
    bool is_main;
    bool finalized; /* tp_finalize was called, which is once for an object */
    bool left_over; /* it has caught the exit, and only who raised that refers
                     * to it; until it is deallocated, which is next */
};

/* Its slots are filled in by type.c. */
extern PyTypeObject greenlet_type;

/* GreenletExit and error, of the main interpreter. */
extern PyObject *greenlet_exit, *greenlet_error;

/* Main greenlets that exist. */
extern Py_ssize_t greenlet_mains;

static inline bool
greenlet_check(PyObject *op)
{
    return op && PyObject_TypeCheck(op, &greenlet_type);
}

static inline bool
greenlet_is_active(const PyGreenlet *self)
{
    return self->pimpl->strand != NULL;
}

/* Whether `self` is among the parents of `other`. */
static inline bool
greenlet_is_ancestor(const PyGreenlet *self, const PyGreenlet *other)
{
    while (other && other != self)
        other = other->pimpl->parent;
    return other != NULL;
}

/* A pending greenlet without a parent; NULL with an exception set. */
PyGreenlet *greenlet_alloc(PyTypeObject *type);

static inline void
greenlet_assert_consistent(const PyGreenlet *self)
{
    const struct greenlet *g = self->pimpl;

    (void)g;
    CO_ASSERT(g->started || !g->strand);
    CO_ASSERT(!g->strand || g->is_main ||
              g->strand->face == (const PyObject *)self);
    CO_ASSERT(!g->strand || !g->context);
    CO_ASSERT(!g->is_main || (!g->parent && !g->run));
}

/* Adds what makes the module greenlet._greenlet to the module; -1 with an
 * exception set. */
int greenlet_module_init(PyObject *module, struct module_state *state);

#endif
