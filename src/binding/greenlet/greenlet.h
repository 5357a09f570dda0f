/* SPDX-License-Identifier: MIT
 *
 * The symmetric face of a strand, with the interface and the behaviour of the
 * type greenlet of the package of that name: whoever is switched to goes on,
 * and who ends goes on in its parent. type.c has the type,
 * switch.c what moves control, module.c the functions and the C API.
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
#ifndef COPOOL_GREENLET_H
#define COPOOL_GREENLET_H

#include "face/label.h"
#include "face/outlook.h"
#include "strand/entry.h"

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

/* What a new greenlet needs to begin. Only valid until it has. */
struct greenlet_start {
    PyGreenlet *greenlet;
    PyObject *run; /* owned */
    struct strand_args args;
    PyObject *value; /* owned: what args refers to, or NULL */
    bool thrown;     /* nothing is called; the thread's error is raised */
};

/* What a thread that uses greenlets has. */
struct greenlet_thread {
    struct thread_extra extra; /* must be first; its trace is settrace()'s */
    PyGreenlet *main;
    PyGreenlet *current;
    PyGreenlet *origin; /* only valid during a switch: who was left */
    int tracing;        /* only valid during a switch: see arrive() */
    /* Only valid during a switch to a greenlet that begins when another ends.
     */
    struct greenlet_start start;
};

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

/* A pending greenlet without a parent; NULL with an exception set. */
PyGreenlet *greenlet_alloc(PyTypeObject *type);

struct greenlet_thread *greenlet_thread_make(struct thread_record *t);

/* What the thread has for greenlets, made if need be. NULL with an exception
 * set: there is no memory, or the interpreter is shutting down. */
static inline struct greenlet_thread *
greenlet_thread_get(struct thread_record *t)
{
    if (CO_LIKELY(t->greenlets != NULL))
        return (struct greenlet_thread *)t->greenlets;
    return greenlet_thread_make(t);
}

/* Of an active greenlet: whether control is in it or a coroutine of its. */
static inline bool
greenlet_is_current(const PyGreenlet *self)
{
    const struct thread_extra *extra = self->pimpl->strand->thread->greenlets;

    return ((const struct greenlet_thread *)extra)->current == self;
}

/* The thread that the greenlet belongs to; NULL when that has ended. */
struct thread_record *greenlet_home(const PyGreenlet *self);

/* switch(): in the greenlet or, if it is dead, in the first of its parents that
 * is not, go on with the arguments or start. The value that the switch back
 * passes, as a new reference, or NULL with an exception set. */
PyObject *greenlet_switch_to(PyGreenlet *self, const struct strand_args *args);

/* throw(): the same with the exception that is set. */
PyObject *greenlet_throw_into(PyGreenlet *self);

int greenlet_set_parent(PyGreenlet *self, PyObject *parent);

extern const struct face_ops greenlet_ops;

/* Adds what makes the module greenlet._greenlet to the module; -1 with an
 * exception set. */
int greenlet_module_init(PyObject *module, struct module_state *state);

#endif
