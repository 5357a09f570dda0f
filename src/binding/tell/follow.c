/* SPDX-License-Identifier: MIT */
#include "tell/follow.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>
#include <structmember.h>

#include "bridge/bridge.h"
#include "coroutine/coroutine.h"
#include "cpython/thread.h"
#include "greenlet/greenlet.h"
#include "process/state.h"
#include "tell/tell.h"

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

/* --- a clock that can be stopped ---------------------------------------- */

/* Called without arguments it says how many nanoseconds it has run. A chain has
 * one that is stopped while the chain is suspended. */
typedef struct {
    PyObject_HEAD
    int64_t ran;     /* when it was stopped last */
    int64_t started; /* 0 while it is stopped */
} Clock;

static int64_t
reading(const Clock *self)
{
    return self->ran +
           (self->started ? (int64_t)os_monotonic() - self->started : 0);
}

static PyObject *
clock_call(PyObject *op, PyObject *args, PyObject *kwargs)
{
    return PyLong_FromLongLong(reading((const Clock *)op));
}

static PyObject *
clock_start(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Clock *self = (Clock *)op;

    if (!self->started)
        self->started = (int64_t)os_monotonic();
    Py_RETURN_NONE;
}

static PyObject *
clock_stop(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Clock *self = (Clock *)op;

    self->ran = reading(self);
    self->started = 0;
    Py_RETURN_NONE;
}

static void
clock_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);

    PyObject_Free(op);
    Py_DECREF(type);
}

static PyMethodDef clock_methods[] = {
    {"start", clock_start, METH_NOARGS, NULL},
    {"stop", clock_stop, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot clock_slots[] = {
    {Py_tp_dealloc, clock_dealloc},
    {Py_tp_call, clock_call},
    {Py_tp_methods, clock_methods},
    {0, NULL},
};

static PyType_Spec clock_spec = {
    .name = "copool._core._Clock",
    .basicsize = sizeof(Clock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = clock_slots,
};

/* --- events of sys.monitoring, by chain ----------------------------------- */

/* A callback that calls what the running chain of the thread has for events of
 * its kind. */
typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    Py_ssize_t kind;
    PyObject *begin; /* called in a thread that has none yet; it is the last of
                        what one has */
} Relay;

static PyObject *
relayed(const struct thread_record *t, const Relay *self)
{
    PyObject *callbacks = t && t->teller ? t->teller->followers.relayed : NULL;

    if (!callbacks || self->kind >= PyTuple_GET_SIZE(callbacks) - 1 ||
        PyTuple_GET_ITEM(callbacks, PyTuple_GET_SIZE(callbacks) - 1) !=
            self->begin)
        return NULL; /* it may be an earlier profile's */
    return callbacks;
}

/* Lets the thread have some, if it can. */
static PyObject *
relay_begin(const Relay *self)
{
    PyObject *begun;

    if (tstate_is_ending(tstate_get()))
        return NULL;
    begun = PyObject_CallNoArgs(self->begin);
    if (!begun)
        PyErr_WriteUnraisable(self->begin);
    Py_XDECREF(begun);
    return relayed(thread_record_peek(), self);
}

static PyObject *
relay_vectorcall(PyObject *op, PyObject *const *args, size_t nargsf,
                 PyObject *names)
{
    Relay *self = (Relay *)op;
    PyObject *callbacks = relayed(thread_record_peek(), self), *result;

    if (CO_UNLIKELY(!callbacks))
        callbacks = PyErr_Occurred() ? NULL : relay_begin(self);
    if (CO_UNLIKELY(!callbacks)) {
        PyErr_Clear(); /* no memory, or the thread is ending */
        Py_RETURN_NONE;
    }
    Py_INCREF(callbacks);
    result = PyObject_Vectorcall(PyTuple_GET_ITEM(callbacks, self->kind), args,
                                 nargsf, names);
    Py_DECREF(callbacks);
    return result;
}

static int
relay_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((Relay *)op)->begin);
    return 0;
}

static int
relay_clear(PyObject *op)
{
    Py_CLEAR(((Relay *)op)->begin);
    return 0;
}

static void
relay_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    (void)relay_clear(op);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

static PyObject *
relay_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Py_ssize_t kind;
    PyObject *begin;
    Relay *self;

    if (!PyArg_ParseTuple(args, "nO:_Relay", &kind, &begin))
        return NULL;
    if (kind < 0)
        return PyErr_Format(PyExc_ValueError, "kind must not be negative");
    self = PyObject_GC_New(Relay, type);
    if (!self)
        return NULL;
    self->vectorcall = relay_vectorcall;
    self->kind = kind;
    self->begin = Py_NewRef(begin);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static PyMemberDef relay_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Relay, vectorcall), READONLY,
     NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot relay_slots[] = {
    {Py_tp_new, relay_new},
    {Py_tp_dealloc, relay_dealloc},
    {Py_tp_traverse, relay_traverse},
    {Py_tp_clear, relay_clear},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, relay_members},
    {0, NULL},
};

static PyType_Spec relay_spec = {
    .name = "copool._core._Relay",
    .basicsize = sizeof(Relay),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = relay_slots,
};

/* --- functions of the module -------------------------------------------- */

/* _profiler(fn or None): who is told of the thread's switches for profile(). */
static PyObject *
core_profiler(PyObject *module, PyObject *fn)
{
    struct thread_record *t = thread_record_get();

    if (!t)
        return NULL;
    if (fn == Py_None) {
        if (t->teller)
            Py_CLEAR(t->teller->followers.profiler);
        Py_RETURN_NONE;
    }
    if (!tell_followers(t))
        return PyErr_NoMemory();
    Py_XSETREF(t->teller->followers.profiler, Py_NewRef(fn));
    Py_RETURN_NONE;
}

/* _relay(callbacks or None): what the thread's events go to, a tuple. */
static PyObject *
core_relay(PyObject *module, PyObject *callbacks)
{
    struct thread_record *t = thread_record_get();

    if (!t)
        return NULL;
    if (callbacks != Py_None && !PyTuple_CheckExact(callbacks))
        return PyErr_Format(PyExc_TypeError, "callbacks must be a tuple");
    if (!tell_make(t))
        return PyErr_NoMemory();
    Py_XSETREF(t->teller->followers.relayed,
               callbacks == Py_None ? NULL : Py_NewRef(callbacks));
    Py_RETURN_NONE;
}

static PyObject *
face_of(const struct strand *s)
{
    return Py_NewRef(s->face ? s->face : Py_None);
}

/* The chains of the thread of which one waits for the next, up to the one that
 * runs. */
static PyObject *
core_waiting(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct thread_record *t = thread_record_get();
    PyObject *list = t ? PyList_New(0) : NULL;

    for (struct strand *s = list ? t->current : NULL; s; s = s->caller) {
        PyObject *face = face_of(s);
        int failed = PyList_Append(list, face);

        Py_DECREF(face);
        if (failed < 0) {
            Py_DECREF(list);
            return NULL;
        }
    }
    if (list && PyList_Reverse(list) < 0)
        Py_CLEAR(list);
    return list;
}

/* (what it calls or None, whether any calls of it are there, whether nobody
 * waits for it). */
static PyObject *
core_chain(PyObject *module, PyObject *face)
{
    const struct module_state *state = PyModule_GetState(module);
    PyObject *fn = NULL;
    bool there = true, alone = false;

    if (Py_IS_TYPE(face, state->coroutine_type)) {
        fn = ((Coroutine *)face)->fn;
        there = ((Coroutine *)face)->strand != NULL;
    } else if (Py_IS_TYPE(face, state->bridge_type)) {
        const Bridge *bridge = (Bridge *)face;

        fn = bridge->target;
        there = bridge->top || bridge->state == ENTERED;
    } else {
        alone = true;
        if (PyObject_TypeCheck(face, &greenlet_type))
            there = greenlet_is_active((PyGreenlet *)face);
    }
    return Py_BuildValue("OOO", fn ? fn : Py_None, there ? Py_True : Py_False,
                         alone ? Py_True : Py_False);
}

/* _profile_event(profiler, frame, begins): on 3.11. */
static PyObject *
core_profile_event(PyObject *module, PyObject *args)
{
    PyObject *profiler, *frame;
    int begins;

    if (!PyArg_ParseTuple(args, "OO!p:_profile_event", &profiler, &PyFrame_Type,
                          &frame, &begins))
        return NULL;
    tstate_profile_event(tstate_get(), profiler, (PyFrameObject *)frame,
                         begins);
    Py_RETURN_NONE;
}

/* _untraced(fn): calls it, and no tool sees what happens. */
static PyObject *
core_untraced(PyObject *module, PyObject *fn)
{
    PyThreadState *ts = tstate_get();
    PyObject *result;

    PyThreadState_EnterTracing(ts);
    result = PyObject_CallNoArgs(fn);
    PyThreadState_LeaveTracing(ts);
    return result;
}

static PyMethodDef functions[] = {
    {"_untraced", core_untraced, METH_O, NULL},
    {"_profiler", core_profiler, METH_O, NULL},
    {"_relay", core_relay, METH_O, NULL},
    {"_waiting", core_waiting, METH_NOARGS, NULL},
    {"_chain", core_chain, METH_O, NULL},
    {"_profile_event", core_profile_event, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static int
add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    int failed = type ? PyModule_AddType(module, (PyTypeObject *)type) : -1;

    Py_XDECREF(type);
    return failed;
}

int
follow_init(PyObject *module)
{
    if (add_type(module, &clock_spec) < 0 || add_type(module, &relay_spec) < 0)
        return -1;
    return PyModule_AddFunctions(module, functions);
}
