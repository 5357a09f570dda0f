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
#include "bridge/bridge.h"

#include <frameobject.h>
#include <stddef.h>
#include <structmember.h>

#include "bridge/call_graph.h"
#include "cpython/frames.h"
#include "cpython/object.h"
#include "cpython/thread.h"
#include "process/state.h"
#include "python/thread_name.h"
#include "strand/entry.h"
#include "strand/park.h"
#include "strand/thread.h"
#include "tell/tell.h"

static void
assert_consistent(const Bridge *self)
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

static const struct face_ops ops;
static PyObject *callee(PyObject *face);

/* --- errors ------------------------------------------------------------- */

static PySendResult
raise_foreign(struct thread_record *t, Bridge *self)
{
    PyObject *owner = thread_name(self->strand->thread->ident);
    PyObject *here = owner ? thread_name(t->ident) : NULL;

    if (here)
        PyErr_Format(t->state->coroutine_error,
                     "%R waits in await_() in thread %U and can only go on "
                     "there, not in thread %U: a loop and its tasks stay in "
                     "one thread",
                     self, owner, here);
    Py_XDECREF(owner);
    Py_XDECREF(here);
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

/* --- the strand --------------------------------------------------------- */

static PyObject *
call(Bridge *self)
{
    PyObject *args = self->args, *names = self->names;
    Py_ssize_t n;

    if (CO_LIKELY(!args))
        return PyObject_CallNoArgs(self->target);
    n = PyTuple_GET_SIZE(args);
    if (names)
        n -= PyTuple_GET_SIZE(names);
    return PyObject_Vectorcall(self->target, &PyTuple_GET_ITEM(args, 0),
                               (size_t)n, names);
}

/* Calls a method that the iterator may lack; result is NULL without an
 * exception set if it does. */
static int
call_if_there(PyObject *it, const char *name, PyObject *arg, PyObject **result)
{
    PyObject *method = PyObject_GetAttrString(it, name);

    *result = NULL;
    if (!method) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError))
            return -1;
        PyErr_Clear();
        return 0;
    }
    *result =
        arg ? PyObject_CallOneArg(method, arg) : PyObject_CallNoArgs(method);
    Py_DECREF(method);
    return *result ? 1 : -1;
}

/* Throws an exception, which it steals, into an iterator that waits; *result
 * gets what that yields or returns. */
static PySendResult
throw_into(PyObject *it, PyObject *exc, PyObject **result)
{
    /* As a coroutine does: who closes it does not expect another value. */
    bool closes = PyErr_GivenExceptionMatches(exc, PyExc_GeneratorExit);
    int called = closes ? call_if_there(it, "close", NULL, result)
                        : call_if_there(it, "throw", exc, result);

    if (called == 0 || (called > 0 && closes)) {
        Py_CLEAR(*result);
        error_raise(exc);
        return PYGEN_ERROR;
    }
    Py_DECREF(exc);
    if (called > 0)
        return PYGEN_NEXT;
    if (closes)
        return PYGEN_ERROR;
    *result = error_take_stop_iteration();
    return *result ? PYGEN_RETURN : PYGEN_ERROR;
}

/* The function in Python that a callable is, or a method of; or NULL. */
static PyFunctionObject *
function_of(PyObject *callable)
{
    if (CO_UNLIKELY(PyMethod_Check(callable)))
        callable = PyMethod_GET_FUNCTION(callable);
    return CO_LIKELY(PyFunction_Check(callable)) ? (PyFunctionObject *)callable
                                                 : NULL;
}

static bool keep_names(Bridge *self);

/* What a finished call was called is still asked for, and its code, as of a
 * coroutine. The function goes, with all that it refers to. */
static void
forget_function(Bridge *self)
{
    PyObject *target = self->target, *code = NULL;
    const PyFunctionObject *function = target ? function_of(target) : NULL;

    if (CO_LIKELY(function != NULL)) {
        const PyCodeObject *its = (const PyCodeObject *)function->func_code;

        code = Py_NewRef(function->func_code);
        if (CO_UNLIKELY(function->func_name != its->co_name ||
                        function->func_qualname != its->co_qualname) &&
            !keep_names(self))
            PyErr_Clear(); /* it has those of its code then */
    } else if (target && !keep_names(self)) {
        PyErr_Clear();
    }
    self->target = code;
    Py_XDECREF(target);
}

/* What it has called is dropped by the chain, in its context. No exception may
 * be set. */
static void
drop_call(Bridge *self)
{
    Py_CLEAR(self->args);
    Py_CLEAR(self->names);
    forget_function(self);
}

static void
drop_failed_call(Bridge *self)
{
    struct error error;

    error_take(&error);
    drop_call(self);
    error_restore(&error);
}

static PyObject *
do_step(Bridge *self)
{
    PyObject *sent = self->sent, *result = NULL;

    self->sent = NULL;
    switch (self->step) {
    case CALL:
        result = call(self);
        self->outcome = result ? PYGEN_RETURN : PYGEN_ERROR;
        if (CO_LIKELY(result != NULL))
            drop_call(self);
        else
            drop_failed_call(self);
        break;
    case SEND:
        self->outcome = PyIter_Send(self->target, sent, &result);
        break;
    case THROW:
        self->outcome = throw_into(self->target, Py_NewRef(sent), &result);
        break;
    case CLOSE:
        result = PyObject_CallMethod(self->target, "close", NULL);
        self->outcome = result ? PYGEN_RETURN : PYGEN_ERROR;
        break;
    }
    Py_XDECREF(sent);
    return result;
}

/* Who is told of switches has raised an exception, which is set. */
__attribute__((cold)) static PyObject *
drop_step(Bridge *self)
{
    struct error error;

    error_take(&error);
    self->outcome = PYGEN_ERROR;
    Py_CLEAR(self->sent);
    if (!self->drives)
        drop_call(self);
    error_restore(&error);
    return NULL;
}

/* A step has ended with the exception that is set. That of a close holds the
 * frames that it has unwound: it is dropped where these were. NULL to pass the
 * exception on. */
__attribute__((cold, noinline)) static PyObject *
fail(Bridge *self)
{
    bool is_exit =
        PyErr_ExceptionMatches(PyExc_GeneratorExit) ||
        (self->drives && PyErr_ExceptionMatches(PyExc_StopIteration));

    if (self->ending != NOT_ENDING && is_exit) {
        PyErr_Clear();
    } else if (self->ending == DROPPED) {
        PyErr_WriteUnraisable((PyObject *)self);
    } else {
        error_take(&self->strand->thread->error);
        return NULL;
    }
    self->outcome = PYGEN_RETURN;
    return Py_NewRef(Py_None);
}

/* Before a step: false with an exception set if there must be none. */
__attribute__((cold)) static bool
tidy(struct strand *s)
{
    return strand_tidy_alone(s, strand_litter(s));
}

/* The bottom of the stack. */
static void
bridge_main(void *value)
{
    struct strand *s = value;
    bool told = true;

    STRAND_ARRIVE(s);
    if (CO_UNLIKELY(s->thread->teller != NULL)) {
        tell_begins(s);
        told = tidy(s);
    }
    while (s->face) {
        struct strand *caller;
        PyObject *result;

        if (tstate_is_traced(s->thread->ts))
            strand_renew_trace(s);
        result =
            told ? do_step((Bridge *)s->face) : drop_step((Bridge *)s->face);
        if (!result)
            result = fail((Bridge *)s->face);
        caller = s->caller;
        if (CO_UNLIKELY(!strand_park(s)))
            strand_leave(s, caller, result);
        (void)strand_switch(s->thread, caller, result);
        told = !(s->face && CO_UNLIKELY(s->slice.trace_arg != NULL)) || tidy(s);
    }
    strand_leave(s, s->caller, (PyObject *)s);
}

/* --- driving it --------------------------------------------------------- */

static void
entered(struct thread_record *t, Bridge *self, struct strand *s)
{
    Py_INCREF(self); /* until control is back, whoever drops it meanwhile */
    s->caller = t->current;
    s->root.exc.previous_item = t->ts->exc_info;
    tstate_hang(t->ts, &s->root);
    self->state = ENTERED;
    self->collecting = t->collecting;
    assert_consistent(self);
}

static void
finish(Bridge *self)
{
    self->state = FINISHED;
    if (!self->drives)
        drop_call(self);
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
static void
show_target(Bridge *self)
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

    s->caller = NULL;
    s->root.exc.previous_item = NULL;
    tstate_cut(s->thread->ts, &s->root);
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
        s = strand_create(t, (PyObject *)self, &ops, bridge_main);
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
    show_target(self);
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

static PySendResult
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

static PyObject *
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

static PyObject *
bridge_send_method(PyObject *op, PyObject *value)
{
    PyObject *result;
    PySendResult outcome = bridge_send(op, value, &result);

    return as_iterator(outcome, result);
}

/* Two that await it would take each other's values. */
static PyObject *
bridge_await(PyObject *op)
{
    enum face_state state = ((Bridge *)op)->state;

    if (CO_UNLIKELY(state == ENTERED || state == SUSPENDED)) {
        PyErr_Format(PyExc_RuntimeError, "%R is being awaited already", op);
        return NULL;
    }
    return Py_NewRef(op);
}

static PyObject *
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

static PyObject *
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

/* --- await_() ----------------------------------------------------------- */

/* Whether it is a Bridge's, which may be on the thread's stack. */
static bool
is_ours(const struct strand *s)
{
    return s->ops == &ops || (s->ops && s->ops->callee == callee);
}

/* The strand of the innermost Bridge that control is in, or NULL. */
static struct strand *
innermost(const struct thread_record *t)
{
    struct strand *s = t->current;

    while (s && !is_ours(s))
        s = s->caller;
    return s;
}

/* An awaitable that nobody will await need not be complained about too. */
static void
close_unstarted(struct thread_record *t, PyObject *awaitable)
{
    const char *name = Py_TYPE(awaitable)->tp_name;
    bool unstarted = false;
    struct error error;

    error_take(&error);
    if (PyCoro_CheckExact(awaitable)) {
        PyObject *suspended = PyObject_GetAttrString(awaitable, "cr_suspended");
        PyObject *frame =
            suspended ? PyObject_GetAttrString(awaitable, "cr_frame") : NULL;

        unstarted = suspended == Py_False && frame && frame != Py_None;
        Py_XDECREF(suspended);
        Py_XDECREF(frame);
    } else if (Py_IS_TYPE(awaitable, t->state->bridge_type)) {
        unstarted = ((Bridge *)awaitable)->state == CREATED;
    } else {
        unstarted = strcmp(name, "async_generator_asend") == 0 ||
                    strcmp(name, "async_generator_athrow") == 0;
    }
    if (unstarted)
        Py_XDECREF(PyObject_CallMethod(awaitable, "close", NULL));
    PyErr_Clear(); /* it can't be closed while it is running */
    error_restore(&error);
}

static PyObject *
raise_outside(struct thread_record *t, PyObject *awaitable)
{
    const struct strand *s = t->current;

    while (s->caller)
        s = s->caller;
    PyErr_SetString(
        t->state->coroutine_error,
        s == &t->own
            ? "await_() where no task can wait for it: call the function that "
              "comes to it with `await copool.aio.run_sync(function, ...)`, or "
              "run the program with copool.aio.run(main()), so that it works "
              "below every `async def`"
            : "await_() inside a greenlet, which no task waits for: call the "
              "function that comes to it with `await "
              "copool.aio.run_sync(function, ...)` instead, or run the program "
              "with copool.aio.run(main()); below SQLAlchemy's "
              "greenlet_spawn() use its own await_()");
    close_unstarted(t, awaitable);
    return NULL;
}

/* What `await` would drive: a new reference. */
static PyObject *
awaitable_iter(PyObject *awaitable)
{
    const PyAsyncMethods *async = Py_TYPE(awaitable)->tp_as_async;
    PyObject *it;

    if (PyCoro_CheckExact(awaitable)) {
        if (CO_UNLIKELY(tstate_is_awaited(awaitable))) {
            PyErr_SetString(PyExc_RuntimeError,
                            "coroutine is being awaited already");
            return NULL;
        }
        return Py_NewRef(awaitable);
    }
    if (PyGen_CheckExact(awaitable) && tstate_is_awaitable(awaitable))
        return Py_NewRef(awaitable);
    if (CO_UNLIKELY(!async || !async->am_await)) {
        PyErr_Format(PyExc_TypeError,
                     "await_() needs an awaitable, not %.200s; pass the "
                     "coroutine that a call returns, not the function",
                     Py_TYPE(awaitable)->tp_name);
        return NULL;
    }
    it = async->am_await(awaitable);
    if (it && CO_UNLIKELY(!PyIter_Check(it) || PyCoro_CheckExact(it))) {
        PyErr_Format(PyExc_TypeError,
                     "__await__() of %.200s returned %.200s instead of an "
                     "iterator",
                     Py_TYPE(awaitable)->tp_name, Py_TYPE(it)->tp_name);
        Py_CLEAR(it);
    }
    return it;
}

/* Whether asyncio's current task has begun below the Bridge that has this
 * strand: eagerly, without one of its own. It has a context of its own then.
 * *unknown is set if there is no memory to find out. */
static bool
task_is_inside(struct thread_record *t, struct strand *s, bool *unknown)
{
    PyObject *name = PyUnicode_FromString("asyncio.tasks");
    PyObject *tasks = name ? PyImport_GetModule(name) : NULL;
    PyObject *task =
        tasks ? PyObject_CallMethod(tasks, "current_task", NULL) : NULL;
    PyObject *coroutine = task && task != Py_None
                              ? PyObject_CallMethod(task, "get_coro", NULL)
                              : NULL;
    bool inside = coroutine && PyCoro_CheckExact(coroutine) &&
                  tstate_runs_in(t->ts, coroutine, &s->root);

    *unknown = PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_MemoryError);
    PyErr_Clear(); /* no loop is running */
    Py_XDECREF(name);
    Py_XDECREF(tasks);
    Py_XDECREF(task);
    Py_XDECREF(coroutine);
    return inside;
}

/* Whether something runs in a Context.run() of its own below the Bridge that
 * has this strand, as a task's steps do. Contexts of coroutines are none. */
static bool
has_run_inside(const struct thread_record *t, const struct strand *s)
{
    const PyObject *drivers = s->caller->slice.context, *context;
    const struct strand *at = t->current;

    for (context = t->ts->context;; context = at->slice.context) {
        if (CO_UNLIKELY(context != drivers) && context &&
            tstate_context_is_entered(context))
            return true;
        if (at == s)
            return false;
        at = at->caller;
    }
}

static const char no_memory[] = "there is no memory to find out";
static const char being_closed[] =
    "its task is being closed, and nobody would let it go on";

/* Each block that ends may try once. One that tries more often goes round in a
 * loop that catches everything, and is left as it is. */
enum { MOST_REFUSALS = 100 };

static bool
is_beyond_closing(const Bridge *self)
{
    return self->refusals >= MOST_REFUSALS;
}

/* Why the running chain can't be suspended, or NULL. */
static const char *
obstacle(struct thread_record *t, struct strand *s)
{
    bool unknown = false;

    if (CO_UNLIKELY(!s))
        return "the task that it was called in has gone on without it";
    if (CO_UNLIKELY(!tstate_is_running(t->ts, &t->current->root)))
        return "a greenlet of another library is running, whose stack is a "
               "part of this one; put copool's in its place, with "
               "copool.greenlet.install()";
    if (CO_UNLIKELY(has_run_inside(t, s)) && task_is_inside(t, s, &unknown))
        return "its task has begun inside a step of another one, which would "
               "be suspended in the middle; make such a task of "
               "copool.aio.bridge(coroutine), or with loop.create_task() in a "
               "loop that copool.aio.install() was called for last";
    if (CO_UNLIKELY(unknown))
        return no_memory;
    if (CO_UNLIKELY(t->occupant != NULL) &&
        strand_occupies_thread(t->current, s->caller))
        return "it runs on the thread's own stack, which others need "
               "meanwhile; what copool.on_thread_stack() has called must "
               "return first";
    if (CO_UNLIKELY(((Bridge *)s->face)->ending != NOT_ENDING))
        return is_beyond_closing((Bridge *)s->face) ? NULL : being_closed;
    if (CO_UNLIKELY(((Bridge *)s->face)->atomic > 0))
        return "it is in a block of copool.aio.atomic()";
    if (CO_UNLIKELY(t->collecting) && !((Bridge *)s->face)->collecting)
        return "the garbage collector has called this finalizer, and nothing "
               "could be collected until it goes on";
    return NULL;
}

/* Hands what an awaitable yields, which it steals, to whoever drives the
 * innermost Bridge, and takes what that sends, or NULL with the exception that
 * it throws. False with an exception set if it can't. */
static bool
wait_for(struct thread_record *t, PyObject *it, PyObject *const *stack_end,
         PyObject **value)
{
    struct strand *s = innermost(t), *caller;
    const char *reason = obstacle(t, s);
    Bridge *self;

    if (CO_UNLIKELY(reason != NULL)) {
        if (reason == being_closed)
            ((Bridge *)s->face)->refusals++;
        Py_CLEAR(*value);
        if (call_if_there(it, "close", NULL, value) < 0)
            PyErr_WriteUnraisable(it);
        Py_CLEAR(*value);
        PyErr_Format(reason == no_memory ? PyExc_MemoryError
                                         : t->state->coroutine_error,
                     "await_() can't wait here: %s", reason);
        return false;
    }
    self = (Bridge *)s->face;
    caller = s->caller;
    s->caller = NULL;
    self->top = t->current;
    self->awaited = it;
    self->stack_end = stack_end;
    tstate_show_wait(&self->shown, t->ts, &s->root, it);
    *value = strand_switch(t, caller, *value);
    *value = strand_tidy(t->current, *value);
    return true;
}

static PyObject *
core_await(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    struct thread_record *t = thread_record_enter();
    PyObject *it, *sent, *result = NULL;
    PySendResult outcome;

    if (CO_UNLIKELY(!t))
        return NULL;
    if (CO_UNLIKELY(nargs != 1)) {
        PyErr_Format(PyExc_TypeError,
                     "await_() takes one argument, the awaitable (%zd given); "
                     "asyncio.gather() waits for several",
                     nargs);
        return NULL;
    }
    if (CO_UNLIKELY(!innermost(t)))
        return raise_outside(t, args[0]);
    it = awaitable_iter(args[0]);
    if (CO_UNLIKELY(!it))
        return NULL;
    sent = Py_NewRef(Py_None);
    for (;;) {
        if (CO_LIKELY(sent != NULL)) {
            outcome = PyIter_Send(it, sent, &result);
            Py_DECREF(sent);
        } else {
            outcome = throw_into(it, error_take_raised(), &result);
        }
        if (CO_LIKELY(outcome != PYGEN_NEXT))
            break;
        sent = result;
        if (CO_UNLIKELY(!wait_for(t, it, args + nargs, &sent))) {
            result = NULL;
            break;
        }
    }
    Py_DECREF(it);
    return result;
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

static PyObject *
callee(PyObject *face)
{
    return ((Bridge *)face)->target;
}

static const struct face_ops ops = {
    FACE_BRIDGE, is_suspended,
    unwind,      NULL,
    forget,      NULL,
    true,        "it waits in await_(); its task will let it go on",
    callee,      top_of,
};

/* --- attributes --------------------------------------------------------- */

/* What the callable is called, by which attribute of it: a new reference. May
 * run Python code. */
static PyObject *
callable_name(PyObject *callable, const char *attribute)
{
    PyObject *name;

    Py_INCREF(callable); /* looking it up may end the call */
    name = PyObject_GetAttrString(callable, attribute);
    if (!name && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        /* Of a functools.partial, say. */
        PyErr_Clear();
        name = PyObject_GetAttrString((PyObject *)Py_TYPE(callable), attribute);
    }
    if (name && !PyUnicode_Check(name))
        Py_SETREF(name, PyObject_Str(name));
    Py_DECREF(callable);
    return name;
}

static PyObject *
get_name(PyObject *op, void *Py_UNUSED(closure))
{
    const Bridge *self = (const Bridge *)op;

    if (!self->drives && self->label && self->label->name)
        return Py_NewRef(self->label->name);
    if (!self->target)
        return PyUnicode_FromString("");
    if (PyCode_Check(self->target))
        return Py_NewRef(((PyCodeObject *)self->target)->co_name);
    return callable_name(self->target, "__name__");
}

static PyObject *
get_qualname(PyObject *op, void *Py_UNUSED(closure))
{
    const Bridge *self = (const Bridge *)op;

    if (!self->drives && self->label && self->label->qualname)
        return Py_NewRef(self->label->qualname);
    if (!self->target)
        return PyUnicode_FromString("");
    if (PyCode_Check(self->target))
        return Py_NewRef(((PyCodeObject *)self->target)->co_qualname);
    return callable_name(self->target, "__qualname__");
}

/* Sets one of both, with which a coroutine is renamed. */
static int
set_either(PyObject *op, PyObject *name, const char *attribute,
           bool (*set)(struct label **, PyObject *))
{
    Bridge *self = (Bridge *)op;

    if (!name || !PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "%s must be set to a string object",
                     attribute);
        return -1;
    }
    if (self->drives && self->target)
        return PyObject_SetAttrString(self->target, attribute, name);
    return set(&self->label, name) ? 0 : -1;
}

static int
set_name(PyObject *op, PyObject *name, void *Py_UNUSED(closure))
{
    return set_either(op, name, "__name__", label_set_name);
}

static int
set_qualname(PyObject *op, PyObject *name, void *Py_UNUSED(closure))
{
    return set_either(op, name, "__qualname__", label_set_qualname);
}

/* Those that the callable has now, and that were not set. May run Python code.
 * False with an exception set. */
static bool
keep_names(Bridge *self)
{
    PyObject *name = get_name((PyObject *)self, NULL);
    PyObject *qualname = name ? get_qualname((PyObject *)self, NULL) : NULL;
    bool are = qualname && label_set_name(&self->label, name) &&
               label_set_qualname(&self->label, qualname);

    Py_XDECREF(name);
    Py_XDECREF(qualname);
    return are;
}

/* An attribute of the coroutine that it drives; None of a call. */
static PyObject *
get_from_coroutine(PyObject *op, void *name)
{
    Bridge *self = (Bridge *)op;
    PyObject *target = self->target, *result;

    if (!self->drives || !target)
        Py_RETURN_NONE;
    Py_INCREF(target); /* looking it up may end it */
    result = PyObject_GetAttrString(target, name);
    Py_DECREF(target);
    return result;
}

static PyObject *
get_origin(PyObject *op, void *Py_UNUSED(closure))
{
    const Bridge *self = (const Bridge *)op;

    if (self->drives)
        return get_from_coroutine(op, "cr_origin");
    return Py_NewRef(self->label && self->label->origin ? self->label->origin
                                                        : Py_None);
}

/* What a call graph shows of it while it waits in await_(). False, maybe with
 * an exception set, if it doesn't. */
static bool
get_graph(const Bridge *self, struct call_graph *graph)
{
    return self->top && call_graph_get(graph, self);
}

/* The code of what a call calls: a new reference, or None. */
static PyObject *
callable_code(const Bridge *self)
{
    PyObject *target = self->target;
    const PyFunctionObject *function;

    if (!target || PyCode_Check(target))
        return Py_NewRef(target ? target : Py_None);
    function = function_of(target);
    return Py_NewRef(function ? function->func_code : Py_None);
}

/* The arguments of a call that has not begun, by name, as far as that can be
 * known: a new dict. NULL with an exception set. */
static PyObject *
bound_arguments(const Bridge *self)
{
    PyObject *inspect = NULL, *bind = NULL, *bound = NULL, *all = NULL;
    PyObject *args = self->args, *names = self->names;
    Py_ssize_t n = args ? PyTuple_GET_SIZE(args) : 0;

    if (self->state == CREATED && function_of(self->target) &&
        (inspect = PyImport_ImportModule("inspect")) != NULL)
        bind = PyObject_GetAttrString(inspect, "getcallargs");
    if (bind && (all = PyTuple_New(n + 1)) != NULL) {
        PyTuple_SET_ITEM(all, 0, Py_NewRef(self->target));
        for (Py_ssize_t i = 0; i < n; i++)
            PyTuple_SET_ITEM(all, i + 1, Py_NewRef(PyTuple_GET_ITEM(args, i)));
        n += 1 - (names ? PyTuple_GET_SIZE(names) : 0);
        bound = PyObject_Vectorcall(bind, &PyTuple_GET_ITEM(all, 0), (size_t)n,
                                    names);
    }
    Py_XDECREF(inspect);
    Py_XDECREF(bind);
    Py_XDECREF(all);
    if (bound ||
        (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_MemoryError)))
        return bound;
    PyErr_Clear(); /* it can't be called with these, or they are not known */
    return PyDict_New();
}

/* Who asks for the frame of a call takes it for finished if there is none. So
 * there is one where it has no frame: it has not begun, or calls C code. Its
 * line is the first one of the function. */
static PyFrameObject *
stand_in_frame(Bridge *self)
{
    PyObject *name = get_name((PyObject *)self, NULL);
    PyObject *its = callable_code(self), *globals = name ? PyDict_New() : NULL;
    PyObject *locals = globals ? bound_arguments(self) : NULL;
    const char *file = "<built-in>",
               *text = locals ? PyUnicode_AsUTF8(name) : NULL;
    PyCodeObject *code = NULL;
    PyFrameObject *frame = NULL;
    int line = 0;

    if (text && PyCode_Check(its)) {
        file = PyUnicode_AsUTF8(((PyCodeObject *)its)->co_filename);
        line = ((PyCodeObject *)its)->co_firstlineno;
    }
    if (text && file)
        code = PyCode_NewEmpty(file, text, line);
    if (code)
        frame = PyFrame_New(tstate_get(), code, globals, locals);
    Py_XDECREF(name);
    Py_DECREF(its);
    Py_XDECREF(globals);
    Py_XDECREF(locals);
    Py_XDECREF(code);
    return frame;
}

/* Of a step that runs or waits for one that it has entered. */
static PyFrameObject *
running_frame(const Bridge *self)
{
    const struct strand *s = self->strand;

    if (!s)
        return NULL;
    return tstate_outermost_frame(
        s == s->thread->current ? s->thread->ts : NULL, &s->slice, &s->root);
}

static PyObject *
get_frame(PyObject *op, void *Py_UNUSED(closure))
{
    Bridge *self = (Bridge *)op;
    int is_stack = self->top ? call_graph_is_stack() : 0;
    PyFrameObject *frame = NULL;
    struct call_graph graph;

    if (is_stack < 0)
        return NULL;
    if (is_stack) {
        frame = tstate_frame(&self->top->slice, &self->strand->root);
    } else if (get_graph(self, &graph)) {
        frame = (PyFrameObject *)Py_XNewRef(graph.outermost);
        call_graph_clear(&graph);
    } else if (!PyErr_Occurred() && self->state == ENTERED && !self->drives) {
        frame = running_frame(self);
    }
    if (frame || PyErr_Occurred())
        return (PyObject *)frame;
    if (self->drives || self->state == FINISHED)
        return get_from_coroutine(op, "cr_frame");
    return (PyObject *)stand_in_frame(self);
}

/* That of cr_frame: asyncio takes the file from one and the line from the
 * other.
 */
static PyObject *
get_code(PyObject *op, void *Py_UNUSED(closure))
{
    Bridge *self = (Bridge *)op;
    struct call_graph graph;
    PyObject *code = NULL;

    if (get_graph(self, &graph)) {
        if (graph.outermost)
            code = (PyObject *)PyFrame_GetCode(graph.outermost);
        call_graph_clear(&graph);
    }
    if (code || PyErr_Occurred())
        return code;
    return self->drives ? get_from_coroutine(op, "cr_code")
                        : callable_code(self);
}

static PyObject *
get_awaited(PyObject *op, void *Py_UNUSED(closure))
{
    struct call_graph graph;
    PyObject *awaited;

    if (get_graph((Bridge *)op, &graph)) {
        awaited = Py_NewRef(graph.awaited);
        call_graph_clear(&graph);
        return awaited;
    }
    if (PyErr_Occurred())
        return NULL;
    return get_from_coroutine(op, "cr_await");
}

static PyObject *
get_running(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((Bridge *)op)->state == ENTERED);
}

static PyObject *
get_suspended(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((Bridge *)op)->state == SUSPENDED);
}

/* As inspect.getcoroutinestate(), which asks for it from 3.15 on. */
static PyObject *
get_state(PyObject *op, void *Py_UNUSED(closure))
{
    static const char *const states[] = {"CORO_CREATED", "CORO_RUNNING",
                                         "CORO_SUSPENDED", "CORO_CLOSED"};

    return PyUnicode_InternFromString(states[((Bridge *)op)->state]);
}

static PyObject *
bridge_repr(PyObject *op)
{
    static const char *const states[] = {"created", "running", "suspended",
                                         "finished"};
    Bridge *self = (Bridge *)op;
    const char *state = states[self->state];
    PyObject *name = get_qualname(op, NULL), *text;

    if (!name)
        return NULL;
    text = PyUnicode_FromFormat("<copool.aio.Bridge of %U, %s, at %p>", name,
                                state, self);
    Py_DECREF(name);
    return text;
}

/* --- life --------------------------------------------------------------- */

/* In gc.callbacks: the collector tells, in the thread in which it works, when
 * it begins and when it is done. CPython knows only that it works somewhere. */
static PyObject *
core_collector(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    struct thread_record *t = thread_record_peek();

    if (!t && PyErr_Occurred())
        return NULL;
    if (t && nargs && PyUnicode_Check(args[0]))
        t->collecting = PyUnicode_CompareWithASCIIString(args[0], "start") == 0;
    Py_RETURN_NONE;
}

/* Asks the collector for that, from when there is the first Bridge. */
static bool
watch_collector(struct module_state *state)
{
    PyObject *module = state_module();
    PyObject *gc, *callbacks, *callback;
    int status = -1;

    state->watches_collector = true;
    gc = PyImport_ImportModule("gc");
    callbacks = gc ? PyObject_GetAttrString(gc, "callbacks") : NULL;
    callback = callbacks && module
                   ? PyObject_GetAttrString(module, "_collector")
                   : NULL;
    if (callback && PyList_Check(callbacks))
        status = PyList_Append(callbacks, callback);
    else if (callback)
        PyErr_SetString(PyExc_RuntimeError,
                        "copool: gc.callbacks must be a list");
    state->watches_collector = status == 0;
    Py_XDECREF(callback);
    Py_XDECREF(callbacks);
    Py_XDECREF(gc);
    return status == 0;
}

static Bridge *
alloc(struct thread_record *t, PyObject *target)
{
    Bridge *self = t ? (Bridge *)free_faces_take(&t->free_bridges) : NULL;
    struct module_state *state = t ? t->state : state_get();
    struct label *label = NULL;

    if (CO_UNLIKELY(!state))
        return NULL;
    if (CO_UNLIKELY(!self)) {
        if (!state->watches_collector && !watch_collector(state))
            return NULL;
        if (!label_make(&label, NULL, state->notes_makers))
            return NULL;
        self = PyObject_GC_New(Bridge, state->bridge_type);
        if (!self) {
            label_free(&label);
            return NULL;
        }
        tstate_shown_init(&self->shown, &self->ended);
    }
    self->label = label;
    self->link = &state->bridges;
    self->next = state->bridges;
    if (self->next)
        self->next->link = &self->next;
    state->bridges = self;
    self->target = Py_NewRef(target);
    self->args = self->names = self->weakrefs = self->task = NULL;
    self->sent = self->awaited = NULL;
    self->stack_end = NULL;
    self->strand = self->top = NULL;
    outlook_init(&self->outlook);
    self->atomic = 0;
    self->state = CREATED;
    self->drives = self->finalized = false;
    self->ending = NOT_ENDING;
    tstate_show(&self->shown, NULL);
    return self;
}

static int
bridge_traverse(PyObject *op, visitproc visit, void *arg)
{
    Bridge *self = (Bridge *)op;

    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->target);
    Py_VISIT(self->args);
    if (!self->top)
        return 0;
    Py_VISIT(self->awaited);
    return strand_traverse(self->strand,
                           self->top == self->strand ? self->stack_end : NULL,
                           visit, arg);
}

/* As of a coroutine. */
static int
bridge_is_gc(PyObject *op)
{
    const Bridge *self = (const Bridge *)op;

    return !self->finalized || !self->strand;
}

/* The frames of a suspended chain are freed by unwinding it, in tp_finalize.
 * The chain may be using the others until then. */
static int
bridge_clear(PyObject *op)
{
    Bridge *self = (Bridge *)op;

    if (!self->strand) {
        Py_CLEAR(self->target);
        Py_CLEAR(self->args);
        self->state = FINISHED;
        tstate_shown_clear(&self->shown);
    }
    return 0;
}

/* The lines of its cr_origin, as in the warning of a coroutine: a new
 * reference. NULL with an exception set. */
static PyObject *
origin_text(PyObject *origin)
{
    Py_ssize_t n = PyTuple_GET_SIZE(origin);
    PyObject *list = PyList_New(0), *lines = NULL, *empty, *text = NULL;
    PyObject *traceback = list ? PyImport_ImportModule("traceback") : NULL;

    for (Py_ssize_t i = n; traceback && i-- > 0;) {
        PyObject *call = PyTuple_GET_ITEM(origin, i);
        PyObject *entry = Py_BuildValue(
            "OOOO", PyTuple_GET_ITEM(call, 0), PyTuple_GET_ITEM(call, 1),
            PyTuple_GET_ITEM(call, 2), Py_None); /* it finds the text itself */

        if (!entry || PyList_Append(list, entry) < 0)
            Py_CLEAR(traceback);
        Py_XDECREF(entry);
    }
    if (traceback)
        lines = PyObject_CallMethod(traceback, "format_list", "O", list);
    empty = lines ? PyUnicode_FromString("") : NULL;
    if (empty)
        text = PyUnicode_Join(empty, lines);
    Py_XDECREF(list);
    Py_XDECREF(lines);
    Py_XDECREF(empty);
    Py_XDECREF(traceback);
    return text;
}

static void
warn_unawaited(Bridge *self)
{
    PyObject *origin = self->label ? self->label->origin : NULL;
    PyObject *text = origin ? origin_text(origin) : PyUnicode_FromString("");
    const char *made =
        origin ? "\nCoroutine created at (most recent call last)\n" : "";

    if (!text || PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                                  "run_sync() of %R was never awaited%s%U",
                                  self->target, made, text) < 0)
        PyErr_WriteUnraisable((PyObject *)self);
    Py_XDECREF(text);
}

static void
bridge_finalize(PyObject *op)
{
    Bridge *self = (Bridge *)op;
    struct strand *s = self->strand;
    struct error saved;

    self->finalized = true;
    if (self->state == CREATED && !self->drives) {
        error_take(&saved);
        warn_unawaited(self);
        error_restore(&saved);
    } else if (!s || self->state != SUSPENDED) {
        return;
    } else if (tstate_is_finalizing()) {
        strand_abandon(s);
    } else if (!strand_is_here(s)) {
        Py_INCREF(self);
        strand_drop(s);
    } else {
        unwind(op);
    }
}

static void
bridge_dealloc(PyObject *op)
{
    Bridge *self = (Bridge *)op;
    PyTypeObject *type = Py_TYPE(op);
    struct thread_record *t = thread_record_last;

    assert_consistent(self);
    if (CO_UNLIKELY(self->state == CREATED || self->top) &&
        PyObject_CallFinalizerFromDealloc(op) < 0)
        return;
    outlook_assert_forgotten(&self->outlook);
    PyObject_GC_UnTrack(op);
    if (CO_UNLIKELY(self->weakrefs != NULL))
        PyObject_ClearWeakRefs(op);
    Py_CLEAR(self->target);
    Py_CLEAR(self->args);
    Py_CLEAR(self->names);
    Py_CLEAR(self->task);
    tstate_shown_clear(&self->shown);
    if (CO_UNLIKELY(self->label != NULL))
        label_free(&self->label);
    *self->link = self->next;
    if (self->next)
        self->next->link = self->link;
    if (t && t->free_bridges.type == type && !self->finalized &&
        free_faces_keep(&t->free_bridges, op))
        return;
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

/* --- functions of the module -------------------------------------------- */

static PyObject *
core_run_sync(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
              PyObject *names)
{
    struct thread_record *t;
    Bridge *self;
    Py_ssize_t n;

    if (CO_UNLIKELY(!thread_record_try(&t)))
        return NULL;
    if (CO_UNLIKELY(nargs < 1)) {
        PyErr_SetString(PyExc_TypeError,
                        "run_sync() needs the function to call");
        return NULL;
    }
    if (CO_UNLIKELY(!Py_TYPE(args[0])->tp_call)) {
        PyErr_Format(PyExc_TypeError,
                     "run_sync() needs a callable, not %.200s; pass the "
                     "function itself and then its arguments",
                     Py_TYPE(args[0])->tp_name);
        return NULL;
    }
    self = alloc(t, args[0]);
    if (CO_UNLIKELY(!self))
        return NULL;
    n = nargs - 1 + (names ? PyTuple_GET_SIZE(names) : 0);
    if (n) {
        self->args = PyTuple_New(n);
        if (CO_UNLIKELY(!self->args)) {
            self->state = FINISHED;
            Py_DECREF(self);
            return NULL;
        }
        for (Py_ssize_t i = 0; i < n; i++)
            PyTuple_SET_ITEM(self->args, i, Py_NewRef(args[1 + i]));
        self->names = Py_XNewRef(names);
    }
    if (CO_UNLIKELY(t && t->ts->coroutine_origin_tracking_depth > 0) &&
        !label_note_origin(&self->label,
                           t->ts->coroutine_origin_tracking_depth)) {
        self->state = FINISHED;
        Py_DECREF(self);
        return NULL;
    }
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static PyObject *
core_bridge(PyObject *module, PyObject *coroutine)
{
    const struct module_state *state = PyModule_GetState(module);
    struct thread_record *t;
    Bridge *self;

    if (CO_UNLIKELY(!thread_record_try(&t)))
        return NULL;
    if (Py_IS_TYPE(coroutine, state->bridge_type))
        return Py_NewRef(coroutine);
    if (CO_UNLIKELY(!PyCoro_CheckExact(coroutine) &&
                    !PyObject_HasAttrString(coroutine, "send"))) {
        PyErr_Format(PyExc_TypeError,
                     "bridge() needs a coroutine, not %.200s; a plain function "
                     "is called by run_sync()",
                     Py_TYPE(coroutine)->tp_name);
        return NULL;
    }
    self = alloc(t, coroutine);
    if (CO_UNLIKELY(!self))
        return NULL;
    self->drives = true;
    show_target(self);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

/* The Bridge in which await_() must not wait until core_release() gets it, or
 * None if it can't anyway. */
static PyObject *
core_hold(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct thread_record *t;
    struct strand *s;

    if (!thread_record_try(&t))
        return NULL;
    s = t ? innermost(t) : NULL;
    if (!s)
        Py_RETURN_NONE;
    ((Bridge *)s->face)->atomic++;
    return Py_NewRef(s->face);
}

static PyObject *
core_release(PyObject *module, PyObject *held)
{
    const struct module_state *state = PyModule_GetState(module);

    if (Py_IS_TYPE(held, state->bridge_type))
        ((Bridge *)held)->atomic--;
    Py_RETURN_NONE;
}

static PyObject *
core_can_await(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct thread_record *t;
    struct strand *s;

    if (!thread_record_try(&t))
        return NULL;
    s = t ? innermost(t) : NULL;
    return PyBool_FromLong(s && !obstacle(t, s));
}

/* --- the type ----------------------------------------------------------- */

/* As of a coroutine. Else the type's name would be the one that it bears for
 * tools (call_graph.c). */
static PyObject *
bridge_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyErr_Format(PyExc_TypeError,
                        "cannot pickle or copy %R: it is a call under way", op);
}

static PyMethodDef methods[] = {
    {"send", bridge_send_method, METH_O,
     PyDoc_STR("send($self, value, /)\n--\n\n"
               "Go on with value; return what is awaited next.")},
    {"throw", _PyCFunction_CAST(bridge_throw), METH_FASTCALL,
     PyDoc_STR("throw($self, exc, value=None, traceback=None, /)\n--\n\n"
               "Raise exc where it waits; return what is awaited next.")},
    {"close", bridge_close, METH_NOARGS,
     PyDoc_STR("close($self, /)\n--\n\n"
               "End it by raising GeneratorExit in it.")},
    {"__reduce__", bridge_reduce, METH_NOARGS,
     PyDoc_STR("Raise TypeError: it can't be pickled or copied.")},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,
     PyDoc_STR("Bridge[T] is one whose result is a T, for type checkers.")},
    {NULL, NULL, 0, NULL},
};

/* The names are those of a coroutine, which asyncio shows in its messages. */
static PyGetSetDef getset[] = {
    {"__name__", get_name, set_name, NULL, NULL},
    {"__qualname__", get_qualname, set_qualname, NULL, NULL},
    {"cr_code", get_code, NULL, NULL, NULL},
    {"cr_origin", get_origin, NULL,
     PyDoc_STR("Which calls it was made in, if coroutines note that, or None."),
     NULL},
    {"cr_frame", get_frame, NULL,
     PyDoc_STR("The outermost frame of the call, or the coroutine's."), NULL},
    {"cr_await", get_awaited, NULL,
     PyDoc_STR("What that waits for, or None: in await_() the next call."),
     NULL},
    {"cr_running", get_running, NULL, NULL, NULL},
    {"cr_suspended", get_suspended, NULL, NULL, NULL},
    {"cr_state", get_state, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Bridge, weakrefs), READONLY,
     NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc,
     PyDoc_STR("A call, or a coroutine, below which await_() works.\n\n"
               "Made by run_sync(); awaited like a coroutine.")},
    {Py_tp_dealloc, bridge_dealloc},
    {Py_tp_finalize, bridge_finalize},
    {Py_tp_is_gc, bridge_is_gc},
    {Py_tp_traverse, bridge_traverse},
    {Py_tp_clear, bridge_clear},
    {Py_tp_repr, bridge_repr},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, bridge_iternext},
    {Py_am_await, bridge_await},
    {Py_am_send, bridge_send},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {Py_tp_members, members},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "copool.aio.Bridge",
    .basicsize = sizeof(Bridge),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

/* The task is one whose name is found. */
static PyObject *
core_driven_by(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *task;
    Bridge *self;

    if (nargs != 2 || Py_TYPE(args[0])->tp_dealloc != bridge_dealloc) {
        PyErr_SetString(PyExc_TypeError,
                        "_driven_by() takes a Bridge and its task");
        return NULL;
    }
    self = (Bridge *)args[0];
    task = PyWeakref_NewRef(args[1], NULL);
    if (!task)
        return NULL;
    Py_XSETREF(self->task, task);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_driven_by", _PyCFunction_CAST(core_driven_by), METH_FASTCALL,
     PyDoc_STR("_driven_by($module, bridge, task, /)\n--\n\n"
               "Have the task's name shown in dumps.")},
    {"await_", _PyCFunction_CAST(core_await), METH_FASTCALL,
     PyDoc_STR("await_($module, awaitable, /)\n--\n\n"
               "Wait for awaitable in a plain function; return its result.\n\n"
               "Works below run_sync() and below every task of run().")},
    {"run_sync", _PyCFunction_CAST(core_run_sync),
     METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("run_sync($module, fn, /, *args, **kwargs)\n--\n\n"
               "An awaitable that calls fn, below which await_() works.")},
    {"can_await", core_can_await, METH_NOARGS,
     PyDoc_STR("can_await($module, /)\n--\n\n"
               "Whether await_() could wait here.")},
    {"_collector", _PyCFunction_CAST(core_collector), METH_FASTCALL, NULL},
    {"_hold", core_hold, METH_NOARGS, NULL},
    {"_release", core_release, METH_O, NULL},
    {"bridge", core_bridge, METH_O,
     PyDoc_STR("bridge($module, coroutine, /)\n--\n\n"
               "A coroutine that drives another one, below which await_() "
               "works.\n\n"
               "For tasks that are not made by a loop with install().")},
    {NULL, NULL, 0, NULL},
};

int
bridge_init(PyObject *module, struct module_state *state)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);

    if (!type)
        return -1;
    state->bridge_type = call_graph_type((PyTypeObject *)type);
    if (!state->bridge_type ||
        PyModule_AddObjectRef(module, "Bridge",
                              (PyObject *)state->bridge_type) < 0 ||
        PyModule_AddObjectRef(module, "BridgeType",
                              (PyObject *)Py_TYPE(state->bridge_type)) < 0)
        return -1;
    return PyModule_AddFunctions(module, functions);
}
