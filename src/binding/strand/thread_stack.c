/* SPDX-License-Identifier: MIT
 *
 * copool.on_thread_stack(): a call on the thread's own C stack, for libraries
 * that compare the stack pointer with the bounds of the thread.
 *
 *      thread's stack          the coroutine's
 *      ┌───────────────┐
 *      │ main, enter() │─────> ┌────────────────────┐
 *      ├───────────────┤       │ fn, ...            │
 *      │ what is       │ <─────│ on_thread_stack()  │
 *      │ called        │       └────────────────────┘
 *      └───────────────┘
 *
 * Only the stack pointer is another, and what CPython knows of the stack: it is
 * the same chain of calls, so that frames, exceptions, context and tracing go
 * on. As long as it lasts the strand occupies the thread's stack, below all
 * that stands there, and control must come back to it before anybody else goes
 * on there. So from its beginning to its end is a section: control stays with
 * the strands that began in it, or that are entered in it and so come back.
 *
 *   - Who has called it can't yield: its ops are a copy meanwhile, by which
 *     faces that compare them see that it is not what they may suspend.
 *   - await_() looks whether what it would suspend includes the occupant.
 *   - A greenlet may be switched to if it bears the number of the section or a
 *     later one: the one that called, and those that began since.
 *   - The greenlet that called is held: dropped in a section within its own, it
 *     would be ended at once, and so go on above what stands there.
 *
 * Thread rule: the GIL.
 */
#include "strand/thread_stack.h"

#include "cpython/frames.h"
#include "cpython/limits.h"
#include "cpython/objects.h"
#include "process/state.h"
#include "strand/entry.h"
#include "strand/thread.h"

/* Calls the first of the arguments with the others. */
static void *
call(void *arg)
{
    const struct strand_args *a = arg;

    return PyObject_Vectorcall(a->args[0], a->args + 1, (size_t)a->nargs - 1,
                               a->names);
}

/* Whether that is on the stack of another interpreter's coroutine. */
static bool
is_in_foreign_coroutine(const struct thread_record *self, const char *address)
{
    const struct thread_record *t = atomic_load(&thread_records);

    for (; t; t = t->next_made)
        if (t != self && t->ts && t->ident == self->ident &&
            t->current != &t->own && strand_has_on_stack(t->current, address))
            return true;
    return false;
}

/* An interpreter may be run inside a coroutine of another one. What it takes
 * for the stack of the thread is then that coroutine's. */
static bool
can_reach(const struct thread_record *t, const char *address)
{
    if (CO_LIKELY(PyInterpreterState_Get() == PyInterpreterState_Main()))
        return true;
    if (!is_in_foreign_coroutine(t, address))
        return true;
    PyErr_SetString(t->state->coroutine_error,
                    "the stack of the thread can't be reached: a coroutine of "
                    "another interpreter runs this one; call "
                    "on_thread_stack() there, around what runs it");
    return false;
}

/* A greenlet of another library saves the stack from its pointer to where it
 * began, which must be on the same stack. */
static PyObject *
raise_in_foreign_greenlet(struct thread_record *t)
{
    PyErr_SetString(t->state->coroutine_error,
                    "on_thread_stack() in a greenlet of another library, which "
                    "is a part of the coroutine's stack; put copool's in its "
                    "place, with copool.greenlet.install()");
    return NULL;
}

/* The strand at the bottom of the chain: the thread's own, or a greenlet's. */
static struct strand *
bottom(struct strand *s)
{
    while (s->caller)
        s = s->caller;
    return s;
}

static PyObject *
call_below(struct thread_record *t, struct strand *s, struct strand_args *a)
{
    struct strand *before = t->occupant, *base = bottom(s);
    const struct strand *above = before ? before : &t->own;
    const struct face_ops *ops = s->ops, copy = *ops;
    uint64_t section = t->section, base_section = base->section;
    PyObject *held = base->face;
    struct san_ctx san = s->ctx.san;
    struct tstate_limit limit;
    PyObject *result;

    if (!can_reach(t, ctx_stack_pointer(&above->ctx)))
        return NULL;
    if (CO_UNLIKELY(!tstate_is_running(t->ts, &s->root)))
        return raise_in_foreign_greenlet(t);
    Py_XINCREF(held);
    s->ops = &copy;
    t->occupant = s;
    base->section = t->section = ++t->sections;
    limit = tstate_enter_stack(t->ts, &s->slice, &above->slice);
    san_move(&s->ctx.san, &t->own.ctx.san);
    result = ctx_call_below(&above->ctx, &t->own.ctx, call, a);
    san_move(&s->ctx.san, &san);
    CO_ASSERT(t->current == s && t->occupant == s && s->ops == &copy);
    tstate_leave_stack(t->ts, &s->slice, &limit);
    base->section = base_section;
    t->section = section;
    t->occupant = before;
    s->ops = ops;
    Py_XDECREF(held); /* not the last reference: it is the current greenlet */
    return result;
}

static PyObject *
core_on_thread_stack(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *names)
{
    struct strand_args a = {args, nargs, names};
    struct thread_record *t;
    struct strand *s;

    if (nargs < 1 || !PyCallable_Check(args[0]))
        return PyErr_Format(PyExc_TypeError,
                            "on_thread_stack() takes a function to call and "
                            "its arguments, not %.200s",
                            nargs ? Py_TYPE(args[0])->tp_name : "nothing");
    if (tstate_runs_nothing(args[0]))
        return PyErr_Format(PyExc_TypeError,
                            "a call of %R runs nothing yet, but makes a "
                            "generator or coroutine, which would run on the "
                            "stack of whoever goes on with it; pass a function "
                            "that does the work until it returns",
                            args[0]);
    if (!thread_record_try(&t))
        return NULL;
    s = t ? t->current : NULL;
    if (s && s != &t->own && s != t->occupant)
        return call_below(t, s, &a);
    if (t && !can_reach(t, __builtin_frame_address(0)))
        return NULL;
    return call(&a);
}

static PyMethodDef functions[] = {
    {"on_thread_stack", _PyCFunction_CAST(core_on_thread_stack),
     METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("on_thread_stack($module, fn, /, *args, **kwargs)\n--\n\n"
               "Call fn(*args, **kwargs) on the thread's own C stack; return "
               "what it does.\n\n"
               "For libraries that look where the stack of the thread ends. "
               "What is called\nmay not yield, switch greenlets or wait in "
               "await_() except in coroutines of\nits own.")},
    {NULL, NULL, 0, NULL},
};

int
thread_stack_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
