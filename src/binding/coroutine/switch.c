/* SPDX-License-Identifier: MIT */
#include "coroutine/switch.h"

#include "cpython/objects.h"
#include "face/enter.h"
#include "face/error.h"
#include "process/state.h"
#include "strand/entry.h"
#include "strand/thread.h"

/* --- errors ------------------------------------------------------------- */

static PyObject *
raise_foreign(struct thread_record *t, Coroutine *self)
{
    face_raise_foreign(
        t, (PyObject *)self, self->strand,
        "%R was started in thread %U and can only be entered there, not in "
        "thread %U; a coroutine stays on the thread that first enters it: pass "
        "it the value through a queue, or first enter it in the thread that is "
        "to run it");
    return NULL;
}

/* Whether the strand waits for another one that it entered. */
static bool
has_entered(const struct strand *s)
{
    const struct strand *other = s->thread->started;

    while (other && other->caller != s)
        other = other->next;
    return other != NULL;
}

/* Why the chain that the strand is a part of stands still, if a face that can
 * tell is at the bottom of it; or NULL. */
static const char *
why_suspended(const struct strand *s)
{
    while (s->caller)
        s = s->caller;
    return s->ops ? s->ops->why_suspended : NULL;
}

/* For a coroutine that can't be entered; says why and what to do. */
static PyObject *
raise_state(struct thread_record *t, Coroutine *self)
{
    const char *remedy;

    if (self->state == FINISHED)
        remedy = "it has finished and can't be entered again; "
                 "make a new Coroutine of the function";
    else if (self->strand->thread != t)
        return raise_foreign(t, self);
    else if (t->current == self->strand)
        remedy = "it is running already; only suspended coroutines can be "
                 "entered, use copool.yield_() to stop this one";
    else if (why_suspended(self->strand))
        remedy = why_suspended(self->strand);
    else if (has_entered(self->strand))
        remedy = "it waits for a coroutine that it entered; "
                 "yield until control is back in it";
    else
        remedy = "it waits in a greenlet that is suspended; "
                 "switch to that until control is back in it";
    PyErr_Format(t->state->coroutine_error, "can't enter %R: %s", self, remedy);
    return NULL;
}

/* --- switching ---------------------------------------------------------- */

/* What both first and later entries do when control is back. Steals result,
 * which is NULL if an exception is set; so is the return value. */
__attribute__((always_inline)) static inline PyObject *
left(Coroutine *self, struct strand *s, PyObject *result)
{
    struct strand *here = s->thread->current;
    PyObject *litter;

    face_cut(s);
    if (CO_LIKELY(!s->finished)) {
        self->state = SUSPENDED;
        outlook_leave(&self->outlook, s);
        result = strand_tidy(here, result);
        Py_DECREF(self); /* the last reference: its finalizer runs now */
        return result;
    }
    litter = strand_litter(here);
    outlook_forget(s->thread, &self->outlook);
    self->strand = NULL;
    self->state = FINISHED;
    strand_release(s);
    result = strand_tidy_litter(here, litter, result);
    Py_DECREF(self);
    return result;
}

static void
entered(struct thread_record *t, Coroutine *self, struct strand *s)
{
    Py_INCREF(self); /* until control is back, whoever drops it meanwhile */
    face_hang(t, s);
    self->state = ENTERED;
    coroutine_assert_consistent(self);
}

/* Steals value; NULL passes on t->error. Inlined for the return predictor, with
 * all that it calls: see "The switch" in docs/design.md. */
__attribute__((always_inline)) static inline PyObject *
resume(struct thread_record *t, Coroutine *self, PyObject *value)
{
    struct strand *s = self->strand;

    CO_ASSERT(self->state == SUSPENDED && s->thread == t);
    entered(t, self, s);
    value = strand_resume(t, s, value);
    return left(self, s, value);
}

/* *context gets what it is to begin in, a new reference, or NULL for one in
 * which there is nothing yet. False with an exception set. May run Python code.
 */
static bool
get_context(struct thread_record *t, const Coroutine *self, PyObject **context)
{
    if (CO_LIKELY(!self->context))
        return strand_copy_context(t, context);
    *context =
        self->context == Py_None ? strand_context(t) : Py_NewRef(self->context);
    return *context != NULL;
}

/* Copies what it needs of args before control first comes back. To be called
 * last: the call is a jump then, for the return predictor. */
ARCH_RETURNS_BY_JUMP __attribute__((noinline)) static PyObject *
start(struct thread_record *t, Coroutine *self, PyObject *const *args,
      Py_ssize_t nargs)
{
    struct strand_start begin = {NULL, self->fn, {args, nargs, NULL}};
    PyObject *context, *result;
    struct strand *s;

    if (CO_UNLIKELY(!get_context(t, self, &context)))
        return NULL;
    if (CO_UNLIKELY(self->state != CREATED)) {
        /* A finalizer was faster, if the context had to be made. */
        Py_XDECREF(context);
        return coroutine_enter((PyObject *)self, args, nargs);
    }
    s = strand_create(t, (PyObject *)self, &coroutine_ops, t->entry);
    if (CO_UNLIKELY(!s)) {
        Py_XDECREF(context);
        return NULL; /* still CREATED: it may be tried again */
    }
    s->slice.context = context;
    Py_CLEAR(self->context);
    self->strand = begin.strand = s;
    if (CO_UNLIKELY(self->finalized))
        tstate_set_finalized((PyObject *)self, false);
    entered(t, self, s);
    result = strand_begin(t, s, &begin, true);
    if (!s->finished)
        outlook_note(t, &self->outlook, self, s);
    return left(self, s, result);
}

__attribute__((always_inline)) static inline PyObject *
enter(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    Coroutine *self = (Coroutine *)op;
    struct thread_record *t = thread_record_enter();

    if (CO_UNLIKELY(!t))
        return NULL;
    if (CO_LIKELY(self->state == SUSPENDED && self->strand->thread == t)) {
        outlook_enter(t, &self->outlook, self, self->strand);
        if (CO_UNLIKELY(nargs > 1)) {
            PyErr_Format(PyExc_TypeError,
                         "enter() of a suspended coroutine takes at most one "
                         "argument, the value that its yield_() returns (%zd "
                         "given); pass a tuple for more",
                         nargs);
            return NULL;
        }
        return resume(t, self, Py_NewRef(nargs ? args[0] : Py_None));
    }
    if (CO_LIKELY(self->state == CREATED))
        return start(t, self, args, nargs);
    return raise_state(t, self);
}

ARCH_RETURNS_BY_JUMP PyObject *
coroutine_enter(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    return enter(op, args, nargs);
}

/* Raises the exception that is set in the coroutine. */
static PyObject *
resume_with_error(struct thread_record *t, Coroutine *self)
{
    error_take(&t->error);
    return resume(t, self, NULL);
}

static void
finish_unstarted(Coroutine *self)
{
    self->state = FINISHED;
    Py_CLEAR(self->context);
    Py_CLEAR(self->fn);
}

PyObject *
coroutine_throw(PyObject *op, PyObject *exc)
{
    Coroutine *self = (Coroutine *)op;
    struct thread_record *t = thread_record_enter();
    PyObject *value;

    if (!t)
        return NULL;
    if (PyExceptionClass_Check(exc)) {
        value = PyObject_CallNoArgs(exc);
        if (!value)
            return NULL;
        if (!PyExceptionInstance_Check(value)) {
            PyErr_Format(PyExc_TypeError,
                         "calling %R should have returned an exception, not "
                         "%R",
                         exc, Py_TYPE(value));
            Py_DECREF(value);
            return NULL;
        }
    } else if (PyExceptionInstance_Check(exc)) {
        value = Py_NewRef(exc);
    } else {
        PyErr_Format(PyExc_TypeError,
                     "throw() takes an exception or an exception class, not "
                     "%.200s",
                     Py_TYPE(exc)->tp_name);
        return NULL;
    }
    /* Only now: making the exception may have run Python code. */
    if (self->state == ENTERED ||
        (self->state == SUSPENDED && self->strand->thread != t)) {
        Py_DECREF(value);
        return raise_state(t, self);
    }
    PyErr_Restore(Py_NewRef(Py_TYPE(value)), value,
                  PyException_GetTraceback(value));
    if (self->state == SUSPENDED)
        return resume_with_error(t, self);
    if (self->state == CREATED)
        finish_unstarted(self);
    return NULL;
}

/* Raises the exit in it: NULL with an exception set if it ends with another. */
static PyObject *
raise_exit(struct thread_record *t, Coroutine *self, enum strand_ending ending)
{
    PyObject *result;

    PyErr_SetNone(t->state->coroutine_exit);
    self->ending = ending;
    result = resume_with_error(t, self);
    self->ending = NOT_ENDING;
    return result;
}

/* The exit holds the frames that it has unwound, and so what these refer to,
 * such as generators with a `finally` that resets a context variable. */
static PyObject *
fails(PyObject *face)
{
    Coroutine *self = (Coroutine *)face;
    const struct module_state *state = self->strand->thread->state;

    if (self->ending == NOT_ENDING)
        return NULL;
    if (PyErr_ExceptionMatches(state->coroutine_exit))
        PyErr_Clear();
    else if (self->ending == DROPPED)
        PyErr_WriteUnraisable(face);
    else
        return NULL;
    return Py_NewRef(Py_None);
}

PyObject *
coroutine_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Coroutine *self = (Coroutine *)op;
    struct thread_record *t = thread_record_enter();
    PyObject *result;

    if (!t)
        return NULL;
    switch (self->state) {
    case CREATED:
        finish_unstarted(self);
        Py_RETURN_NONE;
    case FINISHED:
        Py_RETURN_NONE;
    case ENTERED:
        return raise_state(t, self);
    case SUSPENDED:
        break;
    }
    if (self->strand->thread != t)
        return raise_state(t, self);
    result = raise_exit(t, self, CLOSED);
    if (result && self->state != FINISHED) {
        PyErr_Format(t->state->coroutine_error,
                     "%R caught CoroutineExit and yielded; let the exit pass, "
                     "or return, so that its stack can be freed",
                     self);
        Py_CLEAR(result);
    }
    return result;
}

ARCH_RETURNS_BY_JUMP PyObject *
coroutine_iternext(PyObject *op)
{
    Coroutine *self = (Coroutine *)op;
    PyObject *result;

    if (self->state == FINISHED)
        return NULL;
    result = enter(op, NULL, 0);
    if (CO_LIKELY(self->state != FINISHED))
        return result;
    if (!result) {
        if (PyErr_ExceptionMatches(PyExc_StopIteration))
            error_hide_stop_iteration();
        return NULL;
    }
    if (result == Py_None)
        Py_DECREF(result);
    else
        error_set_stop_iteration(result);
    return NULL;
}

/* --- for the strand ----------------------------------------------------- */

static bool
is_suspended(const struct strand *s)
{
    return !s->caller;
}

static void
unwind(PyObject *face)
{
    Coroutine *self = (Coroutine *)face;
    struct thread_record *t;
    struct error saved;
    PyObject *result;

    if (self->state != SUSPENDED)
        return; /* it was closed while it waited for this */
    error_take(&saved);
    t = self->strand->thread;
    result = raise_exit(t, self, DROPPED);
    if (!result) {
        PyErr_WriteUnraisable(face);
    } else if (self->state == SUSPENDED) {
        if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                             "%R was dropped, caught CoroutineExit and "
                             "yielded: %s",
                             self,
                             t->ends ? "it is never run again"
                                     : "its stack is leaked") < 0)
            PyErr_WriteUnraisable(face);
        if (self->state == SUSPENDED) /* the warning may have let it go on */
            strand_give_up(self->strand);
    }
    Py_XDECREF(result);
    error_restore(&saved);
}

static void
forget(PyObject *face)
{
    Coroutine *self = (Coroutine *)face;

    outlook_forget(self->strand->thread, &self->outlook);
    self->strand = NULL;
    self->state = FINISHED;
}

static PyObject *
callee(PyObject *face)
{
    return ((Coroutine *)face)->fn;
}

const struct face_ops coroutine_ops = {
    FACE_COROUTINE, is_suspended, unwind, fails,  forget,
    NULL,           true,         NULL,   callee, NULL};

/* Whether it is a coroutine's, which may be on the thread's stack. */
bool
coroutine_is(const struct strand *s)
{
    return s->ops && s->ops->unwind == unwind;
}

ARCH_RETURNS_BY_JUMP PyObject *
core_yield(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    struct thread_record *t = thread_record_enter();
    PyObject *value;
    struct strand *s;

    if (CO_UNLIKELY(!t))
        return NULL;
    if (CO_UNLIKELY(nargs > 1)) {
        PyErr_Format(PyExc_TypeError,
                     "yield_() takes one argument at most, the value that "
                     "enter() returns (%zd given); pass a tuple for more",
                     nargs);
        return NULL;
    }
    s = t->current;
    if (CO_UNLIKELY(s->ops != &coroutine_ops)) {
        PyErr_SetString(t->state->coroutine_error,
                        coroutine_is(s)
                            ? "yield_() on the thread's own stack: what "
                              "on_thread_stack() has called must return first, "
                              "since others need that stack; yield before or "
                              "after it, or in a coroutine that it enters"
                            : "yield_() outside a coroutine: there is nobody "
                              "to yield to; call it in a function that runs in "
                              "copool.Coroutine(function).enter()");
        return NULL;
    }
    value = strand_switch(t, s->caller, Py_NewRef(nargs ? args[0] : Py_None));
    value = strand_tidy(s, value);
    if (CO_UNLIKELY(!value))
        error_raise_here();
    return value;
}
