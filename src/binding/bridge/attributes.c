/* SPDX-License-Identifier: MIT */
#include "bridge/attributes.h"

#include <frameobject.h>

#include "bridge/call_graph.h"
#include "bridge/names.h"
#include "cpython/frames.h"

/* An attribute of the coroutine that it drives; None of a call. */
static PyObject *
get_from_coroutine(PyObject *op, void *name)
{
    Bridge *self = (Bridge *)op;
    PyObject *target = self->target, *result;

    if (!self->drives || !target)
        Py_RETURN_NONE;
    Py_INCREF(target); /* looking it up may end it */
    result = PyObject_GetAttrString(target, name);
    Py_DECREF(target);
    return result;
}

static PyObject *
get_origin(PyObject *op, void *Py_UNUSED(closure))
{
    const Bridge *self = (const Bridge *)op;

    if (self->drives)
        return get_from_coroutine(op, "cr_origin");
    return Py_NewRef(self->label && self->label->origin ? self->label->origin
                                                        : Py_None);
}

/* What a call graph shows of it while it waits in await_(). False, maybe with
 * an exception set, if it doesn't. */
static bool
get_graph(const Bridge *self, struct call_graph *graph)
{
    return self->top && call_graph_get(graph, self);
}

/* The arguments of a call that has not begun, by name, as far as that can be
 * known: a new dict. NULL with an exception set. */
static PyObject *
bound_arguments(const Bridge *self)
{
    PyObject *inspect = NULL, *bind = NULL, *bound = NULL, *all = NULL;
    PyObject *args = self->args, *names = self->names;
    Py_ssize_t n = args ? PyTuple_GET_SIZE(args) : 0;

    if (self->state == CREATED && bridge_function_of(self->target) &&
        (inspect = PyImport_ImportModule("inspect")) != NULL)
        bind = PyObject_GetAttrString(inspect, "getcallargs");
    if (bind && (all = PyTuple_New(n + 1)) != NULL) {
        PyTuple_SET_ITEM(all, 0, Py_NewRef(self->target));
        for (Py_ssize_t i = 0; i < n; i++)
            PyTuple_SET_ITEM(all, i + 1, Py_NewRef(PyTuple_GET_ITEM(args, i)));
        n += 1 - (names ? PyTuple_GET_SIZE(names) : 0);
        bound = PyObject_Vectorcall(bind, &PyTuple_GET_ITEM(all, 0), (size_t)n,
                                    names);
    }
    Py_XDECREF(inspect);
    Py_XDECREF(bind);
    Py_XDECREF(all);
    if (bound ||
        (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_MemoryError)))
        return bound;
    PyErr_Clear(); /* it can't be called with these, or they are not known */
    return PyDict_New();
}

/* Who asks for the frame of a call takes it for finished if there is none. So
 * there is one where it has no frame: it has not begun, or calls C code. Its
 * line is the first one of the function. */
static PyFrameObject *
stand_in_frame(Bridge *self)
{
    PyObject *name = bridge_get_name((PyObject *)self, NULL);
    PyObject *its = bridge_callable_code(self),
             *globals = name ? PyDict_New() : NULL;
    PyObject *locals = globals ? bound_arguments(self) : NULL;
    const char *file = "<built-in>",
               *text = locals ? PyUnicode_AsUTF8(name) : NULL;
    PyCodeObject *code = NULL;
    PyFrameObject *frame = NULL;
    int line = 0;

    if (text && PyCode_Check(its)) {
        file = PyUnicode_AsUTF8(((PyCodeObject *)its)->co_filename);
        line = ((PyCodeObject *)its)->co_firstlineno;
    }
    if (text && file)
        code = PyCode_NewEmpty(file, text, line);
    if (code)
        frame = PyFrame_New(tstate_get(), code, globals, locals);
    Py_XDECREF(name);
    Py_DECREF(its);
    Py_XDECREF(globals);
    Py_XDECREF(locals);
    Py_XDECREF(code);
    return frame;
}

/* Of a step that runs or waits for one that it has entered. */
static PyFrameObject *
running_frame(const Bridge *self)
{
    const struct strand *s = self->strand;

    if (!s)
        return NULL;
    return tstate_outermost_frame(
        s == s->thread->current ? s->thread->ts : NULL, &s->slice, &s->root);
}

static PyObject *
get_frame(PyObject *op, void *Py_UNUSED(closure))
{
    Bridge *self = (Bridge *)op;
    int is_stack = self->top ? call_graph_is_stack() : 0;
    PyFrameObject *frame = NULL;
    struct call_graph graph;

    if (is_stack < 0)
        return NULL;
    if (is_stack) {
        frame = tstate_frame(&self->top->slice, &self->strand->root);
    } else if (get_graph(self, &graph)) {
        frame = (PyFrameObject *)Py_XNewRef(graph.outermost);
        call_graph_clear(&graph);
    } else if (!PyErr_Occurred() && self->state == ENTERED && !self->drives) {
        frame = running_frame(self);
    }
    if (frame || PyErr_Occurred())
        return (PyObject *)frame;
    if (self->drives || self->state == FINISHED)
        return get_from_coroutine(op, "cr_frame");
    return (PyObject *)stand_in_frame(self);
}

/* That of cr_frame: asyncio takes the file from one and the line from the
 * other.
 */
static PyObject *
get_code(PyObject *op, void *Py_UNUSED(closure))
{
    Bridge *self = (Bridge *)op;
    struct call_graph graph;
    PyObject *code = NULL;

    if (get_graph(self, &graph)) {
        if (graph.outermost)
            code = (PyObject *)PyFrame_GetCode(graph.outermost);
        call_graph_clear(&graph);
    }
    if (code || PyErr_Occurred())
        return code;
    return self->drives ? get_from_coroutine(op, "cr_code")
                        : bridge_callable_code(self);
}

static PyObject *
get_awaited(PyObject *op, void *Py_UNUSED(closure))
{
    struct call_graph graph;
    PyObject *awaited;

    if (get_graph((Bridge *)op, &graph)) {
        awaited = Py_NewRef(graph.awaited);
        call_graph_clear(&graph);
        return awaited;
    }
    if (PyErr_Occurred())
        return NULL;
    return get_from_coroutine(op, "cr_await");
}

static PyObject *
get_running(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((Bridge *)op)->state == ENTERED);
}

static PyObject *
get_suspended(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((Bridge *)op)->state == SUSPENDED);
}

/* As inspect.getcoroutinestate(), which asks for it from 3.15 on. */
static PyObject *
get_state(PyObject *op, void *Py_UNUSED(closure))
{
    static const char *const states[] = {"CORO_CREATED", "CORO_RUNNING",
                                         "CORO_SUSPENDED", "CORO_CLOSED"};

    return PyUnicode_InternFromString(states[((Bridge *)op)->state]);
}

PyObject *
bridge_repr(PyObject *op)
{
    static const char *const states[] = {"created", "running", "suspended",
                                         "finished"};
    Bridge *self = (Bridge *)op;
    const char *state = states[self->state];
    PyObject *name = bridge_get_qualname(op, NULL), *text;

    if (!name)
        return NULL;
    text = PyUnicode_FromFormat("<copool.aio.Bridge of %U, %s, at %p>", name,
                                state, self);
    Py_DECREF(name);
    return text;
}

/* The names are those of a coroutine, which asyncio shows in its messages. */
PyGetSetDef bridge_getset[] = {
    {"__name__", bridge_get_name, bridge_set_name, NULL, NULL},
    {"__qualname__", bridge_get_qualname, bridge_set_qualname, NULL, NULL},
    {"cr_code", get_code, NULL, NULL, NULL},
    {"cr_origin", get_origin, NULL,
     PyDoc_STR("Which calls it was made in, if coroutines note that, or None."),
     NULL},
    {"cr_frame", get_frame, NULL,
     PyDoc_STR("The outermost frame of the call, or the coroutine's."), NULL},
    {"cr_await", get_awaited, NULL,
     PyDoc_STR("What that waits for, or None: in await_() the next call."),
     NULL},
    {"cr_running", get_running, NULL, NULL, NULL},
    {"cr_suspended", get_suspended, NULL, NULL, NULL},
    {"cr_state", get_state, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
