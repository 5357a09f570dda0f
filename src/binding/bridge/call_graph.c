/* SPDX-License-Identifier: MIT */
#include "bridge/call_graph.h"

#include "cpython/frames.h"
#include "process/state.h"
#include "python/dict.h"

/* One that waits for something, both of which it steals. */
static PyObject *
record(struct module_state *state, PyFrameObject *frame, PyObject *awaited)
{
    PyObject *self = PyStructSequence_New(state->call_type);

    if (!self) {
        Py_DECREF(frame);
        Py_DECREF(awaited);
        return NULL;
    }
    PyStructSequence_SetItem(self, 0, (PyObject *)frame);
    PyStructSequence_SetItem(self, 1, awaited);
    PyStructSequence_SetItem(self, 2, (PyObject *)PyFrame_GetCode(frame));
    return self;
}

bool
call_graph_get(struct call_graph *graph, const Bridge *bridge)
{
    struct module_state *state = bridge->strand->thread->state;
    PyFrameObject *frame =
        tstate_frame(&bridge->top->slice, &bridge->strand->root);
    PyFrameObject *outer;

    graph->awaited = Py_NewRef(bridge->awaited);
    while (frame && graph->awaited && (outer = PyFrame_GetBack(frame))) {
        graph->awaited = record(state, frame, graph->awaited);
        frame = outer;
    }
    graph->outermost = frame;
    if (!PyErr_Occurred())
        return true;
    call_graph_clear(graph);
    return false;
}

void
call_graph_clear(struct call_graph *graph)
{
    Py_CLEAR(graph->outermost);
    Py_CLEAR(graph->awaited);
}

int
call_graph_is_stack(void)
{
    PyObject *modules = PyImport_GetModuleDict();
    PyObject *tasks = modules ? dict_find(modules, "asyncio.base_tasks") : NULL;
    PyObject *dict =
        tasks && PyModule_Check(tasks) ? PyModule_GetDict(tasks) : NULL;
    PyObject *function = dict ? dict_find(dict, "_task_get_stack") : NULL;
    PyFrameObject *asking = function ? PyEval_GetFrame() : NULL;
    PyCodeObject *code = asking ? PyFrame_GetCode(asking) : NULL;

    if (PyErr_Occurred()) {
        Py_XDECREF(code);
        return -1;
    }
    Py_XDECREF(code); /* which the frame keeps */
    return code && PyFunction_Check(function) &&
           PyFunction_GET_CODE(function) == (PyObject *)code;
}

/* --- the type ----------------------------------------------------------- */

/* The tools take only types that CPython itself has, which are not made at run
 * time, and tell these by their C names. So ours is made over into one that
 * bears such a name, in memory that is never freed, as is usual for them, and
 * in which it is this interpreter's alone. It has a type of its own, by which
 * Python code sees the true name. */

static PyObject *
get_text(PyObject *Py_UNUSED(type), void *text)
{
    return PyUnicode_FromString(text);
}

static PyObject *
type_repr(PyObject *type)
{
    return PyUnicode_FromString("<class 'copool.aio.Bridge'>");
}

static PyTypeObject *
make_metatype(void)
{
    static PyGetSetDef getset[] = {
        {"__name__", get_text, NULL, NULL, "Bridge"},
        {"__qualname__", get_text, NULL, NULL, "Bridge"},
        {"__module__", get_text, NULL, NULL, "copool.aio"},
        {NULL, NULL, NULL, NULL, NULL},
    };
    static PyType_Slot slots[] = {
        {Py_tp_base, &PyType_Type},
        {Py_tp_getset, getset},
        {Py_tp_repr, type_repr},
        {0, NULL},
    };
    static PyType_Spec spec = {
        .name = "copool._core.BridgeType",
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .slots = slots,
    };

    return (PyTypeObject *)PyType_FromSpec(&spec);
}

/* In an interpreter that ends it would be left over. The tools look at the main
 * one only. */
static bool
is_looked_at(void)
{
    return TSTATE_SHOWS_TASKS &&
           PyInterpreterState_Get() == PyInterpreterState_Main();
}

PyTypeObject *
call_graph_type(PyTypeObject *type)
{
    PyTypeObject *metatype, *self;

    if (!is_looked_at())
        return type;
    metatype = make_metatype();
    self = metatype ? PyMem_RawCalloc(1, sizeof *self) : NULL;
    if (!self) {
        if (metatype)
            PyErr_NoMemory();
        Py_XDECREF(metatype);
        Py_DECREF(type);
        return NULL;
    }
    *self = (PyTypeObject){
        PyVarObject_HEAD_INIT(NULL, 0).tp_name = "async_generator_asend",
        .tp_basicsize = type->tp_basicsize,
        .tp_dealloc = type->tp_dealloc,
        .tp_as_async = type->tp_as_async,
        .tp_repr = type->tp_repr,
        .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
                    Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .tp_doc = type->tp_doc,
        .tp_traverse = type->tp_traverse,
        .tp_clear = type->tp_clear,
        .tp_weaklistoffset = type->tp_weaklistoffset,
        .tp_iter = type->tp_iter,
        .tp_iternext = type->tp_iternext,
        .tp_methods = type->tp_methods,
        .tp_getset = type->tp_getset,
        .tp_is_gc = type->tp_is_gc,
        .tp_finalize = type->tp_finalize,
    };
    Py_SET_TYPE(self, metatype);
    /* It uses what the other one consists of, which stays. */
    return PyType_Ready(self) < 0 ? NULL : self;
}

/* --- the records -------------------------------------------------------- */

int
call_graph_init(PyObject *module, struct module_state *state)
{
    static PyStructSequence_Field fields[] = {
        {"cr_frame", "The frame."},
        {"cr_await", "What it waits for."},
        {"cr_code", "The code of the frame."},
        {NULL, NULL},
    };
    static PyStructSequence_Desc description = {
        "copool._core.Call",
        "A call in a chain that waits in await_(), for call graphs.", fields,
        3};

    state->call_type = PyStructSequence_NewType(&description);
    if (!state->call_type)
        return -1;
    return PyModule_AddType(module, state->call_type);
}
