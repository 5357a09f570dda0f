/* SPDX-License-Identifier: MIT */
#include "tell/tell.h"

#include "process/state.h"
#include "strand/entry.h"
#include "strand/hooks.h"
#include "strand/thread.h"
#include "tell/coverage.h"
#include "tell/follow.h"

/* --- at a switch -------------------------------------------------------- */

/* There may be something left from an arrival after which control went away
 * again at once, for which it is told now. */
static void
leave_to_tell(struct strand *here, PyObject *from)
{
    if (here->slice.rest & TSTATE_REST_UNTOLD)
        return;
    here->slice.rest |= TSTATE_REST_UNTOLD;
    here->told_from = Py_NewRef(from ? from : Py_None);
    if (!here->slice.trace_arg) /* by which strand_tidy() knows */
        here->slice.trace_arg = Py_NewRef(Py_None);
}

/* The strand in which the coroutines that lead to it were entered. */
static struct strand *
bottom(struct strand *s)
{
    while (s->caller)
        s = s->caller;
    return s;
}

/* A greenlet has nobody who waits for it: so this is who was left for it, until
 * it is left itself. */
static void
hang_greenlet(const struct strand *left, struct strand *here)
{
    struct strand *before = bottom((struct strand *)left), *now = bottom(here);
    PyThreadState *ts = here->thread->ts;

    if (before == now)
        return;
    if (before != &here->thread->own)
        tstate_cut(ts, &before->root);
    if (now != &here->thread->own && !left->finished)
        tstate_hang_from(&now->root, &left->slice);
}

/* Who was left is there still: it is released after this, if it has ended. */
static void
arrived(struct strand *here)
{
    struct teller *teller = here->thread->teller;
    struct strand *left;
    PyObject *face;

    if (!teller || !teller->what) {
        here->slice.rest &= ~(unsigned)TSTATE_REST_TOLD;
        return;
    }
    left = teller->last;
    face = teller->face;
    teller->last = here;
    teller->face = here->face;
    if (teller->what & TELL_HANG)
        hang_greenlet(left, here);
    if (teller->what & TELL_TIMES)
        left->since = os_monotonic();
    if (!(teller->what & TELL_FOLLOWERS) &&
        (!(teller->what & TELL_TRACE) || teller->telling))
        return;
    if (here->face || here == &here->thread->own)
        leave_to_tell(here, face); /* else it was parked and must end */
}

void
tell_begins(struct strand *here)
{
    if (!here->thread->teller->what)
        return;
    here->slice.rest |= TSTATE_REST_TOLD;
    arrived(here);
}

/* The value is not changed but for an exception of the callback's. */
static PyObject *
call_trace(struct teller *teller, PyObject *from, PyObject *target,
           PyObject *value)
{
    PyObject *trace = Py_NewRef(teller->trace);
    struct error error;
    bool done;

    if (!value)
        error_take(&error);
    teller->telling = true;
    done = tell_call(trace, value ? "switch" : "throw", from, target);
    teller->telling = false;
    if (!done) {
        if (teller->trace == trace) {
            teller->what &= ~(unsigned)TELL_TRACE;
            Py_CLEAR(teller->trace);
        }
        if (value)
            Py_DECREF(value);
        else
            error_drop(&error);
        value = NULL;
    } else if (!value) {
        error_restore(&error);
    }
    Py_DECREF(trace);
    return value;
}

static PyObject *
tidy(struct strand *here, PyObject *value)
{
    struct teller *teller = here->thread->teller;
    PyObject *from = here->told_from, *target;
    struct error error;

    if (!(here->slice.rest & TSTATE_REST_UNTOLD))
        return value;
    here->slice.rest &= ~(unsigned)TSTATE_REST_UNTOLD;
    target = Py_NewRef(here->face ? here->face : Py_None);
    if (teller->what & TELL_FOLLOWERS)
        follow_tell(here, value ? "switch" : "throw", from, target);
    if (teller->trace && !teller->telling)
        value = call_trace(teller, from, target, value);
    error_take(&error);
    Py_DECREF(target);
    Py_DECREF(from);
    error_restore(&error);
    return value;
}

static void
thread_gone(struct thread_record *t)
{
    struct teller *teller = t->teller;

    if (!teller)
        return;
    t->teller = NULL;
    t->entry = strand_main;
    Py_XDECREF(teller->trace);
    follow_end(&teller->followers);
    PyMem_Free(teller);
}

static void
thread_made(struct thread_record *t)
{
    if (t->state->notes_times)
        tell_times(t);
    tell_callers(t);
}

static void
begins_followed(struct strand *s)
{
    const struct teller *teller = s->thread->teller;

    if (teller && teller->what) /* since it was about to be entered */
        s->slice.rest |= TSTATE_REST_TOLD;
    if (tstate_is_traced(s->thread->ts))
        tstate_begin_trace(s->thread->ts);
}

static const struct strand_hooks hooks = {
    .thread_made = thread_made,
    .thread_gone = thread_gone,
    .begins = tell_begins,
    .arrived = arrived,
    .tidy = tidy,
    .look_for_tools = follow_look_for_tools,
    .leaves_traced = coverage_leaves,
    .arrives_traced = coverage_arrives,
    .begins_followed = begins_followed,
};

/* --- functions of the module -------------------------------------------- */

static PyObject *
core_settrace(PyObject *module, PyObject *trace)
{
    struct thread_record *t = thread_record_enter();
    PyObject *before;

    if (!t)
        return NULL;
    if (trace != Py_None && !PyCallable_Check(trace))
        return PyErr_Format(PyExc_TypeError,
                            "settrace() needs a callable or None, not %.200s",
                            Py_TYPE(trace)->tp_name);
    if (trace == Py_None)
        tell_end(t, TELL_TRACE);
    else if (!tell_begin(t, TELL_TRACE))
        return PyErr_NoMemory();
    if (!t->teller)
        Py_RETURN_NONE;
    before = t->teller->trace;
    t->teller->trace = trace == Py_None ? NULL : Py_NewRef(trace);
    return before ? before : Py_NewRef(Py_None);
}

static PyObject *
core_gettrace(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct thread_record *t;

    if (!thread_record_try(&t))
        return NULL;
    return Py_NewRef(t && t->teller && t->teller->trace ? t->teller->trace
                                                        : Py_None);
}

/* In all threads of the interpreter, whose GIL we have. */
static void
set_everywhere(void (*set)(struct thread_record *), unsigned what, bool on)
{
    const PyInterpreterState *interp = PyInterpreterState_Get();
    struct thread_record *t = atomic_load(&thread_records);

    for (; t; t = t->next_made) {
        if (!t->ts || t->interp != interp)
            continue;
        if (on)
            set(t);
        else
            tell_end(t, what);
    }
}

static PyObject *
core_note(PyObject *module, PyObject *args)
{
    struct module_state *state = state_get();
    int makers, times;

    if (!state || !PyArg_ParseTuple(args, "pp:_note", &makers, &times))
        return NULL;
    if (state->notes_makers != makers)
        strand_keep_faces(!makers);
    state->notes_makers = makers;
    if (state->notes_times != times)
        set_everywhere(tell_times, TELL_TIMES, times);
    state->notes_times = times;
    Py_RETURN_NONE;
}

static PyObject *
core_hang_greenlets(PyObject *module, PyObject *flag)
{
    int on = PyObject_IsTrue(flag);

    if (on < 0)
        return NULL;
    tell_hangs_greenlets = on;
    set_everywhere(tell_callers, TELL_HANG, on);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"settrace", core_settrace, METH_O,
     PyDoc_STR("settrace($module, callback, /)\n--\n\n"
               "Have callback(event, (origin, target)) called after each "
               "switch in this thread,\nNone for none; return the one of "
               "before.\n\n"
               "The event is 'switch' or 'throw'. Origin and target are "
               "coroutines, greenlets\nor awaited chains, None for the "
               "thread's own chain of calls. It is not told of switches that "
               "it makes itself. An\nexception in it ends tracing and is "
               "raised in the target.")},
    {"gettrace", core_gettrace, METH_NOARGS,
     PyDoc_STR("gettrace($module, /)\n--\n\n"
               "What settrace() was last given in this thread, or None.")},
    {"_note", core_note, METH_VARARGS,
     PyDoc_STR("_note($module, makers, times, /)\n--\n\n"
               "Whether it is noted who makes coroutines, and when they are "
               "left.")},
    {"_hang_greenlets", core_hang_greenlets, METH_O,
     PyDoc_STR("_hang_greenlets($module, wanted, /)\n--\n\n"
               "Whether the frames of greenlets are followed by those of who "
               "has switched to\nthem: of those that begin from now on.")},
    {NULL, NULL, 0, NULL},
};

int
tell_init(PyObject *module)
{
    strand_hooks = &hooks;
    return PyModule_AddFunctions(module, functions);
}