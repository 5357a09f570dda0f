/* SPDX-License-Identifier: MIT */
#include "tell/coverage.h"

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
coverage_arrives(struct strand *here)
{
    int collects = PyGC_Disable(); /* on 3.11 it would at any allocation */

    set_elsewhere(here->slice.trace_arg);
    set_here(here->thread->ts->c_traceobj);
    if (collects)
        PyGC_Enable();
}

void
coverage_leaves(struct thread_record *t)
{
    int collects = PyGC_Disable();

    set_elsewhere(t->ts->c_traceobj);
    if (collects)
        PyGC_Enable();
}
