/* SPDX-License-Identifier: MIT
 *
 * The extension module copool._core: its exceptions and its life.
 */
#include "bridge/call_graph.h"
#include "coroutine/coroutine.h"
#include "cpython/know.h"
#include "cpython/limits.h"
#include "greenlet/greenlet.h"
#include "look/layout.h"
#include "look/look.h"
#include "process/overflow.h"
#include "process/state.h"
#include "strand/guard.h"
#include "strand/memory.h"
#include "strand/thread.h"
#include "strand/thread_stack.h"
#include "tell/profile.h"
#include "tell/tell.h"

static int
add_exceptions(PyObject *module, struct module_state *state)
{
    const struct {
        PyObject **place;
        const char *name, *doc;
        PyObject *base;
    } all[] = {
        {&state->coroutine_error, "copool.CoroutineError",
         "A coroutine was used in a way that its state does not allow.",
         PyExc_RuntimeError},
        {&state->coroutine_exit, "copool.CoroutineExit",
         "Raised in a suspended coroutine to end it.", PyExc_BaseException},
        {&state->pool_exhausted, "copool.PoolExhausted",
         "There is no stack for another coroutine.", PyExc_MemoryError},
    };

    for (size_t i = 0; i < Py_ARRAY_LENGTH(all); i++) {
        PyObject *type = PyErr_NewExceptionWithDoc(all[i].name, all[i].doc,
                                                   all[i].base, NULL);

        if (!type)
            return -1;
        *all[i].place = type;
        if (PyModule_AddObjectRef(module, strchr(all[i].name, '.') + 1, type) <
            0)
            return -1;
    }
    return 0;
}

/* atexit.register(), a new reference. NULL with an exception set. */
static PyObject *
find_register(void)
{
    PyObject *atexit = PyImport_ImportModule("atexit");
    PyObject *found =
        atexit ? PyObject_GetAttrString(atexit, "register") : NULL;

    Py_XDECREF(atexit);
    return found;
}

/* So that `finally` blocks of suspended coroutines run while everything is
 * still there. */
static int
unwind_at_exit(PyObject *module, PyObject *at_exit)
{
    PyObject *unwind = PyObject_GetAttrString(module, "_unwind_all");
    PyObject *result = unwind ? PyObject_CallOneArg(at_exit, unwind) : NULL;

    Py_XDECREF(unwind);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* A call that is counted would be one deeper than its caller is, and the limit
 * has to be above that. */
static PyObject *
call_uncounted(PyObject *function, PyObject *arg)
{
    if (!PyCFunction_Check(function) ||
        PyCFunction_GET_FLAGS(function) != METH_O)
        return PyObject_CallOneArg(function, arg); /* another library's */
    return PyCFunction_GET_FUNCTION(function)(PyCFunction_GET_SELF(function),
                                              arg);
}

static PyObject *
set_recursion_limit(PyObject *original, PyObject *limit)
{
    PyObject *number = PyNumber_Index(limit); /* may run Python code */
    PyObject *result;

    if (!number)
        return NULL;
    strand_hide_limits(false);
    result = call_uncounted(original, number);
    strand_hide_limits(true);
    Py_DECREF(number);
    return result;
}

/* Puts the above in the place of sys.setrecursionlimit(), where that needs
 * to know of coroutines. */
static int
replace_limit_setter(void)
{
    static PyMethodDef method = {
        "setrecursionlimit", set_recursion_limit, METH_O,
        PyDoc_STR("setrecursionlimit($module, limit, /)\n--\n\n"
                  "Set how deep calls may be; in a coroutine also by its "
                  "stack.")};
    PyObject *original = PySys_GetObject(method.ml_name);
    PyObject *name, *ours;
    int status = -1;

    if (!TSTATE_HIDES_LIMIT || !original)
        return 0;
    name = PyUnicode_FromString("sys");
    ours = name ? PyCFunction_NewEx(&method, original, name) : NULL;
    if (ours)
        status = PySys_SetObject(method.ml_name, ours);
    Py_XDECREF(ours);
    Py_XDECREF(name);
    return status;
}

/* A program may drop the module and import it again. What threads and
 * coroutines refer to is the first one's: there is one set of types in an
 * interpreter, and the second module is another door to it. */
static int
share(PyObject *module, PyObject *first)
{
    struct module_state *state = PyModule_GetState(module);

    *state = *(struct module_state *)PyModule_GetState(first);
    Py_INCREF(state->coroutine_type);
    Py_INCREF(state->bridge_type);
    Py_INCREF(state->call_type);
    Py_INCREF(state->coroutine_error);
    Py_INCREF(state->coroutine_exit);
    Py_INCREF(state->pool_exhausted);
    Py_INCREF(state->no_values);
    return PyDict_Merge(PyModule_GetDict(module), PyModule_GetDict(first), 0);
}

static int
fill(PyObject *module, PyObject *at_exit)
{
    struct module_state *state = PyModule_GetState(module);

    state->no_values = tstate_no_values();
    if (!state->no_values || add_exceptions(module, state) < 0 ||
        coroutine_init(module, state) < 0 || bridge_init(module, state) < 0 ||
        call_graph_init(module, state) < 0 ||
        blocks_init(module, sizeof(struct strand), strand_look) < 0 ||
        profile_init(module) < 0 || greenlet_module_init(module, state) < 0 ||
        overflow_init(module, strand_guard_report) < 0 ||
        tell_init(module) < 0 || dump_init(module) < 0 ||
        thread_stack_init(module) < 0 || watch_init(module) < 0 ||
        census_init(module) < 0 || faces_init(module) < 0 ||
        strand_memory_init(module) < 0 ||
        PyModule_AddStringConstant(module, "__version__", COPOOL_VERSION) < 0 ||
        unwind_at_exit(module, at_exit) < 0 || replace_limit_setter() < 0) {
        /* PyType_FromModuleAndSpec() may fail without saying so. */
        if (!PyErr_Occurred())
            PyErr_NoMemory();
        return -1;
    }
    return state_set_module(module);
}

/* From the look for a first module until there is one no Python code may run: a
 * signal handler or a finalizer that imports us, too, would be the first. */
static int
module_exec(PyObject *module)
{
    PyObject *at_exit, *first;
    int status = -1, collects;

    if (!tstate_know(Py_Version, false))
        return -1;
    layout_init();
    at_exit = find_register();
    if (!at_exit)
        return -1;
    collects = PyGC_Disable();
    first = state_module();
    if (first)
        status = share(module, first);
    else if (!PyErr_Occurred())
        status = fill(module, at_exit);
    if (collects)
        (void)PyGC_Enable();
    Py_DECREF(at_exit);
    return status;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct module_state *state = PyModule_GetState(module);

    Py_VISIT(state->coroutine_type);
    Py_VISIT(state->bridge_type);
    Py_VISIT(state->call_type);
    Py_VISIT(state->coroutine_error);
    Py_VISIT(state->coroutine_exit);
    Py_VISIT(state->pool_exhausted);
    Py_VISIT(state->no_values);
    return 0;
}

static int
module_clear(PyObject *module)
{
    struct module_state *state = PyModule_GetState(module);

    Py_CLEAR(state->coroutine_type);
    Py_CLEAR(state->bridge_type);
    Py_CLEAR(state->call_type);
    Py_CLEAR(state->coroutine_error);
    Py_CLEAR(state->coroutine_exit);
    Py_CLEAR(state->pool_exhausted);
    Py_CLEAR(state->no_values);
    return 0;
}

static void
module_free(void *module)
{
    (void)module_clear(module);
}

static PyObject *
core_know(PyObject *module, PyObject *args)
{
    unsigned long version;
    int lost;

    if (!PyArg_ParseTuple(args, "kp:_know", &version, &lost) ||
        !tstate_know(version, lost))
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_know", core_know, METH_VARARGS,
     PyDoc_STR("_know(version, lost)\n--\n\n"
               "Raise ImportError as the import does on an interpreter of that "
               "sys.hexversion\nand, if `lost`, one that hides what must be "
               "found in it. For tests.")},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, module_exec},
    CO_MODULE_SLOTS,
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "copool._core",
    .m_doc = "Coroutines and their pool, in C. Use the package copool.",
    .m_size = sizeof(struct module_state),
    .m_methods = functions,
    .m_slots = slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&definition);
}
