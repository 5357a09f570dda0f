/* SPDX-License-Identifier: MIT
 *
 * The layout of a copool.aio.Bridge, for bridge.c, which has all that it does,
 * and for those who read it from outside (section.c).
 */
#ifndef COPOOL_BRIDGE_H
#define COPOOL_BRIDGE_H

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

/* Adds the type and its functions to the module; -1 with an exception set. */
int bridge_init(PyObject *module, struct module_state *state);

#endif
