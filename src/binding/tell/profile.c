/* SPDX-License-Identifier: MIT */
#include "tell/profile.h"

#include <stddef.h>
#include <structmember.h>

#include "cpython/thread.h"
#include "cpython/trace.h"
#include "strand/thread.h"
#include "tell/teller.h"

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
profile_init(PyObject *module)
{
    if (add_type(module, &clock_spec) < 0 || add_type(module, &relay_spec) < 0)
        return -1;
    return PyModule_AddFunctions(module, functions);
}
