/* SPDX-License-Identifier: MIT
 *
 * copool.Coroutine: the asymmetric face of a strand. Who enters a coroutine
 * waits until it yields or ends.
 *
 * Thread rule: the GIL; a started coroutine belongs to its thread.
 *
 *      state       strand   strand->caller
 *      CREATED     NULL
 *      ENTERED     yes      who entered it     running, or waiting for one that
 *                                              it entered in turn
 *      SUSPENDED   yes      NULL
 *      FINISHED    NULL
 */
#include "coroutine/coroutine.h"

#include <stddef.h>
#include <structmember.h>

#include "cpython/frames.h"
#include "cpython/object.h"
#include "cpython/thread.h"
#include "process/state.h"
#include "python/thread_name.h"
#include "strand/entry.h"
#include "strand/thread.h"

static void
assert_consistent(const Coroutine *self)
{
    (void)self;
    CO_ASSERT((self->strand != NULL) ==
              (self->state == ENTERED || self->state == SUSPENDED));
    CO_ASSERT(!self->strand ||
              (self->strand->caller != NULL) == (self->state == ENTERED));
    CO_ASSERT(!self->strand || self->strand->face == (PyObject *)self);
}

/* --- errors ------------------------------------------------------------- */

static PyObject *
raise_foreign(struct thread_record *t, Coroutine *self)
{
    PyObject *owner = thread_name(self->strand->thread->ident);
    PyObject *here = owner ? thread_name(t->ident) : NULL;

    if (here)
        PyErr_Format(t->state->coroutine_error,
                     "%R was started in thread %U and can only be entered "
                     "there, not in thread %U; a coroutine stays on the "
                     "thread that first enters it: pass it the value through "
                     "a queue, or first enter it in the thread that is to "
                     "run it",
                     self, owner, here);
    Py_XDECREF(owner);
    Py_XDECREF(here);
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

    s->caller = NULL;
    s->root.exc.previous_item = NULL;
    tstate_cut(s->thread->ts, &s->root);
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

/* Like a generator's frame, the coroutine sees the exception that its caller
 * handles as the one that is being handled, and its frames are followed by its
 * caller's. */
static void
entered(struct thread_record *t, Coroutine *self, struct strand *s)
{
    Py_INCREF(self); /* until control is back, whoever drops it meanwhile */
    s->caller = t->current;
    s->root.exc.previous_item = t->ts->exc_info;
    tstate_hang(t->ts, &s->root);
    self->state = ENTERED;
    assert_consistent(self);
}

/* Steals value; NULL passes on t->error. Inlined for the return predictor, with
 * all that it calls: see strand.h. */
__attribute__((always_inline)) static inline PyObject *
resume(struct thread_record *t, Coroutine *self, PyObject *value)
{
    struct strand *s = self->strand;

    CO_ASSERT(self->state == SUSPENDED && s->thread == t);
    entered(t, self, s);
    value = strand_resume(t, s, value);
    return left(self, s, value);
}

static const struct face_ops ops;

ARCH_RETURNS_BY_JUMP static PyObject *
coroutine_enter(PyObject *op, PyObject *const *args, Py_ssize_t nargs);

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
    s = strand_create(t, (PyObject *)self, &ops, t->entry);
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

ARCH_RETURNS_BY_JUMP static PyObject *
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

static PyObject *
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

static PyObject *
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

ARCH_RETURNS_BY_JUMP static PyObject *
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

static const struct face_ops ops = {FACE_COROUTINE, is_suspended, unwind, fails,
                                    forget,         NULL,         true,   NULL,
                                    callee,         NULL};

/* --- attributes --------------------------------------------------------- */

static const char *
state_name(const Coroutine *self)
{
    switch (self->state) {
    case CREATED:
        return "created";
    case ENTERED:
        return self->strand->thread->current == self->strand ? "running"
                                                             : "waiting";
    case SUSPENDED:
        return "suspended";
    case FINISHED:
        break;
    }
    return "finished";
}

/* Whether it is a coroutine's, which may be on the thread's stack. */
static bool
is_ours(const struct strand *s)
{
    return s->ops && s->ops->unwind == unwind;
}

/* The coroutine whose strand this is, or None. */
static PyObject *
face_of(const struct strand *s)
{
    return Py_NewRef(s && is_ours(s) ? s->face : Py_None);
}

static PyObject *
get_state(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_InternFromString(state_name((Coroutine *)op));
}

static PyObject *
get_done(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((Coroutine *)op)->state == FINISHED);
}

static PyObject *
get_caller(PyObject *op, void *Py_UNUSED(closure))
{
    Coroutine *self = (Coroutine *)op;
    struct strand *caller = self->strand ? self->strand->caller : NULL;

    return face_of(caller);
}

static PyObject *
get_frame(PyObject *op, void *Py_UNUSED(closure))
{
    struct strand *s = ((Coroutine *)op)->strand;
    PyFrameObject *frame;

    if (!s)
        Py_RETURN_NONE;
    if (s == s->thread->current)
        frame = tstate_running_frame(s->thread->ts, &s->root);
    else
        frame = tstate_frame(&s->slice, &s->root);
    if (!frame && !PyErr_Occurred())
        Py_RETURN_NONE;
    return (PyObject *)frame;
}

/* What the function is called: a new reference. May run Python code. */
static PyObject *
function_name(const Coroutine *self)
{
    PyObject *fn = Py_NewRef(self->fn), *name; /* that may end the coroutine */

    name = PyObject_GetAttrString(fn, "__qualname__");
    if (!name) {
        PyErr_Clear();
        name = PyObject_Repr(fn);
    }
    Py_DECREF(fn);
    return name;
}

static PyObject *
given_name(const Coroutine *self)
{
    return self->label ? self->label->name : NULL;
}

/* None is what has finished and was given none. */
static PyObject *
get_name(PyObject *op, void *Py_UNUSED(closure))
{
    const Coroutine *self = (const Coroutine *)op;
    PyObject *given = given_name(self);

    if (given || !self->fn)
        return Py_NewRef(given ? given : Py_None);
    return function_name(self);
}

static PyObject *
coroutine_repr(PyObject *op)
{
    Coroutine *self = (Coroutine *)op;
    PyObject *given, *name = NULL, *text;

    if (self->fn && !(name = function_name(self)))
        return NULL;
    given = Py_XNewRef(given_name(self));
    if (name && given)
        text = PyUnicode_FromFormat("<copool.Coroutine %R of %S, %s, at %p>",
                                    given, name, state_name(self), self);
    else if (name)
        text = PyUnicode_FromFormat("<copool.Coroutine of %S, %s, at %p>", name,
                                    state_name(self), self);
    else if (given)
        text = PyUnicode_FromFormat("<copool.Coroutine %R, %s, at %p>", given,
                                    state_name(self), self);
    else
        text = PyUnicode_FromFormat("<copool.Coroutine, %s, at %p>",
                                    state_name(self), self);
    Py_XDECREF(name);
    Py_XDECREF(given);
    return text;
}

/* --- life --------------------------------------------------------------- */

static PyObject *
raise_bad_name(PyObject *name)
{
    return PyErr_Format(PyExc_TypeError, "name must be a str, not %.200s",
                        name ? Py_TYPE(name)->tp_name : "nothing");
}

static int
set_name(PyObject *op, PyObject *name, void *Py_UNUSED(closure))
{
    if (name && PyUnicode_Check(name))
        return label_set_name(&((Coroutine *)op)->label, name) ? 0 : -1;
    (void)raise_bad_name(name);
    return -1;
}

/* Makes what the constructor was given for `context` what a Coroutine keeps.
 * False with an exception set. */
static bool
convert_context(PyObject **context)
{
    if (PyContext_CheckExact(*context))
        return true;
    if (*context == Py_None) {
        *context = NULL;
        return true;
    }
    if (PyUnicode_Check(*context) &&
        PyUnicode_CompareWithASCIIString(*context, "shared") == 0) {
        *context = Py_None;
        return true;
    }
    PyErr_Format(PyExc_TypeError,
                 "context must be a contextvars.Context, \"shared\" or None, "
                 "not %R",
                 *context);
    return false;
}

static PyObject *
make(PyTypeObject *type, PyObject *fn, PyObject *context, PyObject *name)
{
    struct thread_record *t = thread_record_last;
    struct label *label = NULL;
    Coroutine *self = NULL;

    if (CO_UNLIKELY(!Py_TYPE(fn)->tp_call)) {
        PyErr_Format(PyExc_TypeError,
                     "Coroutine() needs a callable, not %.200s; pass the "
                     "function itself, its arguments go to the first enter()",
                     Py_TYPE(fn)->tp_name);
        return NULL;
    }
    if (CO_UNLIKELY(context && !convert_context(&context)))
        return NULL;
    if (CO_UNLIKELY(name == Py_None))
        name = NULL;
    if (CO_UNLIKELY(name && !PyUnicode_Check(name)))
        return raise_bad_name(name);
    /* The record may be that of another thread state in this thread, but not of
     * another interpreter's. */
    if (CO_LIKELY(t && t->free_coroutines.type == type && !name))
        self = (Coroutine *)free_faces_take(&t->free_coroutines);
    if (CO_UNLIKELY(!self)) {
        const struct module_state *state = PyType_GetModuleState(type);

        if (!label_make(&label, name, state->notes_makers))
            return NULL;
        self = PyObject_GC_New(Coroutine, type);
        if (!self) {
            label_free(&label);
            return NULL;
        }
        self->ending = NOT_ENDING;
    }
    self->fn = Py_NewRef(fn);
    self->context = Py_XNewRef(context);
    self->weakrefs = NULL;
    self->strand = NULL;
    self->label = label;
    self->state = CREATED;
    self->finalized = false;
    outlook_init(&self->outlook);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static PyObject *
coroutine_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"", "context", "name", NULL};
    PyObject *fn, *context = NULL, *name = NULL;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$OO:Coroutine", names,
                                     &fn, &context, &name))
        return NULL;
    return make(type, fn, context, name);
}

/* The usual call, without a tuple; everything else is parsed above. */
static PyObject *
coroutine_vectorcall(PyObject *type, PyObject *const *args, size_t nargsf,
                     PyObject *names)
{
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    PyObject *tuple, *kwargs = NULL, *result = NULL;

    if (CO_LIKELY(nargs == 1 && !names))
        return make((PyTypeObject *)type, args[0], NULL, NULL);
    tuple = PyTuple_New(nargs);
    if (!tuple)
        return NULL;
    for (Py_ssize_t i = 0; i < nargs; i++)
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
    if (names) {
        kwargs = PyDict_New();
        if (!kwargs)
            goto done;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++)
            if (PyDict_SetItem(kwargs, PyTuple_GET_ITEM(names, i),
                               args[nargs + i]) < 0)
                goto done;
    }
    result = coroutine_new((PyTypeObject *)type, tuple, kwargs);
done:
    Py_DECREF(tuple);
    Py_XDECREF(kwargs);
    return result;
}

static int
coroutine_traverse(PyObject *op, visitproc visit, void *arg)
{
    Coroutine *self = (Coroutine *)op;

    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->fn);
    Py_VISIT(self->context);
    if (self->state == SUSPENDED)
        return strand_traverse(self->strand, NULL, visit, arg);
    return 0;
}

/* The collector takes no notice of what this denies. It finalizes an object
 * once: one that was garbage before it began would be cleared, with all that
 * its chain uses, while the chain is still to be unwound. */
static int
coroutine_is_gc(PyObject *op)
{
    const Coroutine *self = (const Coroutine *)op;

    return !self->finalized || !self->strand;
}

/* The frames of a suspended chain are freed by unwinding it, in
 * tp_finalize. The chain may be using fn until then. */
static int
coroutine_clear(PyObject *op)
{
    Coroutine *self = (Coroutine *)op;

    Py_CLEAR(self->context);
    if (!self->strand)
        Py_CLEAR(self->fn);
    return 0;
}

static void
coroutine_finalize(PyObject *op)
{
    Coroutine *self = (Coroutine *)op;
    struct strand *s = self->strand;

    self->finalized = true;
    if (self->state != SUSPENDED)
        return;
    if (tstate_is_finalizing()) {
        strand_abandon(s);
    } else if (!strand_is_here(s)) {
        Py_INCREF(self);
        strand_drop(s);
    } else {
        unwind(op);
    }
}

static void
coroutine_dealloc(PyObject *op)
{
    Coroutine *self = (Coroutine *)op;
    PyTypeObject *type = Py_TYPE(op);
    struct thread_record *t = thread_record_last;

    assert_consistent(self);
    if (CO_UNLIKELY(self->state == SUSPENDED) &&
        PyObject_CallFinalizerFromDealloc(op) < 0)
        return;
    outlook_assert_forgotten(&self->outlook);
    PyObject_GC_UnTrack(op);
    if (CO_UNLIKELY(self->weakrefs != NULL))
        PyObject_ClearWeakRefs(op);
    Py_CLEAR(self->fn);
    Py_CLEAR(self->context);
    if (CO_UNLIKELY(self->label != NULL))
        label_free(&self->label);
    if (t && t->free_coroutines.type == type && !self->finalized &&
        free_faces_keep(&t->free_coroutines, op))
        return;
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

/* --- functions of the module -------------------------------------------- */

ARCH_RETURNS_BY_JUMP static PyObject *
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
    if (CO_UNLIKELY(s->ops != &ops)) {
        PyErr_SetString(t->state->coroutine_error,
                        is_ours(s)
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

static PyObject *
core_current(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct thread_record *t;

    if (!thread_record_try(&t))
        return NULL;
    return face_of(t ? t->current : NULL);
}

static PyObject *
core_in_coroutine(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct thread_record *t;

    if (!thread_record_try(&t))
        return NULL;
    return PyBool_FromLong(t && t->current->ops == &ops);
}

/* For the end of the process, while everything can still run. */
static PyObject *
core_unwind_all(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct thread_record *t = thread_record_peek();

    if (!t && PyErr_Occurred())
        return NULL;
    if (t)
        strand_unwind_all(t);
    Py_RETURN_NONE;
}

/* --- the type ----------------------------------------------------------- */

/* The signatures and contracts are in _core.pyi and the documentation; these
 * are what help() shows. */
static PyMethodDef methods[] = {
    {"enter", _PyCFunction_CAST(coroutine_enter), METH_FASTCALL,
     PyDoc_STR("enter($self, /, *args)\n--\n\n"
               "Run the coroutine until it yields or returns; return that "
               "value.\n\n"
               "The arguments of the first call go to the function, that of a "
               "later\none is what yield_() returns inside.")},
    {"throw", coroutine_throw, METH_O,
     PyDoc_STR("throw($self, exc, /)\n--\n\n"
               "Raise exc where the coroutine is suspended; else like "
               "enter().")},
    {"close", coroutine_close, METH_NOARGS,
     PyDoc_STR("close($self, /)\n--\n\n"
               "End the coroutine by raising CoroutineExit in it; return what "
               "it returns.")},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,
     PyDoc_STR("Coroutine[T] is one that yields a T, for type checkers.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef getset[] = {
    {"state", get_state, NULL,
     PyDoc_STR("'created', 'running', 'waiting', 'suspended' or 'finished'."),
     NULL},
    {"done", get_done, NULL, PyDoc_STR("Whether it has finished."), NULL},
    {"caller", get_caller, NULL,
     PyDoc_STR("The coroutine that entered this one, or None."), NULL},
    {"frame", get_frame, NULL,
     PyDoc_STR("Its innermost Python frame, or None."), NULL},
    {"name", get_name, set_name,
     PyDoc_STR("The name that it was given, or that of its function."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Coroutine, weakrefs), READONLY,
     NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc,
     PyDoc_STR("Coroutine(fn, /, *, context=None, name=None)\n--\n\n"
               "A call of fn that can stop, at any depth, and go on later.\n\n"
               "It runs in the context that is given, or in a copy of that of "
               "who first\nenters it; with context='shared' in that itself, "
               "so that what it sets is\nseen there.")},
    {Py_tp_new, coroutine_new},
    {Py_tp_dealloc, coroutine_dealloc},
    {Py_tp_finalize, coroutine_finalize},
    {Py_tp_is_gc, coroutine_is_gc},
    {Py_tp_traverse, coroutine_traverse},
    {Py_tp_clear, coroutine_clear},
    {Py_tp_repr, coroutine_repr},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, coroutine_iternext},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {Py_tp_members, members},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "copool.Coroutine",
    .basicsize = sizeof(Coroutine),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

static PyMethodDef functions[] = {
    {"yield_", _PyCFunction_CAST(core_yield), METH_FASTCALL,
     PyDoc_STR("yield_($module, value=None, /)\n--\n\n"
               "Stop the running coroutine: its enter() returns value.\n\n"
               "Return what the next enter() passes, or raise what throw() "
               "does.")},
    {"current", core_current, METH_NOARGS,
     PyDoc_STR("current($module, /)\n--\n\n"
               "The running coroutine, or None outside one.")},
    {"in_coroutine", core_in_coroutine, METH_NOARGS,
     PyDoc_STR("in_coroutine($module, /)\n--\n\n"
               "Whether yield_() has somebody to yield to.")},
    {"_unwind_all", core_unwind_all, METH_NOARGS,
     PyDoc_STR("End this thread's suspended coroutines, as when it exits.")},
    {NULL, NULL, 0, NULL},
};

int
coroutine_init(PyObject *module, struct module_state *state)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);

    if (!type)
        return -1;
    state->coroutine_type = (PyTypeObject *)type;
    state->coroutine_type->tp_vectorcall = coroutine_vectorcall;
    if (PyModule_AddType(module, state->coroutine_type) < 0)
        return -1;
    return PyModule_AddFunctions(module, functions);
}
