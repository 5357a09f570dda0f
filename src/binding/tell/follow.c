/* SPDX-License-Identifier: MIT */
#include "tell/follow.h"

#include <dlfcn.h>
#include <string.h>

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
    const struct thread_extra *greenlets = t->greenlets;

    return greenlets && greenlets->trace &&
           greenlets->trace == t->teller->followers.memray;
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
follow_look_for_tools(struct thread_record *t)
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
    if (followers->profiler)
        call(&followers->profiler, event, origin, target);
    if (!followers->memray && !followers->profiler)
        tell_followers_no_more(t);
    error_restore(&error);
}

void
follow_end(struct followers *followers)
{
    Py_CLEAR(followers->memray);
    Py_CLEAR(followers->place);
    Py_CLEAR(followers->own_place);
    Py_CLEAR(followers->profiler);
    Py_CLEAR(followers->relayed);
}
