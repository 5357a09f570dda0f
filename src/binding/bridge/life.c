/* SPDX-License-Identifier: MIT */
#include "bridge/life.h"

#include "bridge/protocol.h"
#include "face/life.h"
#include "process/state.h"

/* In gc.callbacks: the collector tells, in the thread in which it works, when
 * it begins and when it is done. CPython knows only that it works somewhere. */
static PyObject *
core_collector(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    struct thread_record *t = thread_record_peek();

    if (!t && PyErr_Occurred())
        return NULL;
    if (t && nargs && PyUnicode_Check(args[0]))
        t->collecting = PyUnicode_CompareWithASCIIString(args[0], "start") == 0;
    Py_RETURN_NONE;
}

/* Asks the collector for that, from when there is the first Bridge. */
static bool
watch_collector(struct module_state *state)
{
    PyObject *module = state_module();
    PyObject *gc, *callbacks, *callback;
    int status = -1;

    state->watches_collector = true;
    gc = PyImport_ImportModule("gc");
    callbacks = gc ? PyObject_GetAttrString(gc, "callbacks") : NULL;
    callback = callbacks && module
                   ? PyObject_GetAttrString(module, "_collector")
                   : NULL;
    if (callback && PyList_Check(callbacks))
        status = PyList_Append(callbacks, callback);
    else if (callback)
        PyErr_SetString(PyExc_RuntimeError,
                        "copool: gc.callbacks must be a list");
    state->watches_collector = status == 0;
    Py_XDECREF(callback);
    Py_XDECREF(callbacks);
    Py_XDECREF(gc);
    return status == 0;
}

static Bridge *
alloc(struct thread_record *t, PyObject *target)
{
    Bridge *self = t ? (Bridge *)free_faces_take(&t->free_bridges) : NULL;
    struct module_state *state = t ? t->state : state_get();
    struct label *label = NULL;

    if (CO_UNLIKELY(!state))
        return NULL;
    if (CO_UNLIKELY(!self)) {
        if (!state->watches_collector && !watch_collector(state))
            return NULL;
        self = (Bridge *)face_alloc(state->bridge_type, NULL,
                                    state->notes_makers, &label);
        if (!self)
            return NULL;
        tstate_shown_init(&self->shown, &self->ended);
    }
    self->label = label;
    self->link = &state->bridges;
    self->next = state->bridges;
    if (self->next)
        self->next->link = &self->next;
    state->bridges = self;
    self->target = Py_NewRef(target);
    self->args = self->names = self->weakrefs = self->task = NULL;
    self->sent = self->awaited = NULL;
    self->stack_end = NULL;
    self->strand = self->top = NULL;
    outlook_init(&self->outlook);
    self->atomic = 0;
    self->state = CREATED;
    self->drives = self->finalized = false;
    self->ending = NOT_ENDING;
    tstate_show(&self->shown, NULL);
    return self;
}

int
bridge_traverse(PyObject *op, visitproc visit, void *arg)
{
    Bridge *self = (Bridge *)op;

    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->target);
    Py_VISIT(self->args);
    if (!self->top)
        return 0;
    Py_VISIT(self->awaited);
    return strand_traverse(self->strand,
                           self->top == self->strand ? self->stack_end : NULL,
                           visit, arg);
}

int
bridge_is_gc(PyObject *op)
{
    const Bridge *self = (const Bridge *)op;

    return face_is_gc(self->finalized, self->strand);
}

/* The frames of a suspended chain are freed by unwinding it, in tp_finalize.
 * The chain may be using the others until then. */
int
bridge_clear(PyObject *op)
{
    Bridge *self = (Bridge *)op;

    if (!self->strand) {
        Py_CLEAR(self->target);
        Py_CLEAR(self->args);
        self->state = FINISHED;
        tstate_shown_clear(&self->shown);
    }
    return 0;
}

/* The lines of its cr_origin, as in the warning of a coroutine: a new
 * reference. NULL with an exception set. */
static PyObject *
origin_text(PyObject *origin)
{
    Py_ssize_t n = PyTuple_GET_SIZE(origin);
    PyObject *list = PyList_New(0), *lines = NULL, *empty, *text = NULL;
    PyObject *traceback = list ? PyImport_ImportModule("traceback") : NULL;

    for (Py_ssize_t i = n; traceback && i-- > 0;) {
        PyObject *call = PyTuple_GET_ITEM(origin, i);
        PyObject *entry = Py_BuildValue(
            "OOOO", PyTuple_GET_ITEM(call, 0), PyTuple_GET_ITEM(call, 1),
            PyTuple_GET_ITEM(call, 2), Py_None); /* it finds the text itself */

        if (!entry || PyList_Append(list, entry) < 0)
            Py_CLEAR(traceback);
        Py_XDECREF(entry);
    }
    if (traceback)
        lines = PyObject_CallMethod(traceback, "format_list", "O", list);
    empty = lines ? PyUnicode_FromString("") : NULL;
    if (empty)
        text = PyUnicode_Join(empty, lines);
    Py_XDECREF(list);
    Py_XDECREF(lines);
    Py_XDECREF(empty);
    Py_XDECREF(traceback);
    return text;
}

static void
warn_unawaited(Bridge *self)
{
    PyObject *origin = self->label ? self->label->origin : NULL;
    PyObject *text = origin ? origin_text(origin) : PyUnicode_FromString("");
    const char *made =
        origin ? "\nCoroutine created at (most recent call last)\n" : "";

    if (!text || PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                                  "run_sync() of %R was never awaited%s%U",
                                  self->target, made, text) < 0)
        PyErr_WriteUnraisable((PyObject *)self);
    Py_XDECREF(text);
}

void
bridge_finalize(PyObject *op)
{
    Bridge *self = (Bridge *)op;
    struct strand *s = self->strand;
    struct error saved;

    self->finalized = true;
    if (self->state == CREATED && !self->drives) {
        error_take(&saved);
        warn_unawaited(self);
        error_restore(&saved);
    } else if (s && self->state == SUSPENDED) {
        face_end(op, s);
    }
}

void
bridge_dealloc(PyObject *op)
{
    Bridge *self = (Bridge *)op;
    struct thread_record *t = thread_record_last;

    bridge_assert_consistent(self);
    if (CO_UNLIKELY(self->state == CREATED || self->top) &&
        PyObject_CallFinalizerFromDealloc(op) < 0)
        return;
    face_untrack(op, self->weakrefs, &self->outlook);
    Py_CLEAR(self->target);
    Py_CLEAR(self->args);
    Py_CLEAR(self->names);
    Py_CLEAR(self->task);
    tstate_shown_clear(&self->shown);
    if (CO_UNLIKELY(self->label != NULL))
        label_free(&self->label);
    *self->link = self->next;
    if (self->next)
        self->next->link = self->link;
    if (!t || !face_keep(&t->free_bridges, op, self->finalized))
        face_free(op);
}

/* --- functions of the module -------------------------------------------- */

static PyObject *
core_run_sync(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
              PyObject *names)
{
    struct thread_record *t;
    Bridge *self;
    Py_ssize_t n;

    if (CO_UNLIKELY(!thread_record_try(&t)))
        return NULL;
    if (CO_UNLIKELY(nargs < 1)) {
        PyErr_SetString(PyExc_TypeError,
                        "run_sync() needs the function to call");
        return NULL;
    }
    if (CO_UNLIKELY(!Py_TYPE(args[0])->tp_call)) {
        PyErr_Format(PyExc_TypeError,
                     "run_sync() needs a callable, not %.200s; pass the "
                     "function itself and then its arguments",
                     Py_TYPE(args[0])->tp_name);
        return NULL;
    }
    self = alloc(t, args[0]);
    if (CO_UNLIKELY(!self))
        return NULL;
    n = nargs - 1 + (names ? PyTuple_GET_SIZE(names) : 0);
    if (n) {
        self->args = PyTuple_New(n);
        if (CO_UNLIKELY(!self->args)) {
            self->state = FINISHED;
            Py_DECREF(self);
            return NULL;
        }
        for (Py_ssize_t i = 0; i < n; i++)
            PyTuple_SET_ITEM(self->args, i, Py_NewRef(args[1 + i]));
        self->names = Py_XNewRef(names);
    }
    if (CO_UNLIKELY(t && t->ts->coroutine_origin_tracking_depth > 0) &&
        !label_note_origin(&self->label,
                           t->ts->coroutine_origin_tracking_depth)) {
        self->state = FINISHED;
        Py_DECREF(self);
        return NULL;
    }
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static PyObject *
core_bridge(PyObject *module, PyObject *coroutine)
{
    const struct module_state *state = PyModule_GetState(module);
    struct thread_record *t;
    Bridge *self;

    if (CO_UNLIKELY(!thread_record_try(&t)))
        return NULL;
    if (Py_IS_TYPE(coroutine, state->bridge_type))
        return Py_NewRef(coroutine);
    if (CO_UNLIKELY(!PyCoro_CheckExact(coroutine) &&
                    !PyObject_HasAttrString(coroutine, "send"))) {
        PyErr_Format(PyExc_TypeError,
                     "bridge() needs a coroutine, not %.200s; a plain function "
                     "is called by run_sync()",
                     Py_TYPE(coroutine)->tp_name);
        return NULL;
    }
    self = alloc(t, coroutine);
    if (CO_UNLIKELY(!self))
        return NULL;
    self->drives = true;
    bridge_show_target(self);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static PyMethodDef functions[] = {
    {"run_sync", _PyCFunction_CAST(core_run_sync),
     METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("run_sync($module, fn, /, *args, **kwargs)\n--\n\n"
               "An awaitable that calls fn, below which await_() works.")},
    {"_collector", _PyCFunction_CAST(core_collector), METH_FASTCALL, NULL},
    {"bridge", core_bridge, METH_O,
     PyDoc_STR("bridge($module, coroutine, /)\n--\n\n"
               "A coroutine that drives another one, below which await_() "
               "works.\n\n"
               "For tasks that are not made by a loop with install().")},
    {NULL, NULL, 0, NULL},
};

int
bridge_life_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
