/* SPDX-License-Identifier: MIT */
#include "bridge/protocol.h"

#include "bridge/step.h"
#include "cpython/objects.h"
#include "face/enter.h"
#include "face/error.h"
#include "strand/park.h"
#include "strand/thread.h"

/* --- errors ------------------------------------------------------------- */

static PySendResult
raise_foreign(struct thread_record *t, Bridge *self)
{
    face_raise_foreign(t, (PyObject *)self, self->strand,
                       "%R waits in await_() in thread %U and can only go on "
                       "there, not in thread %U: a loop and its tasks stay in "
                       "one thread");
    return PYGEN_ERROR;
}

static PySendResult
raise_entered(Bridge *self)
{
    PyErr_Format(PyExc_ValueError, "%R is already executing", self);
    return PYGEN_ERROR;
}

static PySendResult
raise_finished(Bridge *self)
{
    PyErr_Format(PyExc_RuntimeError, "cannot reuse already awaited %R", self);
    return PYGEN_ERROR;
}

/* --- driving it --------------------------------------------------------- */

static void
entered(struct thread_record *t, Bridge *self, struct strand *s)
{
    Py_INCREF(self); /* until control is back, whoever drops it meanwhile */
    face_hang(t, s);
    self->state = ENTERED;
    self->collecting = t->collecting;
    bridge_assert_consistent(self);
}

static void
finish(Bridge *self)
{
    self->state = FINISHED;
    if (!self->drives)
        bridge_drop_call(self);
}

/* The strand has done its step and is parked or has ended. */
static void
give_up_strand(Bridge *self, struct strand *s)
{
    PyObject *context, *exception;

    outlook_forget(s->thread, &self->outlook);
    self->strand = NULL;
    if (CO_UNLIKELY(s->finished)) {
        strand_release(s);
        return;
    }
    context = s->slice.context;
    exception = s->root.exc.exc_value;
    s->slice.context = NULL;
    s->root.exc.exc_value = NULL;
    Py_XDECREF(context);
    Py_XDECREF(exception);
}

/* Of garbage that waits in await_() it is this that must be finalized first:
 * the coroutine that it drives counts as running and can't be closed. */
static void
hide_from_collector(Bridge *self, bool hide)
{
    if (self->drives && PyCoro_CheckExact(self->target))
        tstate_set_finalized(self->target, hide);
}

/* asyncio's tools see what it drives, unless it waits in await_(). */
void
bridge_show_target(Bridge *self)
{
    tstate_show(&self->shown, self->drives ? self->target : NULL);
}

/* What follows a step; value is NULL if an exception is set. */
static void
step_done(Bridge *self, struct strand *s, PyObject *value)
{
    bool goes_on = self->outcome == PYGEN_NEXT;
    struct error error;

    self->state = goes_on ? SUSPENDED : FINISHED;
    if (!value)
        error_take(&error);
    give_up_strand(self, s); /* which may run anything, from here on */
    if (goes_on || value)
        return;
    error_restore(&error);
    /* A coroutine sees to this itself. */
    if (!self->drives && PyErr_ExceptionMatches(PyExc_StopIteration))
        error_hide_stop_iteration();
}

/* What follows each switch to it. *result gets value, which is NULL if an
 * exception is set. */
static PySendResult
left(Bridge *self, struct strand *s, PyObject *value, PyObject **result)
{
    struct strand *here = s->thread->current;
    PySendResult outcome = PYGEN_NEXT;

    face_cut(s);
    if (self->top) {
        self->state = SUSPENDED;
        outlook_leave(&self->outlook, s);
        hide_from_collector(self, true);
        value = strand_tidy(here, value);
        if (CO_UNLIKELY(!value))
            outcome = PYGEN_ERROR;
    } else {
        PyObject *litter = strand_litter(here);

        outcome = self->outcome;
        step_done(self, s, value);
        value = strand_tidy_litter(here, litter, value);
        if (!value)
            outcome = PYGEN_ERROR;
    }
    *result = value;
    Py_DECREF(self);
    return outcome;
}

/* A step on a strand that waits for one, or a new one. Steals sent, a value or
 * an exception. */
static PySendResult
begin(struct thread_record *t, Bridge *self, enum bridge_step step,
      PyObject *sent, PyObject **result)
{
    enum face_state before = self->state;
    PyObject *context;
    struct strand *s;
    bool parked;

    CO_ASSERT(!self->strand && before != ENTERED && before != FINISHED);
    self->state = ENTERED; /* to whatever runs while it gets a strand */
    context = strand_context(t);
    s = context ? strand_unpark(t, (PyObject *)self) : NULL;
    parked = s != NULL;
    if (context && !s)
        s = strand_create(t, (PyObject *)self, &bridge_ops, bridge_main);
    if (CO_UNLIKELY(!s)) {
        self->state = before;
        Py_XDECREF(context);
        Py_XDECREF(sent);
        *result = NULL;
        return PYGEN_ERROR;
    }
    s->slice.context = context;
    self->context = context;
    strand_nest(t, s);
    self->strand = s;
    if (CO_UNLIKELY(self->finalized))
        tstate_set_finalized((PyObject *)self, false);
    self->step = step;
    self->sent = sent;
    outlook_note(t, &self->outlook, self, s);
    entered(t, self, s);
    return left(self, s,
                parked ? strand_switch(t, s, (PyObject *)s)
                       : strand_begin(t, s, s, true),
                result);
}

/* What waits in await_() in the context of who drove it, and with it what it
 * has been entered from, goes on in that of who drives it now. Returns a
 * reference to be dropped after the switch, when it may be the last one. */
__attribute__((cold)) static PyObject *
follow_driver(Bridge *self, PyObject *context)
{
    PyObject *before = self->context, *unused = NULL;

    for (struct strand *s = self->top; s; s = s->caller)
        if (s->slice.context == before) {
            s->slice.context = Py_XNewRef(context);
            if (unused)
                Py_DECREF(before);
            unused = before;
        }
    if (unused)
        self->context = context;
    return unused;
}

/* Goes on in await_(). Steals value; NULL passes on the exception that is set.
 */
static PySendResult
resume(struct thread_record *t, Bridge *self, PyObject *value,
       PyObject **result)
{
    struct strand *s = self->strand, *top = self->top;
    PyObject *unused = NULL;
    PySendResult outcome;

    CO_ASSERT(self->state == SUSPENDED && top && s->thread == t);
    if (!value)
        error_take(&t->error);
    if (CO_UNLIKELY(self->context != t->ts->context) &&
        self->ending == NOT_ENDING)
        unused = follow_driver(self, t->ts->context);
    self->top = NULL;
    self->awaited = NULL;
    bridge_show_target(self);
    hide_from_collector(self, false);
    entered(t, self, s);
    value = strand_resume(t, top, value);
    outcome = left(self, s, value, result);
    Py_XDECREF(unused);
    return outcome;
}

/* For functions that are about to do a step: in the context of the running
 * strand, which must have one by then. May run Python code. */
static struct thread_record *
enter_as_driver(void)
{
    struct thread_record *t = thread_record_enter();
    PyObject *context;

    if (CO_UNLIKELY(t && !t->ts->context)) {
        context = strand_context(t);
        Py_XDECREF(context);
        if (!context)
            return NULL;
    }
    return t;
}

PySendResult
bridge_send(PyObject *op, PyObject *value, PyObject **result)
{
    Bridge *self = (Bridge *)op;
    struct thread_record *t = enter_as_driver();

    *result = NULL;
    if (CO_UNLIKELY(!t))
        return PYGEN_ERROR;
    switch (self->state) {
    case ENTERED:
        return raise_entered(self);
    case FINISHED:
        return raise_finished(self);
    case SUSPENDED:
        if (!self->strand)
            return begin(t, self, SEND, Py_NewRef(value), result);
        if (CO_UNLIKELY(self->strand->thread != t))
            return raise_foreign(t, self);
        outlook_enter(t, &self->outlook, self, self->strand);
        return resume(t, self, Py_NewRef(value), result);
    case CREATED:
        break;
    }
    if (CO_UNLIKELY(value != Py_None)) {
        PyErr_Format(PyExc_TypeError,
                     "can't send a value other than None to %R, which has not "
                     "started",
                     self);
        return PYGEN_ERROR;
    }
    return begin(t, self, self->drives ? SEND : CALL, Py_NewRef(value), result);
}

/* With an exception set. */
static PySendResult
bridge_throw_set(struct thread_record *t, Bridge *self, PyObject **result)
{
    *result = NULL;
    if (self->state == CREATED && !self->drives) {
        struct error error;

        error_take(&error);
        finish(self);
        error_restore(&error);
        return PYGEN_ERROR;
    }
    if (self->strand)
        return resume(t, self, NULL, result);
    return begin(t, self, THROW, error_take_raised(), result);
}

/* Raises GeneratorExit in it, during which await_() does not wait, unless that
 * is tried without end. What waits in await_() ends in the context in which it
 * waits, whoever closes it. */
static PySendResult
bridge_exit(struct thread_record *t, Bridge *self, enum strand_ending ending,
            PyObject **result)
{
    PySendResult outcome;

    self->ending = ending;
    self->refusals = 0;
    if (self->strand) {
        PyErr_SetNone(PyExc_GeneratorExit);
        outcome = resume(t, self, NULL, result);
    } else {
        outcome = begin(t, self, CLOSE, NULL, result);
    }
    self->ending = NOT_ENDING;
    if (outcome == PYGEN_NEXT) {
        Py_CLEAR(*result);
        PyErr_Format(PyExc_RuntimeError, "%R ignored GeneratorExit", self);
        return PYGEN_ERROR;
    }
    return outcome;
}

/* --- as an iterator ----------------------------------------------------- */

static PyObject *
as_iterator(PySendResult outcome, PyObject *result)
{
    if (outcome != PYGEN_RETURN)
        return result;
    error_set_stop_iteration(result);
    return NULL;
}

PyObject *
bridge_iternext(PyObject *op)
{
    PyObject *result;
    PySendResult outcome = bridge_send(op, Py_None, &result);

    /* The end without an exception: what `await` asks for from 3.12 on. */
    if (outcome == PYGEN_RETURN && result == Py_None) {
        Py_DECREF(result);
        return NULL;
    }
    return as_iterator(outcome, result);
}

PyObject *
bridge_send_method(PyObject *op, PyObject *value)
{
    PyObject *result;
    PySendResult outcome = bridge_send(op, value, &result);

    return as_iterator(outcome, result);
}

/* Two that await it would take each other's values. */
PyObject *
bridge_await(PyObject *op)
{
    enum face_state state = ((Bridge *)op)->state;

    if (CO_UNLIKELY(state == ENTERED || state == SUSPENDED)) {
        PyErr_Format(PyExc_RuntimeError, "%R is being awaited already", op);
        return NULL;
    }
    return Py_NewRef(op);
}

PyObject *
bridge_throw(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    Bridge *self = (Bridge *)op;
    struct thread_record *t = enter_as_driver();
    struct error error;
    PyObject *result;
    PySendResult outcome;

    if (!t)
        return NULL;
    if (nargs < 1 || nargs > 3) {
        PyErr_Format(PyExc_TypeError,
                     "throw() takes an exception, or its type, value and "
                     "traceback (%zd arguments given)",
                     nargs);
        return NULL;
    }
    if (error_set_thrown(args[0], nargs > 1 ? args[1] : NULL,
                         nargs > 2 ? args[2] : NULL) < 0)
        return NULL;
    /* Only now: making the exception may have run Python code. */
    error_take(&error);
    if (self->state == ENTERED)
        outcome = raise_entered(self);
    else if (self->state == FINISHED)
        outcome = raise_finished(self);
    else if (self->strand && self->strand->thread != t)
        outcome = raise_foreign(t, self);
    else
        outcome = PYGEN_NEXT;
    if (outcome == PYGEN_ERROR) {
        Py_DECREF(error.type);
        Py_XDECREF(error.value);
        Py_XDECREF(error.traceback);
        return NULL;
    }
    error_restore(&error);
    outcome = bridge_throw_set(t, self, &result);
    return as_iterator(outcome, result);
}

PyObject *
bridge_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Bridge *self = (Bridge *)op;
    struct thread_record *t = enter_as_driver();
    PyObject *result = NULL;

    if (!t)
        return NULL;
    if (self->state == ENTERED)
        (void)raise_entered(self);
    else if (self->strand && self->strand->thread != t)
        (void)raise_foreign(t, self);
    else if (self->state == CREATED && !self->drives)
        finish(self);
    else if (self->state != FINISHED)
        (void)bridge_exit(t, self, CLOSED, &result);
    if (PyErr_Occurred())
        return NULL;
    Py_XDECREF(result);
    Py_RETURN_NONE;
}

/* --- for the strand ----------------------------------------------------- */

static bool
is_suspended(const struct strand *s)
{
    return s->face && !s->caller;
}

static void
unwind(PyObject *face)
{
    Bridge *self = (Bridge *)face;
    struct error saved;
    PyObject *result = NULL;

    if (self->state != SUSPENDED || !self->strand)
        return; /* it was closed while it waited for this */
    error_take(&saved);
    if (bridge_exit(self->strand->thread, self, DROPPED, &result) ==
        PYGEN_ERROR)
        PyErr_WriteUnraisable(face);
    Py_XDECREF(result);
    if (CO_UNLIKELY(self->strand && self->state == SUSPENDED))
        strand_give_up(self->strand);
    error_restore(&saved);
}

static void
forget(PyObject *face)
{
    Bridge *self = (Bridge *)face;

    if (!self)
        return; /* parked */
    outlook_forget(self->strand->thread, &self->outlook);
    self->strand = self->top = NULL;
    self->state = FINISHED;
    tstate_shown_clear(&self->shown);
}

static struct strand *
top_of(PyObject *face)
{
    return ((Bridge *)face)->top;
}

PyObject *
bridge_callee(PyObject *face)
{
    return ((Bridge *)face)->target;
}

const struct face_ops bridge_ops = {
    FACE_BRIDGE,   is_suspended,
    unwind,        NULL,
    forget,        NULL,
    true,          "it waits in await_(); its task will let it go on",
    bridge_callee, top_of,
};
