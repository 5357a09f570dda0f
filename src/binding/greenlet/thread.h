/* SPDX-License-Identifier: MIT
 *
 * What a thread has that uses greenlets.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_GREENLET_THREAD_H
#define COPOOL_GREENLET_THREAD_H

#include "cpython/thread.h"
#include "greenlet/greenlet.h"
#include "strand/entry.h"
#include "strand/thread.h"

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

/* The same for the current thread, before a switch. */
static inline struct greenlet_thread *
greenlet_thread_enter(void)
{
    struct thread_record *t = thread_record_enter();

    return CO_LIKELY(t != NULL) ? greenlet_thread_get(t) : NULL;
}

/* The greenlet that runs: a new reference, or NULL with an exception set. */
static inline PyObject *
greenlet_get_current(void)
{
    struct greenlet_thread *gt;

    if (CO_UNLIKELY(tstate_is_finalizing())) {
        PyErr_SetString(PyExc_RuntimeError, "greenlet is being finalized");
        return NULL;
    }
    gt = greenlet_thread_enter();
    return CO_LIKELY(gt != NULL) ? Py_NewRef(gt->current) : NULL;
}

/* Of an active greenlet: whether control is in it or a coroutine of its. */
static inline bool
greenlet_is_current(const PyGreenlet *self)
{
    const struct thread_extra *extra = self->pimpl->strand->thread->greenlets;

    return ((const struct greenlet_thread *)extra)->current == self;
}

/* The thread that the greenlet belongs to; NULL when that has ended. */
static inline struct thread_record *
greenlet_home(const PyGreenlet *self)
{
    while (self && !greenlet_is_active(self))
        self = self->pimpl->parent;
    return self ? self->pimpl->strand->thread : NULL;
}

#endif
