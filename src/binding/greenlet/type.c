/* SPDX-License-Identifier: MIT */
#include "greenlet/type.h"

#include "cpython/frames.h"
#include "face/life.h"
#include "greenlet/switch.h"
#include "process/state.h"
#include "python/args.h"

/* --- life --------------------------------------------------------------- */

/* Its parent is the current greenlet, whatever the arguments are: __init__()
 * looks at these. */
static PyGreenlet *
make(PyTypeObject *type)
{
    struct thread_record *t = thread_record_enter();
    struct greenlet_thread *gt = t ? greenlet_thread_get(t) : NULL;
    PyGreenlet *self = gt ? greenlet_alloc(type) : NULL;

    if (CO_UNLIKELY(!self))
        return NULL;
    self->pimpl->parent = (PyGreenlet *)Py_NewRef(gt->current);
    if (CO_UNLIKELY(t->state->notes_makers) &&
        !label_make(&self->pimpl->label, NULL, true))
        Py_CLEAR(self);
    return self;
}

static PyObject *
greenlet_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    if (CO_UNLIKELY(PyType_HasFeature(type, Py_TPFLAGS_IS_ABSTRACT))) {
        /* object knows what to say of a class that can't have instances. */
        PyObject *tuple = PyTuple_New(0), *self;

        if (!tuple)
            return NULL;
        self = PyBaseObject_Type.tp_new(type, tuple, NULL);
        Py_DECREF(tuple);
        return self;
    }
    return (PyObject *)make(type);
}

static int set_run(PyObject *op, PyObject *run, void *closure);

static int
init(PyGreenlet *self, PyObject *run, PyObject *parent)
{
    if (run && set_run((PyObject *)self, run, NULL) < 0)
        return -1;
    if (parent && parent != Py_None)
        return greenlet_set_parent(self, parent);
    return 0;
}

/* The same for what is passed by position: two arguments at most. */
static inline int
init_with(PyGreenlet *self, PyObject *const *args, Py_ssize_t nargs)
{
    return init(self, nargs > 0 ? args[0] : NULL, nargs > 1 ? args[1] : NULL);
}

static int
greenlet_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"run", "parent", NULL};
    PyObject *run = NULL, *parent = NULL;
    Py_ssize_t nargs = PyTuple_GET_SIZE(args);

    /* gevent comes here with each spawn. To parse would take five times as long
     * as all else. */
    if (CO_LIKELY(nargs <= 2 && (!kwargs || PyDict_GET_SIZE(kwargs) == 0)))
        return init_with((PyGreenlet *)op, &PyTuple_GET_ITEM(args, 0), nargs);
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO:greenlet", names, &run,
                                     &parent))
        return -1;
    return init((PyGreenlet *)op, run, parent);
}

/* Of the type itself only; subclasses are called with a tuple, since they may
 * have an __init__() of their own. */
static PyObject *
greenlet_vectorcall(PyObject *type, PyObject *const *args, size_t nargsf,
                    PyObject *names)
{
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    PyObject *tuple, *kwargs;
    PyGreenlet *self;

    if (CO_LIKELY(nargs <= 2 && !names)) {
        self = make((PyTypeObject *)type);
        if (self && init_with(self, args, nargs) < 0)
            Py_CLEAR(self);
        return (PyObject *)self;
    }
    if (!args_pack(args, nargs, names, &tuple, &kwargs))
        return NULL;
    self = make((PyTypeObject *)type);
    if (self && greenlet_init((PyObject *)self, tuple, kwargs) < 0)
        Py_CLEAR(self);
    Py_DECREF(tuple);
    Py_XDECREF(kwargs);
    return (PyObject *)self;
}

static bool
is_suspended(const PyGreenlet *self)
{
    const struct greenlet *g = self->pimpl;

    return g && g->strand && !g->is_main && !greenlet_is_current(self);
}

static void greenlet_finalize(PyObject *op);

static int
greenlet_traverse(PyObject *op, visitproc visit, void *arg)
{
    PyGreenlet *self = (PyGreenlet *)op;

    Py_VISIT(self->dict);
    if (!self->pimpl)
        return 0;
    Py_VISIT(self->pimpl->parent);
    Py_VISIT(self->pimpl->run);
    Py_VISIT(self->pimpl->context);
    if (is_suspended(self))
        return strand_traverse(self->pimpl->strand, NULL, visit, arg);
    return 0;
}

/* The collector takes no notice of what this denies: it is never garbage, nor
 * is anything that it refers to. That is so for a suspended greenlet of which
 * tp_finalize will not raise the exit, since the collector calls that once for
 * an object, or not for a class that has its own. Once garbage is being cleared
 * no code that can see it may run. */
static int
greenlet_is_gc(PyObject *op)
{
    const struct greenlet *g = ((PyGreenlet *)op)->pimpl;

    return !g || !g->strand || g->is_main ||
           (!g->finalized && Py_TYPE(op)->tp_finalize == greenlet_finalize);
}

static void
greenlet_finalize(PyObject *op)
{
    PyGreenlet *self = (PyGreenlet *)op;

    if (!self->pimpl)
        return;
    self->pimpl->finalized = true;
    if (is_suspended(self) && !self->pimpl->strand->dropped)
        face_end((PyObject *)self, self->pimpl->strand);
}

/* The frames of a suspended chain are freed by unwinding it, in tp_finalize. If
 * that has not been done it is too late: other garbage may be cleared by now.
 */
static int
greenlet_clear(PyObject *op)
{
    PyGreenlet *self = (PyGreenlet *)op;
    struct greenlet *g = self->pimpl;

    if (!g)
        return 0;
    if (is_suspended(self))
        strand_abandon(g->strand);
    Py_CLEAR(self->dict);
    Py_CLEAR(g->parent);
    Py_CLEAR(g->run);
    Py_CLEAR(g->context);
    return 0;
}

/* Whether it is suspended and only the caller refers to it. */
static bool
is_left_over(const PyGreenlet *self)
{
    return is_suspended(self) && Py_REFCNT(self) == 1;
}

/* It has caught the exit and nobody refers to it. The warning may run anything,
 * after which that may not be so. */
static void
give_up(PyGreenlet *self)
{
    PyObject *type, *value, *traceback;

    PyErr_Fetch(&type, &value, &traceback);
    if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                         "GreenletExit did not kill %R: it caught that and "
                         "switched away, and its stack is leaked",
                         self) < 0)
        PyErr_WriteUnraisable((PyObject *)self);
    PyErr_Restore(type, value, traceback);
    if (is_left_over(self))
        strand_abandon(self->pimpl->strand);
}

/* Ends what is being deallocated, unless the dealloc of a subclass has just
 * done so by calling tp_finalize. False if somebody refers to it afterwards. */
static bool
end_unreferenced(PyGreenlet *self)
{
    struct greenlet *g = self->pimpl;
    Py_ssize_t others;

    Py_SET_REFCNT(self, 1);
    if (!g->left_over)
        face_end((PyObject *)self, self->pimpl->strand);
    if (is_left_over(self))
        give_up(self);
    g->left_over = false;
    others = Py_REFCNT(self) - 1;
#ifdef Py_TRACE_REFS
    if (others)
        _Py_NewReference((PyObject *)self);
#endif
    Py_SET_REFCNT(self, others);
    return !others;
}

/* Types derived in C call this for objects that they may have untracked. */
static void
greenlet_dealloc(PyObject *op)
{
    PyGreenlet *self = (PyGreenlet *)op;
    struct greenlet *g = self->pimpl;
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    if (g && CO_UNLIKELY(g->strand != NULL)) {
        PyObject_GC_Track(op);
        if (!end_unreferenced(self)) {
            /* The dealloc of a subclass, which called us, goes on to drop the
             * object's reference to its type. */
            if (PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE))
                Py_INCREF(type);
            return;
        }
        PyObject_GC_UnTrack(op);
    }
    if (self->weakrefs)
        PyObject_ClearWeakRefs(op);
    Py_CLEAR(self->dict);
    if (g) {
        greenlet_assert_consistent(self);
        outlook_assert_forgotten(&g->outlook);
        greenlet_mains -= g->is_main;
        Py_CLEAR(g->parent);
        Py_CLEAR(g->run);
        Py_CLEAR(g->context);
        Py_XDECREF(g->exit);
        label_free(&g->label);
        PyMem_Free(g);
    }
    type->tp_free(op);
}

/* --- methods ------------------------------------------------------------ */

static PyObject *
greenlet_switch(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                PyObject *names)
{
    struct strand_args a = {args, nargs, names};

    return greenlet_switch_to((PyGreenlet *)op, &a);
}

static PyObject *
greenlet_throw(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs > 3) {
        PyErr_Format(PyExc_TypeError,
                     "throw() takes at most 3 arguments (%zd given)", nargs);
        return NULL;
    }
    if (error_set_thrown(nargs > 0 ? args[0] : greenlet_exit,
                         nargs > 1 ? args[1] : NULL,
                         nargs > 2 ? args[2] : NULL) < 0)
        return NULL;
    return greenlet_throw_into((PyGreenlet *)op);
}

static PyObject *
greenlet_getstate(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyErr_Format(PyExc_TypeError,
                 "cannot serialize '%.200s' object: the stack of a call can't "
                 "leave its process",
                 Py_TYPE(op)->tp_name);
    return NULL;
}

/* --- attributes --------------------------------------------------------- */

static PyObject *
get_run(PyObject *op, void *Py_UNUSED(closure))
{
    struct greenlet *g = ((PyGreenlet *)op)->pimpl;

    if (g->is_main)
        PyErr_SetString(PyExc_AttributeError,
                        "Main greenlets do not have a run attribute.");
    else if (g->started)
        PyErr_SetString(PyExc_AttributeError,
                        "run: a greenlet that was started has none any more");
    else if (!g->run)
        PyErr_SetString(PyExc_AttributeError,
                        "run: the greenlet has nothing to run; pass it a "
                        "callable, or define run() in a subclass");
    else
        return Py_NewRef(g->run);
    return NULL;
}

static int
set_run(PyObject *op, PyObject *run, void *Py_UNUSED(closure))
{
    struct greenlet *g = ((PyGreenlet *)op)->pimpl;

    if (g->is_main) {
        PyErr_SetString(PyExc_AttributeError,
                        "Main greenlets do not have a run attribute.");
        return -1;
    }
    if (g->started) {
        PyErr_SetString(PyExc_AttributeError,
                        "run cannot be set after the start of the greenlet");
        return -1;
    }
    Py_XSETREF(g->run, Py_XNewRef(run));
    return 0;
}

int
greenlet_set_parent(PyGreenlet *self, PyObject *parent)
{
    if (self->pimpl->is_main) {
        PyErr_SetString(PyExc_AttributeError,
                        "cannot set the parent of a main greenlet");
        return -1;
    }
    if (!greenlet_check(parent)) {
        PyErr_Format(PyExc_TypeError,
                     "GreenletChecker: Expected any type of greenlet, not "
                     "%.200s",
                     Py_TYPE(parent)->tp_name);
        return -1;
    }
    if (greenlet_is_ancestor(self, (PyGreenlet *)parent)) {
        PyErr_SetString(PyExc_ValueError, "cyclic parent chain");
        return -1;
    }
    if (self->pimpl->started &&
        greenlet_home((PyGreenlet *)parent) != greenlet_home(self)) {
        PyErr_SetString(PyExc_ValueError,
                        "parent cannot be on a different thread");
        return -1;
    }
    Py_XSETREF(self->pimpl->parent, (PyGreenlet *)Py_NewRef(parent));
    return 0;
}

static PyObject *
get_parent(PyObject *op, void *Py_UNUSED(closure))
{
    PyGreenlet *parent = ((PyGreenlet *)op)->pimpl->parent;

    return Py_NewRef(parent ? (PyObject *)parent : Py_None);
}

static int
set_parent(PyObject *op, PyObject *parent, void *Py_UNUSED(closure))
{
    if (!parent) {
        PyErr_SetString(PyExc_AttributeError, "can't delete attribute");
        return -1;
    }
    return greenlet_set_parent((PyGreenlet *)op, parent);
}

static PyObject *
get_frame(PyObject *op, void *Py_UNUSED(closure))
{
    PyGreenlet *self = (PyGreenlet *)op;
    PyFrameObject *frame = NULL;

    if (greenlet_is_active(self) && !greenlet_is_current(self))
        frame =
            tstate_frame(&self->pimpl->top->slice, &self->pimpl->strand->root);
    if (!frame && !PyErr_Occurred())
        Py_RETURN_NONE;
    return (PyObject *)frame;
}

/* The strand whose slice or thread state has the context, or NULL if the
 * greenlet itself has it. Fails with an exception set for one that is running
 * in another thread: that thread is about to change it. */
static int
find_context(PyGreenlet *self, const char *verb, struct strand **found)
{
    struct strand *s = self->pimpl->strand;

    *found = s;
    if (s && s == s->thread->current && s->thread->ts != tstate_get()) {
        PyErr_Format(PyExc_ValueError,
                     "cannot %s context of a greenlet that is running in a "
                     "different thread",
                     verb);
        return -1;
    }
    return 0;
}

static PyObject *
get_context(PyObject *op, void *Py_UNUSED(closure))
{
    PyGreenlet *self = (PyGreenlet *)op;
    PyObject *context = self->pimpl->context;
    struct strand *s;

    if (find_context(self, "get", &s) < 0)
        return NULL;
    if (s)
        context =
            s == s->thread->current ? s->thread->ts->context : s->slice.context;
    return Py_NewRef(context ? context : Py_None);
}

static int
set_context(PyObject *op, PyObject *context, void *Py_UNUSED(closure))
{
    PyGreenlet *self = (PyGreenlet *)op;
    PyObject *before;
    struct strand *s;

    if (!context) {
        PyErr_SetString(PyExc_AttributeError, "can't delete context attribute");
        return -1;
    }
    if (context == Py_None) {
        context = NULL;
    } else if (!PyContext_CheckExact(context)) {
        PyErr_Format(PyExc_TypeError,
                     "greenlet context must be a contextvars.Context or None, "
                     "not %.200s",
                     Py_TYPE(context)->tp_name);
        return -1;
    }
    if (find_context(self, "set", &s) < 0)
        return -1;
    Py_XINCREF(context);
    if (!s) {
        before = self->pimpl->context;
        self->pimpl->context = context;
    } else if (s == s->thread->current) {
        before = tstate_swap_context(s->thread->ts, context);
    } else {
        before = s->slice.context;
        s->slice.context = context;
    }
    Py_XDECREF(before);
    return 0;
}

static PyObject *
get_dead(PyObject *op, void *Py_UNUSED(closure))
{
    struct greenlet *g = ((PyGreenlet *)op)->pimpl;

    return PyBool_FromLong(g->started && !g->strand);
}

/* Where greenlet has the bytes that it copied off the stack, this has those
 * that the suspended calls take on theirs. */
static PyObject *
get_stack_saved(PyObject *op, void *Py_UNUSED(closure))
{
    PyGreenlet *self = (PyGreenlet *)op;
    struct strand *s = self->pimpl->strand;
    char *top, *low;

    if (!s || greenlet_is_current(self))
        return PyLong_FromLong(0);
    if (self->pimpl->is_main) {
        top = os_stack_top(s->thread->ident);
        low = ctx_stack_pointer(&s->ctx);
    } else {
        top = block_stack_top(&s->block);
        low = strand_stack_pointer(s);
    }
    return PyLong_FromSsize_t(top && low ? top - low : 0);
}

static PyObject *
greenlet_repr(PyObject *op)
{
    PyGreenlet *self = (PyGreenlet *)op;
    struct greenlet *g = self->pimpl;
    struct thread_record *home = greenlet_home(self);
    const char *name = Py_TYPE(op)->tp_name;
    void *id = g->started ? home : NULL;
    bool current;

    if (!g->strand)
        return PyUnicode_FromFormat(
            "<%s object at %p (otid=%p) %s%s>", name, op, id,
            g->started && !home ? "(thread exited) " : "",
            g->started ? "dead" : "pending");
    current = greenlet_is_current(self) && home->ts == tstate_get();
    return PyUnicode_FromFormat(
        "<%s object at %p (otid=%p) %s active started%s>", name, op, id,
        current ? "current" : "suspended", g->is_main ? " main" : "");
}

static int
greenlet_bool(PyObject *op)
{
    return greenlet_is_active((PyGreenlet *)op);
}

/* --- the type ----------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"switch", _PyCFunction_CAST(greenlet_switch),
     METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("switch(*args, **kwargs)\n\n"
               "Go on in this greenlet: start its run(*args, **kwargs), or "
               "let the switch()\nin which it is suspended return them. A "
               "dead greenlet passes them on to its\nparent.\n\n"
               "Return what is passed to the switch that comes back: the "
               "argument if there\nis one, a tuple of several, a dict of "
               "keyword arguments, or a tuple of both.")},
    {"throw", _PyCFunction_CAST(greenlet_throw), METH_FASTCALL,
     PyDoc_STR("throw(type=GreenletExit, value=None, traceback=None)\n\n"
               "Go on in this greenlet by raising an exception where it is "
               "suspended.\n\n"
               "A dead greenlet passes it on to its parent; GreenletExit it "
               "passes on as a\nvalue.")},
    {"__getstate__", greenlet_getstate, METH_NOARGS,
     PyDoc_STR("Raise TypeError: a greenlet can't be pickled or copied.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {"run", get_run, set_run,
     PyDoc_STR("What it will call; gone once it has been started."), NULL},
    {"parent", get_parent, set_parent,
     PyDoc_STR("The greenlet that goes on when this one ends; None for a main "
               "greenlet."),
     NULL},
    {"gr_frame", get_frame, NULL,
     PyDoc_STR("The innermost frame while it is suspended, else None."), NULL},
    {"gr_context", get_context, set_context,
     PyDoc_STR("The contextvars.Context that it runs in, or None."), NULL},
    {"dead", get_dead, NULL,
     PyDoc_STR("Whether it has ended, or its thread has."), NULL},
    {"_stack_saved", get_stack_saved, NULL,
     PyDoc_STR("Bytes of stack that its suspended calls take."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyNumberMethods as_number = {
    .nb_bool = greenlet_bool,
};

int
greenlet_type_ready(void)
{
    greenlet_type.tp_doc =
        PyDoc_STR("greenlet(run=None, parent=None)\n\n"
                  "A call of run that can stop, at any depth, and go on later; "
                  "whoever\nstops chooses who goes on.\n\n"
                  "When it ends, its parent goes on: the greenlet that made "
                  "it if none is given.");
    greenlet_type.tp_new = greenlet_new;
    greenlet_type.tp_init = greenlet_init;
    greenlet_type.tp_vectorcall = greenlet_vectorcall;
    greenlet_type.tp_dealloc = greenlet_dealloc;
    greenlet_type.tp_finalize = greenlet_finalize;
    greenlet_type.tp_is_gc = greenlet_is_gc;
    greenlet_type.tp_traverse = greenlet_traverse;
    greenlet_type.tp_clear = greenlet_clear;
    greenlet_type.tp_repr = greenlet_repr;
    greenlet_type.tp_as_number = &as_number;
    greenlet_type.tp_methods = methods;
    greenlet_type.tp_getset = getset;
    return PyType_Ready(&greenlet_type);
}
