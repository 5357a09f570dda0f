/* SPDX-License-Identifier: MIT */
#include "cpython/trace.h"

#include "check.h"
#include "cpython/inside.h"

void
tstate_save_trace(PyThreadState *ts, struct tstate_slice *s)
{
    CO_ASSERT(!s->trace_arg);
    s->rest |= TSTATE_REST_TRACE;
    s->trace = ts->c_tracefunc;
    s->trace_arg = Py_XNewRef(ts->c_traceobj);
}

/* One trace function takes the place of another, so that CPython's counts of
 * what is traced stay right. */
void
tstate_resume_trace(PyThreadState *ts, struct tstate_slice *s)
{
    PyObject *mine = s->trace_arg;

    if (ts->c_tracefunc) {
        s->trace_arg = ts->c_traceobj;
        ts->c_tracefunc = s->trace;
        ts->c_traceobj = mine;
    }
    s->trace = NULL;
}

void
tstate_profile_event(PyThreadState *ts, PyObject *object, PyFrameObject *frame,
                     bool called)
{
    if (ts->c_profilefunc && ts->c_profileobj == object)
        (void)ts->c_profilefunc(object, frame,
                                called ? PyTrace_CALL : PyTrace_RETURN, NULL);
}

PyObject *
tstate_trace_hook(PyThreadState *ts)
{
    PyObject *name = PyUnicode_FromString("threading");
    PyObject *threading = name ? PyImport_GetModule(name) : NULL;
    PyObject *hook = NULL;

    Py_XDECREF(name);
    if (threading) {
        PyThreadState_EnterTracing(ts); /* this is not the program's call */
        hook = PyObject_CallMethod(threading, "gettrace", NULL);
        PyThreadState_LeaveTracing(ts);
        Py_DECREF(threading);
    }
    if (PyErr_Occurred())
        PyErr_WriteUnraisable(NULL);
    if (hook == Py_None)
        Py_CLEAR(hook);
    return hook;
}

void
tstate_begin_trace(PyThreadState *ts)
{
    PyObject *hook = tstate_trace_hook(ts);
    PyObject *set = hook ? PySys_GetObject("settrace") : NULL;
    PyObject *result = set ? PyObject_CallOneArg(set, hook) : NULL;

    if (set && !result)
        PyErr_WriteUnraisable(NULL);
    Py_XDECREF(hook);
    Py_XDECREF(result);
}

void
tstate_share_trace(PyThreadState *ts, const struct tstate_slice *other)
{
    PyObject *unused = ts->c_traceobj;

    if (!other->trace)
        return;
    ts->c_tracefunc = other->trace;
    ts->c_traceobj = Py_XNewRef(other->trace_arg);
    Py_XDECREF(unused);
}
