/* SPDX-License-Identifier: MIT */
#include "cpython/renew.h"

#include "cpython/frames.h"
#include "cpython/inside.h"

#if defined(CO_INSTRUMENTS_CODE) && PY_VERSION_HEX < 0x030F0000

/* Calls what sys.monitoring has under the name, which steals the arguments; -1
 * if it fails, without an exception. Whatever a program has put there instead
 * is not called. */
static long
monitoring(const struct tstate_renewal *r, const char *name, PyObject *args)
{
    PyObject *fn = args ? PyDict_GetItemString(r->monitoring, name) : NULL;
    PyObject *result = NULL;
    long number = 0;

    if (fn && PyCFunction_CheckExact(fn))
        result = PyObject_CallObject(fn, args);
    if (!result)
        number = -1;
    else if (PyLong_Check(result))
        number = PyLong_AsLong(result);
    Py_XDECREF(result);
    Py_XDECREF(args);
    PyErr_Clear(); /* no memory, or the tool is another's */
    return number;
}

/* A tool that is not in use, or else the first. */
static void
take_tool(struct tstate_renewal *r)
{
    PyObject *module = PySys_GetObject("monitoring");

    if (!module || !PyModule_CheckExact(module))
        return;
    r->monitoring = PyModule_GetDict(module);
    for (int id = 0; id < 6 && !r->taken; id++) {
        r->tool = id;
        r->taken =
            !monitoring(r, "use_tool_id", Py_BuildValue("is", id, "copool"));
    }
    if (!r->taken)
        r->tool = 0;
}

/* What does so directly is not exported. But CPython does it, too, when an
 * event is switched on for that code alone, or off. */
static void
instrument(struct tstate_renewal *r, PyThreadState *ts, PyCodeObject *code)
{
    int events;

    (void)ts;
    if (!r->monitoring)
        take_tool(r);
    if (!r->monitoring)
        return;
    events = (int)monitoring(r, "get_local_events",
                             Py_BuildValue("iO", r->tool, code));
    if (events < 0)
        return;
    monitoring(r, "set_local_events",
               Py_BuildValue("iOi", r->tool, code, events ^ 1));
    monitoring(r, "set_local_events",
               Py_BuildValue("iOi", r->tool, code, events));
}

void
tstate_renewal_end(struct tstate_renewal *r)
{
    if (r->taken)
        monitoring(r, "free_tool_id", Py_BuildValue("(i)", r->tool));
}

#else

#    ifdef CO_INSTRUMENTS_CODE

static void
instrument(struct tstate_renewal *r, PyThreadState *ts, PyCodeObject *code)
{
    (void)r;
    if (_Py_Instrument(code, ts->interp) < 0)
        PyErr_Clear(); /* no memory: it is tried again at the next call */
}

#    endif

void
tstate_renewal_end(struct tstate_renewal *r)
{
    (void)r;
}

#endif

#ifdef CO_INSTRUMENTS_CODE

/* The code of a function's frame, if it can be followed, or NULL. */
static PyCodeObject *
traceable_code(const struct _PyInterpreterFrame *frame)
{
    PyCodeObject *code;

#    if PY_VERSION_HEX < 0x030E0000
    if (frame->owner >= FRAME_OWNED_BY_CSTACK)
        return NULL;
#    else
    if (frame->owner >= FRAME_OWNED_BY_INTERPRETER)
        return NULL;
#    endif
#    if PY_VERSION_HEX < 0x030D0000
    code = frame->f_code;
#    else
    code = _PyFrame_GetCode((_PyInterpreterFrame *)frame);
#    endif
    return code->_co_firsttraceable < Py_SIZE(code)
               ? code
               : NULL; /* below an __init__() */
}

#endif

void
tstate_renew(struct tstate_renewal *r, PyThreadState *ts,
             const struct tstate_slice *s)
{
#ifndef CO_INSTRUMENTS_CODE
    (void)r;
    (void)ts;
    (void)s;
#else
    uint64_t version = tstate_instrumentation(ts);
    const struct _PyInterpreterFrame *frame = tstate_innermost(s);

    for (; frame; frame = frame->previous) {
        PyCodeObject *code = traceable_code(frame);

        if (code && code->_co_instrumentation_version != version)
            instrument(r, ts, code);
    }
#endif
}

void
tstate_confirm(PyThreadState *ts, const struct tstate_slice *s,
               uint64_t version)
{
#ifndef CO_INSTRUMENTS_CODE
    (void)ts;
    (void)s;
    (void)version;
#else
    uint64_t now = tstate_instrumentation(ts);
    const struct _PyInterpreterFrame *frame = tstate_innermost(s);

    for (; frame && now != version; frame = frame->previous) {
        PyCodeObject *code = traceable_code(frame);

        if (code && code->_co_instrumentation_version == version)
            code->_co_instrumentation_version = now;
    }
#endif
}
