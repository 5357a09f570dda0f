/* SPDX-License-Identifier: MIT
 *
 * The type copool.aio.Bridge.
 */
#include "bridge/bridge.h"

#include <stddef.h>
#include <structmember.h>

#include "bridge/attributes.h"
#include "bridge/call_graph.h"
#include "bridge/life.h"
#include "bridge/protocol.h"
#include "process/state.h"

/* --- the type ----------------------------------------------------------- */

/* As of a coroutine. Else the type's name would be the one that it bears for
 * tools (call_graph.c). */
static PyObject *
bridge_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyErr_Format(PyExc_TypeError,
                        "cannot pickle or copy %R: it is a call under way", op);
}

static PyMethodDef methods[] = {
    {"send", bridge_send_method, METH_O,
     PyDoc_STR("send($self, value, /)\n--\n\n"
               "Go on with value; return what is awaited next.")},
    {"throw", _PyCFunction_CAST(bridge_throw), METH_FASTCALL,
     PyDoc_STR("throw($self, exc, value=None, traceback=None, /)\n--\n\n"
               "Raise exc where it waits; return what is awaited next.")},
    {"close", bridge_close, METH_NOARGS,
     PyDoc_STR("close($self, /)\n--\n\n"
               "End it by raising GeneratorExit in it.")},
    {"__reduce__", bridge_reduce, METH_NOARGS,
     PyDoc_STR("Raise TypeError: it can't be pickled or copied.")},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,
     PyDoc_STR("Bridge[T] is one whose result is a T, for type checkers.")},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Bridge, weakrefs), READONLY,
     NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc,
     PyDoc_STR("A call, or a coroutine, below which await_() works.\n\n"
               "Made by run_sync(); awaited like a coroutine.")},
    {Py_tp_dealloc, bridge_dealloc},
    {Py_tp_finalize, bridge_finalize},
    {Py_tp_is_gc, bridge_is_gc},
    {Py_tp_traverse, bridge_traverse},
    {Py_tp_clear, bridge_clear},
    {Py_tp_repr, bridge_repr},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, bridge_iternext},
    {Py_am_await, bridge_await},
    {Py_am_send, bridge_send},
    {Py_tp_methods, methods},
    {Py_tp_getset, bridge_getset},
    {Py_tp_members, members},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "copool.aio.Bridge",
    .basicsize = sizeof(Bridge),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

/* The task is one whose name is found. */
static PyObject *
core_driven_by(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *task;
    Bridge *self;

    if (nargs != 2 || Py_TYPE(args[0])->tp_dealloc != bridge_dealloc) {
        PyErr_SetString(PyExc_TypeError,
                        "_driven_by() takes a Bridge and its task");
        return NULL;
    }
    self = (Bridge *)args[0];
    task = PyWeakref_NewRef(args[1], NULL);
    if (!task)
        return NULL;
    Py_XSETREF(self->task, task);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_driven_by", _PyCFunction_CAST(core_driven_by), METH_FASTCALL,
     PyDoc_STR("_driven_by($module, bridge, task, /)\n--\n\n"
               "Have the task's name shown in dumps.")},
    {NULL, NULL, 0, NULL},
};

int
bridge_init(PyObject *module, struct module_state *state)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);

    if (!type)
        return -1;
    state->bridge_type = call_graph_type((PyTypeObject *)type);
    if (!state->bridge_type ||
        PyModule_AddObjectRef(module, "Bridge",
                              (PyObject *)state->bridge_type) < 0 ||
        PyModule_AddObjectRef(module, "BridgeType",
                              (PyObject *)Py_TYPE(state->bridge_type)) < 0)
        return -1;
    if (bridge_await_init(module) < 0 || bridge_life_init(module) < 0)
        return -1;
    return PyModule_AddFunctions(module, functions);
}
