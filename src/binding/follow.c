/* SPDX-License-Identifier: MIT */
#include "follow.h"

#include <dlfcn.h>
#include <string.h>

#include "greenlet.h"
#include "tell.h"

/* --- memray ------------------------------------------------------------- */

/* Whether the function is in the library of that name. */
static bool
is_from(Py_tracefunc fn, const char *library)
{
    Dl_info info;
    const char *name;

    if (!dladdr((void *)(uintptr_t)fn, &info) || !info.dli_fname)
        return false;
    name = strrchr(info.dli_fname, '/');
    name = name ? name + 1 : info.dli_fname;
    return strncmp(name, library, strlen(library)) == 0;
}

/* What memray gives to greenlet.settrace(): it reads the frames of the running
 * chain anew. A new reference, or NULL with or without an exception set. */
static PyObject *
memray_function(void)
{
    PyObject *name = PyUnicode_FromString("memray._memray");
    PyObject *module = name ? PyImport_GetModule(name) : NULL;
    PyObject *fn = NULL;

    if (module)
        fn = PyObject_GetAttrString(module, "greenlet_trace_function");
    Py_XDECREF(name);
    Py_XDECREF(module);
    return fn;
}

/* memray has an attribute of its own on who is left and looks for it on who is
 * gone to: the number of a thread, since it takes each greenlet for one. It is
 * right to, for it may leave out the first frames of each call chain of the
 * main thread, which were its own. Chains whose frames follow those of others
 * belong to the thread of these. So what it is told as origin and target is who
 * comes last: a greenlet, or for the thread's own chain an object of ours. */
static PyObject *
place_of(const struct strand *s)
{
    while (s->caller)
        s = s->caller;
    return s->face ? s->face : s->thread->teller->followers.own_place;
}

/* If greenlet had been imported before it started, it is told of switches
 * between greenlets by settrace(). */
static bool
is_told_by_greenlet(const struct thread_record *t)
{
    const struct greenlet_thread *gt = (struct greenlet_thread *)t->greenlets;

    return gt && gt->trace && gt->trace == t->teller->followers.memray;
}

/* Called before a switch, too, where no exception is set. Its module is loaded,
 * so that no Python code runs. */
static void
begin_to_tell_memray(struct thread_record *t, Py_tracefunc profile)
{
    struct followers *followers;
    PyObject *fn = memray_function(), *object;

    object = fn ? PyModule_New("copool") : NULL;
    if (object && tell_followers(t)) {
        followers = &t->teller->followers;
        Py_XSETREF(followers->memray, fn);
        Py_XSETREF(followers->own_place, object);
        Py_XSETREF(followers->place, Py_NewRef(place_of(t->current)));
        followers->profile = profile;
        return;
    }
    Py_XDECREF(fn);
    Py_XDECREF(object);
    PyErr_Clear();
}

void
strand_look_for_tools(struct thread_record *t)
{
    Py_tracefunc profile = t->ts->c_profilefunc;
    int collects;

    if (!profile || profile == t->profile_seen)
        return;
    t->profile_seen = profile;
    if (!is_from(profile, "_memray."))
        return;
    collects = PyGC_Disable(); /* on 3.11 it would at any allocation */
    begin_to_tell_memray(t, profile);
    if (collects)
        PyGC_Enable();
}

/* --- coverage ------------------------------------------------------------- */

/* Its tracer in Python, one of which each chain gets as each thread does, warns
 * when it is stopped and is not the current trace function, but for one that
 * was started in another thread. So that is what those of chains that don't run
 * are made out to be. */
static const char real_thread[] = "_copool_thread";

/* Whose method the trace function is if that is such a tracer, a borrowed
 * reference; else NULL. */
static PyObject *
tracer_of(PyObject *trace)
{
    PyObject *self;
    PyTypeObject *type;

    if (!trace || !PyMethod_Check(trace))
        return NULL;
    self = PyMethod_GET_SELF(trace);
    type = Py_TYPE(self);
    if (strcmp(type->tp_name, "PyTracer") != 0 ||
        type->tp_setattro != PyObject_GenericSetAttr ||
        type->tp_getattro != PyObject_GenericGetAttr)
        return NULL;
    return self;
}

/* What stands for another thread: an object whose `ident` is no thread's. */
static PyObject *
other_thread(void)
{
    PyObject *other = PyModule_New("copool");

    if (other && PyObject_SetAttrString(other, "ident", Py_None) < 0)
        Py_CLEAR(other);
    return other;
}

/* In the middle of a switch, too: runs no Python code, since the tracer keeps
 * what is replaced. */
static void
set_elsewhere(PyObject *trace)
{
    PyObject *tracer = tracer_of(trace), *thread, *other;

    if (!tracer || PyObject_HasAttrString(tracer, real_thread))
        return;
    thread = PyObject_GetAttrString(tracer, "thread");
    other = thread && thread != Py_None ? other_thread() : NULL;
    if (other && PyObject_SetAttrString(tracer, real_thread, thread) == 0)
        (void)PyObject_SetAttrString(tracer, "thread", other);
    Py_XDECREF(thread);
    Py_XDECREF(other);
    PyErr_Clear(); /* no memory: then it warns */
}

static void
set_here(PyObject *trace)
{
    PyObject *tracer = tracer_of(trace), *thread;

    thread = tracer ? PyObject_GetAttrString(tracer, real_thread) : NULL;
    if (thread && PyObject_SetAttrString(tracer, "thread", thread) == 0)
        (void)PyObject_SetAttrString(tracer, real_thread, NULL);
    Py_XDECREF(thread);
    PyErr_Clear();
}

void
strand_traced_arrives(struct strand *here)
{
    int collects = PyGC_Disable(); /* on 3.11 it would at any allocation */

    set_elsewhere(here->slice.trace_arg);
    set_here(here->thread->ts->c_traceobj);
    if (collects)
        PyGC_Enable();
}

void
strand_followed(struct thread_record *t)
{
    int collects;

    strand_look_for_tools(t);
    if (!tstate_is_traced(t->ts))
        return;
    tstate_save_trace(t->ts, &t->current->slice);
    collects = PyGC_Disable();
    set_elsewhere(t->ts->c_traceobj);
    if (collects)
        PyGC_Enable();
}

void
strand_begins_followed(struct strand *s)
{
    const struct teller *teller = s->thread->teller;

    if (teller && teller->what) /* since it was about to be entered */
        s->slice.rest |= TSTATE_REST_TOLD;
    if (tstate_is_traced(s->thread->ts))
        tstate_begin_trace(s->thread->ts);
}

/* --- telling them ------------------------------------------------------- */

/* What fails is not called again. */
static void
call(PyObject **fn, const char *event, PyObject *origin, PyObject *target)
{
    PyObject *held = Py_NewRef(*fn);

    if (!tell_call(held, event, origin, target)) {
        PyErr_WriteUnraisable(held);
        Py_CLEAR(*fn);
    }
    Py_DECREF(held);
}

static void
tell_memray(struct strand *here, const char *event)
{
    struct followers *followers = &here->thread->teller->followers;
    PyObject *to = Py_NewRef(place_of(here));
    PyObject *from = followers->place;

    followers->place = Py_NewRef(to);
    if (from == to || !is_told_by_greenlet(here->thread))
        call(&followers->memray, event, from, to);
    Py_DECREF(to);
    Py_DECREF(from);
}

void
follow_tell(struct strand *here, const char *event, PyObject *origin,
            PyObject *target)
{
    struct thread_record *t = here->thread;
    struct followers *followers = &t->teller->followers;
    struct error error;

    error_take(&error);
    if (followers->memray && t->ts->c_profilefunc != followers->profile) {
        t->profile_seen = NULL; /* it has ended, and may begin again */
        Py_CLEAR(followers->memray);
        Py_CLEAR(followers->place);
    }
    if (followers->memray)
        tell_memray(here, event);
    if (!followers->memray)
        tell_followers_no_more(t);
    error_restore(&error);
}

void
follow_end(struct followers *followers)
{
    Py_CLEAR(followers->memray);
    Py_CLEAR(followers->place);
    Py_CLEAR(followers->own_place);
}
