/* SPDX-License-Identifier: MIT */
#include "bridge/step.h"

#include "bridge/names.h"
#include "python/iterator.h"
#include "strand/entry.h"
#include "strand/park.h"
#include "tell/tell.h"

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

/* What a finished call was called is still asked for, and its code, as of a
 * coroutine. The function goes, with all that it refers to. */
static void
forget_function(Bridge *self)
{
    PyObject *target = self->target, *code = NULL;
    const PyFunctionObject *function =
        target ? bridge_function_of(target) : NULL;

    if (CO_LIKELY(function != NULL)) {
        const PyCodeObject *its = (const PyCodeObject *)function->func_code;

        code = Py_NewRef(function->func_code);
        if (CO_UNLIKELY(function->func_name != its->co_name ||
                        function->func_qualname != its->co_qualname) &&
            !bridge_keep_names(self))
            PyErr_Clear(); /* it has those of its code then */
    } else if (target && !bridge_keep_names(self)) {
        PyErr_Clear();
    }
    self->target = code;
    Py_XDECREF(target);
}

/* What it has called is dropped by the chain, in its context. No exception may
 * be set. */
void
bridge_drop_call(Bridge *self)
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
    bridge_drop_call(self);
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
            bridge_drop_call(self);
        else
            drop_failed_call(self);
        break;
    case SEND:
        self->outcome = PyIter_Send(self->target, sent, &result);
        break;
    case THROW:
        self->outcome = iterator_throw(self->target, Py_NewRef(sent), &result);
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
        bridge_drop_call(self);
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
void
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
