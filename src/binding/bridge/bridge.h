/* SPDX-License-Identifier: MIT
 *
 * The awaitable face of a strand: a Bridge is what `await` drives, like a
 * coroutine of an `async def`, and its chain of calls is suspended by await_()
 * at any depth. There are two kinds: one calls a function, one drives another
 * coroutine, below which await_() then works.
 *
 * Its strand does one step: the call, or what is between two plain awaits of
 * the coroutine that it drives. Strands are parked between steps, so that only
 * chains that wait in await_() occupy one.
 *
 *      state      strand  top
 *      CREATED    NULL    NULL
 *      ENTERED    yes     NULL  a step is running, or waits for what it entered
 *      SUSPENDED  yes     yes   in await_(), called on the strand `top`
 *      SUSPENDED  NULL    NULL  in a plain await of the coroutine it drives
 *      FINISHED   NULL    NULL
 *
 * `top` is its own strand, or that of a Coroutine which the step has entered.
 * While a step gets its strand, the state is ENTERED already.
 *
 * Like the coroutine of an `async def`, a step runs in the context of whoever
 * drives it, sees the exception which that is handling, and its frames are
 * followed by the driver's.
 *
 * Thread rule: the GIL; while it has a strand a Bridge belongs to its thread.
 */
#ifndef COPOOL_BRIDGE_BRIDGE_H
#define COPOOL_BRIDGE_BRIDGE_H

#include "cpython/shown.h"
#include "face/label.h"
#include "face/outlook.h"
#include "strand/strand.h"

enum bridge_step { CALL, SEND, THROW, CLOSE };

typedef struct bridge {
    PyObject_HEAD
    struct tstate_shown shown; /* to asyncio's tools */
    PyObject *target; /* the function to call; once it has ended its code, or
                         NULL if it has none; or the coroutine to drive */
    PyObject *args;   /* of the call, a tuple; or NULL */
    PyObject *names;  /* of those by keyword, which come last; or NULL */
    bool drives;      /* a coroutine, rather than calling a function */
    unsigned char ending; /* an enum strand_ending: if it is one, await_() must
                             not wait */
    bool collecting;      /* only valid while entered: garbage, since before */
    struct tstate_ended ended;
    bool finalized;         /* tp_finalize was called, which is once */
    unsigned char refusals; /* to wait; only valid while ending */
    PyObject *weakrefs;
    PyObject *sent;    /* only valid while a step begins: its value, or NULL */
    PyObject *awaited; /* owned by await_(); only valid with top */
    PyObject *const *stack_end; /* of its arguments; only valid with top */
    struct strand *strand, *top;
    struct outlook outlook;  /* only valid with top */
    const PyObject *context; /* only valid with a strand, and to be compared:
                                that of who drives it, unless it went on inside
                                a Context.run() of its own */
    PyObject *task;          /* a weak reference to the task that drives it, or
                                NULL if it is not known */
    struct label *label;     /* or NULL */
    struct bridge *next, **link; /* in module_state->bridges */
    int atomic;                  /* blocks of atomic() that it is in */
    enum face_state state;
    enum bridge_step step; /* what the strand does or will do */
    PySendResult outcome;  /* of the last step */
} Bridge;

TSTATE_ASSERT_SHOWN(Bridge, shown, ended);

static inline void
bridge_assert_consistent(const Bridge *self)
{
    (void)self;
    CO_ASSERT(!self->strand || self->state == ENTERED ||
              self->state == SUSPENDED);
    CO_ASSERT((self->top != NULL) ==
              (self->strand != NULL && self->state == SUSPENDED));
    CO_ASSERT(!self->strand || self->strand->face == (PyObject *)self);
    CO_ASSERT(!self->strand ||
              (self->strand->caller != NULL) == (self->state == ENTERED));
}

/* Adds await_() and what goes with it to the module; -1 with an exception set.
 */
int bridge_await_init(PyObject *module);

/* Adds the type and its functions, those too; -1 with an exception set. */
int bridge_init(PyObject *module, struct module_state *state);

#endif
