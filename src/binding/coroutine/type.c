/* SPDX-License-Identifier: MIT
 *
 * The type copool.Coroutine, and what the module has of coroutines.
 */
#include "coroutine/switch.h"

#include <stddef.h>
#include <structmember.h>

#include "cpython/frames.h"
#include "face/life.h"
#include "process/state.h"
#include "python/args.h"

/* --- attributes --------------------------------------------------------- */

static const char *
state_name(const Coroutine *self)
{
    switch (self->state) {
    case CREATED:
        return "created";
    case ENTERED:
        return self->strand->thread->current == self->strand ? "running"
                                                             : "waiting";
    case SUSPENDED:
        return "suspended";
    case FINISHED:
        break;
    }
    return "finished";
}

/* The coroutine whose strand this is, or None. */
static PyObject *
face_of(const struct strand *s)
{
    return Py_NewRef(s && coroutine_is(s) ? s->face : Py_None);
}

static PyObject *
get_state(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_InternFromString(state_name((Coroutine *)op));
}

static PyObject *
get_done(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((Coroutine *)op)->state == FINISHED);
}

static PyObject *
get_caller(PyObject *op, void *Py_UNUSED(closure))
{
    Coroutine *self = (Coroutine *)op;
    struct strand *caller = self->strand ? self->strand->caller : NULL;

    return face_of(caller);
}

static PyObject *
get_frame(PyObject *op, void *Py_UNUSED(closure))
{
    struct strand *s = ((Coroutine *)op)->strand;
    PyFrameObject *frame;

    if (!s)
        Py_RETURN_NONE;
    if (s == s->thread->current)
        frame = tstate_running_frame(s->thread->ts, &s->root);
    else
        frame = tstate_frame(&s->slice, &s->root);
    if (!frame && !PyErr_Occurred())
        Py_RETURN_NONE;
    return (PyObject *)frame;
}

/* What the function is called: a new reference. May run Python code. */
static PyObject *
function_name(const Coroutine *self)
{
    PyObject *fn = Py_NewRef(self->fn), *name; /* that may end the coroutine */

    name = PyObject_GetAttrString(fn, "__qualname__");
    if (!name) {
        PyErr_Clear();
        name = PyObject_Repr(fn);
    }
    Py_DECREF(fn);
    return name;
}

static PyObject *
given_name(const Coroutine *self)
{
    return self->label ? self->label->name : NULL;
}

/* None is what has finished and was given none. */
static PyObject *
get_name(PyObject *op, void *Py_UNUSED(closure))
{
    const Coroutine *self = (const Coroutine *)op;
    PyObject *given = given_name(self);

    if (given || !self->fn)
        return Py_NewRef(given ? given : Py_None);
    return function_name(self);
}

static PyObject *
coroutine_repr(PyObject *op)
{
    Coroutine *self = (Coroutine *)op;
    PyObject *given, *name = NULL, *text;

    if (self->fn && !(name = function_name(self)))
        return NULL;
    given = Py_XNewRef(given_name(self));
    if (name && given)
        text = PyUnicode_FromFormat("<copool.Coroutine %R of %S, %s, at %p>",
                                    given, name, state_name(self), self);
    else if (name)
        text = PyUnicode_FromFormat("<copool.Coroutine of %S, %s, at %p>", name,
                                    state_name(self), self);
    else if (given)
        text = PyUnicode_FromFormat("<copool.Coroutine %R, %s, at %p>", given,
                                    state_name(self), self);
    else
        text = PyUnicode_FromFormat("<copool.Coroutine, %s, at %p>",
                                    state_name(self), self);
    Py_XDECREF(name);
    Py_XDECREF(given);
    return text;
}

/* --- life --------------------------------------------------------------- */

static PyObject *
raise_bad_name(PyObject *name)
{
    return PyErr_Format(PyExc_TypeError, "name must be a str, not %.200s",
                        name ? Py_TYPE(name)->tp_name : "nothing");
}

static int
set_name(PyObject *op, PyObject *name, void *Py_UNUSED(closure))
{
    if (name && PyUnicode_Check(name))
        return label_set_name(&((Coroutine *)op)->label, name) ? 0 : -1;
    (void)raise_bad_name(name);
    return -1;
}

/* Makes what the constructor was given for `context` what a Coroutine keeps.
 * False with an exception set. */
static bool
convert_context(PyObject **context)
{
    if (PyContext_CheckExact(*context))
        return true;
    if (*context == Py_None) {
        *context = NULL;
        return true;
    }
    if (PyUnicode_Check(*context) &&
        PyUnicode_CompareWithASCIIString(*context, "shared") == 0) {
        *context = Py_None;
        return true;
    }
    PyErr_Format(PyExc_TypeError,
                 "context must be a contextvars.Context, \"shared\" or None, "
                 "not %R",
                 *context);
    return false;
}

static PyObject *
make(PyTypeObject *type, PyObject *fn, PyObject *context, PyObject *name)
{
    struct thread_record *t = thread_record_last;
    struct label *label = NULL;
    Coroutine *self = NULL;

    if (CO_UNLIKELY(!Py_TYPE(fn)->tp_call)) {
        PyErr_Format(PyExc_TypeError,
                     "Coroutine() needs a callable, not %.200s; pass the "
                     "function itself, its arguments go to the first enter()",
                     Py_TYPE(fn)->tp_name);
        return NULL;
    }
    if (CO_UNLIKELY(context && !convert_context(&context)))
        return NULL;
    if (CO_UNLIKELY(name == Py_None))
        name = NULL;
    if (CO_UNLIKELY(name && !PyUnicode_Check(name)))
        return raise_bad_name(name);
    /* The record may be that of another thread state in this thread, but not of
     * another interpreter's. */
    if (CO_LIKELY(t && t->free_coroutines.type == type && !name))
        self = (Coroutine *)free_faces_take(&t->free_coroutines);
    if (CO_UNLIKELY(!self)) {
        const struct module_state *state = PyType_GetModuleState(type);

        self = (Coroutine *)face_alloc(type, name, state->notes_makers, &label);
        if (!self)
            return NULL;
        self->ending = NOT_ENDING;
    }
    self->fn = Py_NewRef(fn);
    self->context = Py_XNewRef(context);
    self->weakrefs = NULL;
    self->strand = NULL;
    self->label = label;
    self->state = CREATED;
    self->finalized = false;
    outlook_init(&self->outlook);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static PyObject *
coroutine_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"", "context", "name", NULL};
    PyObject *fn, *context = NULL, *name = NULL;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$OO:Coroutine", names,
                                     &fn, &context, &name))
        return NULL;
    return make(type, fn, context, name);
}

/* The usual call, without a tuple; everything else is parsed above. */
static PyObject *
coroutine_vectorcall(PyObject *type, PyObject *const *args, size_t nargsf,
                     PyObject *names)
{
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    PyObject *tuple, *kwargs, *result;

    if (CO_LIKELY(nargs == 1 && !names))
        return make((PyTypeObject *)type, args[0], NULL, NULL);
    if (!args_pack(args, nargs, names, &tuple, &kwargs))
        return NULL;
    result = coroutine_new((PyTypeObject *)type, tuple, kwargs);
    Py_DECREF(tuple);
    Py_XDECREF(kwargs);
    return result;
}

static int
coroutine_traverse(PyObject *op, visitproc visit, void *arg)
{
    Coroutine *self = (Coroutine *)op;

    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->fn);
    Py_VISIT(self->context);
    if (self->state == SUSPENDED)
        return strand_traverse(self->strand, NULL, visit, arg);
    return 0;
}

static int
coroutine_is_gc(PyObject *op)
{
    const Coroutine *self = (const Coroutine *)op;

    return face_is_gc(self->finalized, self->strand);
}

/* The frames of a suspended chain are freed by unwinding it, in
 * tp_finalize. The chain may be using fn until then. */
static int
coroutine_clear(PyObject *op)
{
    Coroutine *self = (Coroutine *)op;

    Py_CLEAR(self->context);
    if (!self->strand)
        Py_CLEAR(self->fn);
    return 0;
}

static void
coroutine_finalize(PyObject *op)
{
    Coroutine *self = (Coroutine *)op;

    self->finalized = true;
    if (self->state == SUSPENDED)
        face_end(op, self->strand);
}

static void
coroutine_dealloc(PyObject *op)
{
    Coroutine *self = (Coroutine *)op;
    struct thread_record *t = thread_record_last;

    coroutine_assert_consistent(self);
    if (CO_UNLIKELY(self->state == SUSPENDED) &&
        PyObject_CallFinalizerFromDealloc(op) < 0)
        return;
    face_untrack(op, self->weakrefs, &self->outlook);
    Py_CLEAR(self->fn);
    Py_CLEAR(self->context);
    if (CO_UNLIKELY(self->label != NULL))
        label_free(&self->label);
    if (!t || !face_keep(&t->free_coroutines, op, self->finalized))
        face_free(op);
}

/* --- functions of the module -------------------------------------------- */

static PyObject *
core_current(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct thread_record *t;

    if (!thread_record_try(&t))
        return NULL;
    return face_of(t ? t->current : NULL);
}

static PyObject *
core_in_coroutine(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct thread_record *t;

    if (!thread_record_try(&t))
        return NULL;
    return PyBool_FromLong(t && t->current->ops == &coroutine_ops);
}

/* For the end of the process, while everything can still run. */
static PyObject *
core_unwind_all(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct thread_record *t = thread_record_peek();

    if (!t && PyErr_Occurred())
        return NULL;
    if (t)
        strand_unwind_all(t);
    Py_RETURN_NONE;
}

/* --- the type ----------------------------------------------------------- */

/* The signatures and contracts are in _core.pyi and the documentation; these
 * are what help() shows. */
static PyMethodDef methods[] = {
    {"enter", _PyCFunction_CAST(coroutine_enter), METH_FASTCALL,
     PyDoc_STR("enter($self, /, *args)\n--\n\n"
               "Run the coroutine until it yields or returns; return that "
               "value.\n\n"
               "The arguments of the first call go to the function, that of a "
               "later\none is what yield_() returns inside.")},
    {"throw", coroutine_throw, METH_O,
     PyDoc_STR("throw($self, exc, /)\n--\n\n"
               "Raise exc where the coroutine is suspended; else like "
               "enter().")},
    {"close", coroutine_close, METH_NOARGS,
     PyDoc_STR("close($self, /)\n--\n\n"
               "End the coroutine by raising CoroutineExit in it; return what "
               "it returns.")},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,
     PyDoc_STR("Coroutine[T] is one that yields a T, for type checkers.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef getset[] = {
    {"state", get_state, NULL,
     PyDoc_STR("'created', 'running', 'waiting', 'suspended' or 'finished'."),
     NULL},
    {"done", get_done, NULL, PyDoc_STR("Whether it has finished."), NULL},
    {"caller", get_caller, NULL,
     PyDoc_STR("The coroutine that entered this one, or None."), NULL},
    {"frame", get_frame, NULL,
     PyDoc_STR("Its innermost Python frame, or None."), NULL},
    {"name", get_name, set_name,
     PyDoc_STR("The name that it was given, or that of its function."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Coroutine, weakrefs), READONLY,
     NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc,
     PyDoc_STR("Coroutine(fn, /, *, context=None, name=None)\n--\n\n"
               "A call of fn that can stop, at any depth, and go on later.\n\n"
               "It runs in the context that is given, or in a copy of that of "
               "who first\nenters it; with context='shared' in that itself, "
               "so that what it sets is\nseen there.")},
    {Py_tp_new, coroutine_new},
    {Py_tp_dealloc, coroutine_dealloc},
    {Py_tp_finalize, coroutine_finalize},
    {Py_tp_is_gc, coroutine_is_gc},
    {Py_tp_traverse, coroutine_traverse},
    {Py_tp_clear, coroutine_clear},
    {Py_tp_repr, coroutine_repr},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, coroutine_iternext},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {Py_tp_members, members},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "copool.Coroutine",
    .basicsize = sizeof(Coroutine),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

static PyMethodDef functions[] = {
    {"yield_", _PyCFunction_CAST(core_yield), METH_FASTCALL,
     PyDoc_STR("yield_($module, value=None, /)\n--\n\n"
               "Stop the running coroutine: its enter() returns value.\n\n"
               "Return what the next enter() passes, or raise what throw() "
               "does.")},
    {"current", core_current, METH_NOARGS,
     PyDoc_STR("current($module, /)\n--\n\n"
               "The running coroutine, or None outside one.")},
    {"in_coroutine", core_in_coroutine, METH_NOARGS,
     PyDoc_STR("in_coroutine($module, /)\n--\n\n"
               "Whether yield_() has somebody to yield to.")},
    {"_unwind_all", core_unwind_all, METH_NOARGS,
     PyDoc_STR("End this thread's suspended coroutines, as when it exits.")},
    {NULL, NULL, 0, NULL},
};

int
coroutine_init(PyObject *module, struct module_state *state)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);

    if (!type)
        return -1;
    state->coroutine_type = (PyTypeObject *)type;
    state->coroutine_type->tp_vectorcall = coroutine_vectorcall;
    if (PyModule_AddType(module, state->coroutine_type) < 0)
        return -1;
    return PyModule_AddFunctions(module, functions);
}
