/* SPDX-License-Identifier: MIT
 *
 * Moving control between greenlets. There is one way from one to another,
 * go_on(), and one for a greenlet that ends, leave(); both end in arrive(), on
 * the other side.
 *
 *      switch(), throw()       finalizer        run() has returned
 *             │                    │                     │
 *         resolve()             unwind()            successor()
 *        ┌────┴─────┐              │                     │
 *     begin()    go_on() ──────────┘                  leave()
 *        │          │                                    │
 *    greenlet_main  └────────────> arrive() <────────────┘
 *
 * Until control has arrived nothing may run Python code, so everything that
 * might is done before (resolve, successor) or after (arrive).
 */
#include "greenlet/switch.h"

#include "cpython/frames.h"
#include "greenlet/error.h"
#include "python/args.h"
#include "tell/tell.h"
#include "tell/teller.h"

/* --- values ------------------------------------------------------------- */

/* What switch() returns for what was passed: a new reference or NULL. May run
 * the collector, and so Python code. */
static PyObject *
pack(const struct strand_args *a)
{
    Py_ssize_t n = a->nargs;
    PyObject *tuple, *dict;

    if (n == 1 && !a->names)
        return Py_NewRef(a->args[0]);
    if (!args_pack(a->args, n, a->names, &tuple, &dict))
        return NULL;
    if (!dict)
        return tuple;
    if (n)
        return Py_BuildValue("NN", tuple, dict);
    Py_DECREF(tuple);
    return dict;
}

/* GreenletExit is no error: it is returned. Result may be NULL with an
 * exception set; so is what this returns. */
static PyObject *
exit_as_value(PyObject *result)
{
    struct error error;

    if (CO_LIKELY(result || !PyErr_ExceptionMatches(greenlet_exit)))
        return result;
    error_take(&error);
    PyErr_NormalizeException(&error.type, &error.value, &error.traceback);
    result = Py_NewRef(error.value);
    error_drop(&error);
    return result;
}

/* --- the exit ------------------------------------------------------------ */

/* Remembers what is thrown into it if that is a GreenletExit, for
 * drop_unwound(). May run Python code. */
static void
note_exit(struct greenlet *g, const struct error *thrown)
{
    PyObject *ref;

    if (!PyErr_GivenExceptionMatches(thrown->type, greenlet_exit) ||
        !thrown->value)
        return;
    ref = PyWeakref_NewRef(thrown->value, NULL);
    if (!ref)
        PyErr_Clear(); /* no memory, or a class that has no such references */
    Py_XSETREF(g->exit, ref);
}

/* A GreenletExit outlives the chain that it has ended: it is what the parent
 * gets, and gevent keeps it as the greenlet's value. What it has unwound must
 * not, since generators in there are to be closed in the chain's context. */
static void
forget_frames(PyObject *exit)
{
    (void)PyException_SetTraceback(exit, Py_None);
    PyException_SetContext(exit, NULL);
}

/* The same for the one that the chain has caught, if it is still there. */
__attribute__((cold, noinline)) static void
drop_unwound(struct greenlet *g)
{
    struct error error;
    PyObject *exit;

    error_take(&error);
    exit = PyObject_CallNoArgs(g->exit);
    Py_CLEAR(g->exit);
    if (!exit)
        PyErr_Clear();
    else if (exit != Py_None)
        forget_frames(exit);
    Py_XDECREF(exit);
    error_restore(&error);
}

/* The running greenlet's chain has ended with the exception that is set: what
 * the parent gets instead, or NULL to pass it on. If nobody would get it, it is
 * reported where it was raised. */
__attribute__((cold, noinline)) static PyObject *
fail(PyGreenlet *self)
{
    PyObject *value = exit_as_value(NULL);

    if (value) {
        forget_frames(value);
    } else if (self->pimpl->killer) {
        PyErr_WriteUnraisable((PyObject *)self);
        value = Py_NewRef(Py_None);
    }
    return value;
}

/* --- the other side ----------------------------------------------------- */

/* The greenlet has ended and control has left its stack. */
static void
finish(PyGreenlet *self)
{
    struct greenlet *g = self->pimpl;
    struct strand *s = g->strand;

    outlook_forget(s->thread, &g->outlook);
    g->strand = NULL;
    g->context = s->slice.context;
    s->slice.context = NULL;
    strand_release(s);
    Py_CLEAR(g->run);
}

/* Tells settrace()'s function. If that fails, tracing ends and its error goes
 * on instead. Steals value. */
__attribute__((noinline, cold)) static PyObject *
tell(struct greenlet_thread *gt, PyGreenlet *origin, PyObject *value)
{
    PyObject *trace = Py_NewRef(gt->extra.trace);
    struct error error;
    bool done;

    if (!value)
        error_take(&error);
    done = tell_call(trace, value ? "switch" : "throw", (PyObject *)origin,
                     (PyObject *)gt->current);
    Py_DECREF(trace);
    if (done) {
        if (!value)
            error_restore(&error);
        return value;
    }
    Py_CLEAR(gt->extra.trace);
    if (value)
        Py_DECREF(value);
    else
        error_drop(&error);
    return NULL;
}

/* What a greenlet does first when control is in it, with the value that it gets
 * (NULL: an exception is set). Steals value and returns it, or NULL.
 *
 * While sys.settrace()'s function is being called no greenlet of the thread is
 * traced: that function may wait for an event loop, which it would be called in
 * again. */
static inline PyObject *
arrive(struct greenlet_thread *gt, PyObject *value)
{
    PyGreenlet *origin = gt->origin;
    struct strand *left = origin->pimpl->strand;
    struct strand *here = left->thread->current;
    PyObject *litter;

    gt->origin = NULL;
    tstate_set_tracing(left->thread->ts, gt->tracing);
    if (CO_UNLIKELY(left->finished || gt->extra.trace)) {
        litter = strand_litter(here);
        if (left->finished)
            finish(origin);
        if (gt->extra.trace)
            value = tell(gt, origin, value);
        value = strand_tidy_litter(here, litter, value);
    } else {
        outlook_leave(&origin->pimpl->outlook, left);
        value = strand_tidy(here, value);
    }
    Py_DECREF(origin); /* the last reference: its finalizer runs now */
    return value;
}

/* --- this side ---------------------------------------------------------- */

/* Of a call with these arguments, or NULL. */
static inline PyObject *const *
stack_end(const struct strand_args *args)
{
    return args->names ? NULL : args->args + args->nargs;
}

/* Goes on in `to`, which is active and of this thread. Steals both references;
 * a NULL value passes on t->error. Inlined for the return predictor: see
 * "The switch" in docs/design.md. */
__attribute__((always_inline)) static inline PyObject *
go_on(struct thread_record *t, struct greenlet_thread *gt, PyGreenlet *to,
      PyObject *value, PyObject *const *stack_end)
{
    PyGreenlet *from = gt->current;

    CO_ASSERT(!gt->origin && to->pimpl->strand->thread == t);
    gt->origin = from;
    gt->current = to;
    gt->tracing = t->ts->tracing;
    if (CO_UNLIKELY(to == from)) {
        if (!value)
            error_restore(&t->error);
        return arrive(gt, value);
    }
    from->pimpl->top = t->current;
    if (TSTATE_NEEDS_STACK_END)
        from->pimpl->stack_end = stack_end;
    return arrive(gt, strand_resume(t, to->pimpl->top, value));
}

/* Whether an active greenlet may go on: see strand/thread_stack.c. */
static inline bool
may_go_on(const struct thread_record *t, const PyGreenlet *to)
{
    return to->pimpl->strand->section >= t->section;
}

/* A new reference to `run`, which the type may override. */
static PyObject *
get_run(PyGreenlet *self)
{
    static PyObject *name;

    if (CO_LIKELY(Py_IS_TYPE(self, &greenlet_type) && self->pimpl->run))
        return Py_NewRef(self->pimpl->run);
    if (!name && !(name = PyUnicode_InternFromString("run")))
        return NULL;
    return PyObject_GetAttr((PyObject *)self, name);
}

/* Who is meant when `self` is switched to: itself, or the first of its parents
 * that is not dead. A new reference, and in *run what to start it with, or NULL
 * if it is active. NULL with an exception set if nobody can be. Runs Python
 * code, but none after the last look at what it returns. */
static PyGreenlet *
resolve(struct thread_record *t, PyGreenlet *self, PyObject **run)
{
    PyGreenlet *g = (PyGreenlet *)Py_NewRef(self);

    *run = NULL;
    for (;;) {
        struct thread_record *home = greenlet_home(g);
        PyGreenlet *parent;

        if (CO_UNLIKELY(home != t)) {
            Py_CLEAR(*run);
            if (home)
                greenlet_raise_foreign(t, self, home);
            else
                greenlet_raise_exited(self);
            break;
        }
        if (greenlet_is_active(g)) {
            PyObject *unused = *run;

            if (CO_LIKELY(!unused && may_go_on(t, g)))
                return g;
            if (!unused) {
                greenlet_raise_occupied(g);
                break;
            }
            /* It was started while its `run` was looked up. */
            *run = NULL;
            Py_DECREF(unused);
            continue;
        }
        if (!g->pimpl->started) {
            if (*run)
                return g;
            *run = get_run(g);
            if (!*run)
                break;
            continue;
        }
        Py_CLEAR(*run);
        parent = (PyGreenlet *)Py_XNewRef(g->pimpl->parent);
        Py_DECREF(g);
        g = parent;
    }
    Py_DECREF(g);
    return NULL;
}

static ctx_entry greenlet_main;

/* Gives a pending greenlet a strand; false with an exception set if there is
 * none. Runs no Python code. */
static bool
take_strand(struct thread_record *t, PyGreenlet *self)
{
    struct greenlet *g = self->pimpl;
    struct strand *s =
        strand_create(t, (PyObject *)self, &greenlet_ops, greenlet_main);

    if (CO_UNLIKELY(!s))
        return false;
    s->root.exc.previous_item = NULL;
    tstate_cut(t->ts, &s->root);
    s->section = t->section;
    s->slice.context = g->context;
    g->context = NULL;
    g->strand = g->top = s;
    g->started = true;
    outlook_note(t, &g->outlook, self, s);
    return true;
}

/* Starts a pending greenlet. Steals the references to it, to run and to what is
 * thrown, which may be NULL. */
__attribute__((always_inline)) static inline PyObject *
begin(struct thread_record *t, struct greenlet_thread *gt, PyGreenlet *to,
      PyObject *run, const struct strand_args *args, struct error *thrown)
{
    struct greenlet_start start = {to, run, *args, NULL, thrown != NULL};
    PyGreenlet *from = gt->current;

    if (CO_UNLIKELY(!take_strand(t, to))) {
        if (thrown)
            error_drop(thrown);
        Py_DECREF(run);
        Py_DECREF(to);
        return NULL;
    }
    /* Only now: where there is no strand, raising that may run finalizers. */
    if (thrown)
        t->error = *thrown;
    CO_ASSERT(!gt->origin);
    from->pimpl->top = t->current;
    if (TSTATE_NEEDS_STACK_END)
        from->pimpl->stack_end = stack_end(args);
    gt->origin = from;
    gt->current = to;
    gt->tracing = t->ts->tracing;
    return arrive(
        gt, strand_begin(t, to->pimpl->strand, &start, tell_hangs_greenlets));
}

/* --- the end ------------------------------------------------------------ */

/* The same as begin(), for when the running greenlet ends: value becomes the
 * argument and is stolen, as is run. The switch follows at once. */
static bool
prepare(struct thread_record *t, struct greenlet_thread *gt, PyGreenlet *to,
        PyObject *run, PyObject *value)
{
    if (!take_strand(t, to)) {
        Py_DECREF(run);
        return false;
    }
    gt->start = (struct greenlet_start){.greenlet = to,
                                        .run = run,
                                        .args = {&gt->start.value, 1, NULL},
                                        .value = value,
                                        .thrown = !value};
    strand_prime(t, to->pimpl->strand, tell_hangs_greenlets);
    return true;
}

/* The one that always can go on: that has called on_thread_stack(), if the
 * thread is in such a call, or the main greenlet. */
static PyGreenlet *
last_heir(const struct thread_record *t, const struct greenlet_thread *gt)
{
    const struct strand *s = t->occupant ? t->occupant : &t->own;

    while (s->caller)
        s = s->caller;
    return s == &t->own ? gt->main : (PyGreenlet *)s->face;
}

/* Who goes on when `self`, which runs, ends with a result (NULL: an exception
 * is set): a new reference. It gets *value; NULL passes on t->error. Steals
 * result.
 *
 * That is the parent. If it can't go on (it has no `run`, say) its own parent
 * gets the exception, and so on; at last one that always can. */
static PyGreenlet *
successor(struct thread_record *t, struct greenlet_thread *gt, PyGreenlet *self,
          PyObject *result, void **value)
{
    struct greenlet *g = self->pimpl;
    PyGreenlet *heir, *next, *to;
    PyObject *run;
    struct error error;

    heir = (PyGreenlet *)Py_NewRef(g->killer ? g->killer : g->parent);
    for (;;) {
        if (!result)
            error_take(&error);
        to = resolve(t, heir, &run);
        if (to && (!run || prepare(t, gt, to, run, result)))
            break;
        Py_XDECREF(to);
        /* The new exception goes on in place of the result. */
        if (result)
            Py_DECREF(result);
        else
            error_replace(&error);
        result = NULL;
        if (g->killer) {
            result = exit_as_value(NULL);
            next = g->killer;
        } else {
            next = heir->pimpl->parent;
            if (!next)
                next = last_heir(t, gt);
        }
        Py_INCREF(next);
        Py_SETREF(heir, next);
    }
    *value = run ? (void *)&gt->start : result;
    if (!result)
        t->error = error;
    /* To drop it may run Python code, so finish() does. */
    g->run = (PyObject *)heir;
    return to;
}

/* The running greenlet ends. Steals result. */
_Noreturn static void
leave(struct thread_record *t, PyGreenlet *self, PyObject *result)
{
    struct greenlet_thread *gt = (struct greenlet_thread *)t->greenlets;
    PyGreenlet *to;
    void *value;

    to = successor(t, gt, self, result, &value);
    CO_ASSERT(gt->current == self && !gt->origin);
    gt->origin = self;
    gt->current = to;
    gt->tracing = t->ts->tracing;
    strand_expect(t, to->pimpl->top);
    strand_leave(self->pimpl->strand, to->pimpl->top, value);
}

/* The bottom of a greenlet's stack. */
static void
greenlet_main(void *value)
{
    struct greenlet_start start = *(struct greenlet_start *)value;
    struct greenlet *g = start.greenlet->pimpl;
    struct strand *s = g->strand;
    struct thread_record *t = s->thread;
    PyObject *set = g->run, *result = NULL;
    struct strand_call call;
    bool held = false;

    STRAND_ARRIVE(s);
    g->run = start.run; /* where the collector sees it */
    if (start.thrown)
        error_restore(&t->error);
    else
        held = strand_call_hold(&call, s, &start.args);
    Py_XDECREF(start.value);
    result = held ? Py_NewRef(Py_None) : NULL;
    if (CO_UNLIKELY(t->teller != NULL))
        tell_begins(s);
    result = arrive((struct greenlet_thread *)t->greenlets, result);
    Py_XDECREF(set); /* another callable, if `run` is overridden */
    if (CO_LIKELY(result != NULL)) {
        Py_DECREF(result);
        result = strand_call_make(&call, start.run);
    } else if (held) {
        strand_call_drop(&call);
    }
    Py_CLEAR(g->run);
    if (CO_UNLIKELY(!result))
        result = fail(start.greenlet);
    if (CO_UNLIKELY(g->exit != NULL))
        drop_unwound(g);
    leave(t, start.greenlet, result);
}

/* --- for the strand ----------------------------------------------------- */

static bool
is_suspended(const struct strand *s)
{
    return !greenlet_is_current((const PyGreenlet *)s->face);
}

/* The greenlet becomes a child of the current one for the while, and control
 * comes back here when it ends. It may be that one's parent, in which case it
 * becomes a child of the main greenlet: a cycle would be walked for ever. */
static void
unwind(PyObject *face)
{
    PyGreenlet *self = (PyGreenlet *)face, *before, *killer, *last;
    struct greenlet *g = self->pimpl;
    struct thread_record *t;
    struct greenlet_thread *gt;
    struct error saved, exit;
    uint64_t section;
    PyObject *result;

    error_take(&saved);
    PyErr_SetString(greenlet_exit, "Killing the greenlet because all "
                                   "references have vanished.");
    error_take(&exit);
    PyErr_NormalizeException(&exit.type, &exit.value, &exit.traceback);
    note_exit(g, &exit);
    if (!g->strand || greenlet_is_current(self)) {
        /* It has ended while it waited for this. */
        error_drop(&exit);
        error_restore(&saved);
        return;
    }
    t = g->strand->thread;
    gt = (struct greenlet_thread *)t->greenlets;
    killer = (PyGreenlet *)Py_NewRef(gt->current);
    before = g->parent;
    g->parent = (PyGreenlet *)Py_NewRef(
        greenlet_is_ancestor(self, killer) ? gt->main : killer);
    last = g->killer;
    g->killer = killer;
    section = g->strand->section;
    g->strand->section = t->section; /* it comes back */
    t->error = exit;
    result = go_on(t, gt, (PyGreenlet *)Py_NewRef(self), NULL, NULL);
    g->killer = last;
    if (g->strand)
        g->strand->section = section;
    if (greenlet_is_ancestor(self, before))
        Py_DECREF(before); /* it was made a child meanwhile */
    else
        Py_SETREF(g->parent, before);
    if (!result)
        PyErr_WriteUnraisable(face);
    Py_XDECREF(result);
    Py_DECREF(killer);
    error_restore(&saved);
    g->left_over = g->strand && Py_REFCNT(self) == 1;
}

static void
forget(PyObject *face)
{
    struct greenlet *g = ((PyGreenlet *)face)->pimpl;

    outlook_forget(g->strand->thread, &g->outlook);
    g->strand = NULL;
}

static PyObject *const *
stack_end_of(const struct strand *s)
{
    const struct greenlet *g = ((const PyGreenlet *)s->face)->pimpl;

    return TSTATE_NEEDS_STACK_END && g->top == s ? g->stack_end : NULL;
}

static struct strand *
top_of(PyObject *face)
{
    return ((PyGreenlet *)face)->pimpl->top;
}

static PyObject *
callee(PyObject *face)
{
    return ((PyGreenlet *)face)->pimpl->run;
}

/* Not unwound at the end: an event loop would be woken by that, and go on. */
const struct face_ops greenlet_ops = {FACE_GREENLET, is_suspended, unwind, NULL,
                                      forget,        stack_end_of, false,  NULL,
                                      callee,        top_of};

/* --- the interface ------------------------------------------------------ */

PyObject *
greenlet_switch_to(PyGreenlet *self, const struct strand_args *args)
{
    struct thread_record *t = thread_record_enter();
    struct greenlet_thread *gt = t ? greenlet_thread_get(t) : NULL;
    PyObject *value = NULL, *run;
    PyGreenlet *to;

    if (CO_UNLIKELY(!gt))
        return NULL;
    /* The usual case. To make these values runs no Python code. */
    if (CO_LIKELY(!t->section && greenlet_is_active(self) &&
                  self->pimpl->strand->thread == t && args->nargs <= 1 &&
                  !args->names)) {
        outlook_enter(t, &self->pimpl->outlook, self, self->pimpl->strand);
        value = args->nargs ? Py_NewRef(args->args[0]) : PyTuple_New(0);
        return go_on(t, gt, (PyGreenlet *)Py_NewRef(self), value,
                     args->args + args->nargs);
    }
    for (;;) {
        to = resolve(t, self, &run);
        if (!to)
            break;
        if (run) {
            Py_XDECREF(value);
            return begin(t, gt, to, run, args, NULL);
        }
        if (value)
            return go_on(t, gt, to, value, stack_end(args));
        value = pack(args);
        Py_DECREF(to);
        if (!value)
            break;
        /* Once more: making the value may have run Python code. */
    }
    Py_XDECREF(value);
    return NULL;
}

PyObject *
greenlet_throw_into(PyGreenlet *self)
{
    struct error error;
    struct thread_record *t;
    struct greenlet_thread *gt;
    PyObject *run, *value;
    PyGreenlet *to;

    /* A dead greenlet has nothing to exit from: its parent gets a value. */
    if (self->pimpl->started && !self->pimpl->strand) {
        value = exit_as_value(NULL);
        if (value) {
            struct strand_args args = {&value, 1, NULL};
            PyObject *result = greenlet_switch_to(self, &args);

            Py_DECREF(value);
            return result;
        }
    }
    error_take(&error);
    t = thread_record_enter();
    gt = t ? greenlet_thread_get(t) : NULL;
    if (greenlet_is_active(self) && self->pimpl->strand->thread == t)
        note_exit(self->pimpl, &error);
    to = gt ? resolve(t, self, &run) : NULL;
    if (!to) {
        error_drop(&error);
        return NULL;
    }
    if (run)
        return begin(t, gt, to, run, &(struct strand_args){NULL, 0, NULL},
                     &error);
    t->error = error;
    return go_on(t, gt, to, NULL, NULL);
}
