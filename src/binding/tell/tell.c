/* SPDX-License-Identifier: MIT */
#include "tell/tell.h"

#include "process/state.h"

enum {
    TRACE = 1, /* teller->trace is called */
    TIMES = 2, /* strand->since is set */
    HANG = 4,  /* greenlets' frames are followed by those of who was left */
    FOLLOWERS = 8,
};

bool tell_hangs_greenlets;

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
void
tell_arrived(struct strand *here)
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
    if (teller->what & HANG)
        hang_greenlet(left, here);
    if (teller->what & TIMES)
        left->since = os_monotonic();
    if (!(teller->what & FOLLOWERS) &&
        (!(teller->what & TRACE) || teller->telling))
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
    tell_arrived(here);
}

bool
tell_call(PyObject *callback, const char *event, PyObject *origin,
          PyObject *target)
{
    PyThreadState *ts = tstate_get();
    PyObject *result;

    PyThreadState_EnterTracing(ts);
    result = PyObject_CallFunction(callback, "s(OO)", event, origin, target);
    PyThreadState_LeaveTracing(ts);
    Py_XDECREF(result);
    return result != NULL;
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
            teller->what &= ~(unsigned)TRACE;
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

PyObject *
tell_now(struct strand *here, PyObject *value)
{
    struct teller *teller = here->thread->teller;
    PyObject *from = here->told_from, *target;
    struct error error;

    if (!(here->slice.rest & TSTATE_REST_UNTOLD))
        return value;
    here->slice.rest &= ~(unsigned)TSTATE_REST_UNTOLD;
    target = Py_NewRef(here->face ? here->face : Py_None);
    if (teller->what & FOLLOWERS)
        follow_tell(here, value ? "switch" : "throw", from, target);
    if (teller->trace && !teller->telling)
        value = call_trace(teller, from, target, value);
    error_take(&error);
    Py_DECREF(target);
    Py_DECREF(from);
    error_restore(&error);
    return value;
}

/* --- on and off --------------------------------------------------------- */

static void
mark(struct strand *list)
{
    for (; list; list = list->next)
        list->slice.rest |= TSTATE_REST_TOLD;
}

bool
tell_make(struct thread_record *t)
{
    if (!t->teller)
        t->teller = PyMem_Calloc(1, sizeof *t->teller);
    return t->teller != NULL;
}

/* The marks go when they are seen and there is nothing to tell. */
static bool
begin(struct thread_record *t, unsigned what)
{
    struct teller *teller;

    if (!tell_make(t))
        return false;
    teller = t->teller;
    if (!teller->what) {
        teller->last = t->current;
        teller->face = t->current->face;
        t->own.slice.rest |= TSTATE_REST_TOLD;
        mark(t->started);
        mark(t->passed);
    }
    teller->what |= what;
    t->entry = strand_main_told;
    return true;
}

static void
end(struct thread_record *t, unsigned what)
{
    if (!t->teller)
        return;
    t->teller->what &= ~what;
    if (!t->teller->what)
        t->entry = strand_main;
}

static void
forget_times(struct strand *list)
{
    for (; list; list = list->next)
        list->since = 0;
}

void
tell_times(struct thread_record *t)
{
    if (t->teller && t->teller->what & TIMES)
        return;
    forget_times(t->started);
    forget_times(t->passed);
    (void)begin(t, TIMES);
}

bool
tell_followers(struct thread_record *t)
{
    return begin(t, FOLLOWERS);
}

void
tell_followers_no_more(struct thread_record *t)
{
    end(t, FOLLOWERS);
}

void
tell_callers(struct thread_record *t)
{
    if (tell_hangs_greenlets)
        (void)begin(t, HANG);
}

void
tell_gone(struct thread_record *t)
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
        end(t, TRACE);
    else if (!begin(t, TRACE))
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
            end(t, what);
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
        set_everywhere(tell_times, TIMES, times);
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
    set_everywhere(tell_callers, HANG, on);
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
    return PyModule_AddFunctions(module, functions);
}
