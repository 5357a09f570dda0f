/* SPDX-License-Identifier: MIT
 *
 * What the module greenlet._greenlet has besides the type and the C API: its
 * functions and its constants.
 */
#include "greenlet/greenlet.h"

#include <time.h>

#include "cpython/limits.h"
#include "greenlet/api.h"
#include "greenlet/thread.h"
#include "greenlet/type.h"
#include "process/state.h"
#include "python/dict.h"

/* --- functions ---------------------------------------------------------- */

static PyObject *
mod_getcurrent(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return greenlet_get_current();
}

static PyObject *
mod_settrace(PyObject *module, PyObject *trace)
{
    struct greenlet_thread *gt = greenlet_thread_enter();
    PyObject *before;

    if (!gt)
        return NULL;
    before = gt->extra.trace ? gt->extra.trace : Py_NewRef(Py_None);
    gt->extra.trace = trace == Py_None ? NULL : Py_NewRef(trace);
    return before;
}

static PyObject *
mod_gettrace(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct greenlet_thread *gt = greenlet_thread_enter();

    if (!gt)
        return NULL;
    return Py_NewRef(gt->extra.trace ? gt->extra.trace : Py_None);
}

static PyObject *
mod_set_thread_local(PyObject *module, PyObject *args)
{
    PyObject *key, *value, *dict = PyThreadState_GetDict();

    if (!PyArg_ParseTuple(args, "OO:set_thread_local", &key, &value))
        return NULL;
    if (!dict) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the thread state has no dictionary");
        return NULL;
    }
    if (PyDict_SetItem(dict, key, value) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* Where greenlet searches for references that a dead thread's stack may still
 * hold, there is nothing to do here: stacks are unwound while their thread is
 * there. So this counts the clock ticks of nothing, but programs may ask. */
static bool cleanup_enabled = true;

static PyObject *
mod_enable_optional_cleanup(PyObject *module, PyObject *flag)
{
    int enabled = PyObject_IsTrue(flag);

    if (enabled < 0)
        return NULL;
    cleanup_enabled = enabled;
    Py_RETURN_NONE;
}

static PyObject *
mod_get_clocks(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    if (!cleanup_enabled)
        Py_RETURN_NONE;
    return PyLong_FromLong(0);
}

/* Threads clean up as they end. */
static PyObject *
mod_get_pending_cleanup_count(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(0);
}

static PyObject *
mod_get_total_main_greenlets(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromSsize_t(greenlet_mains);
}

#ifdef CO_COUNTS_TRASH
static PyObject *
mod_get_trash_nesting(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(tstate_trash_nesting(tstate_get()));
}
#endif

static PyMethodDef functions[] = {
    {"getcurrent", mod_getcurrent, METH_NOARGS,
     PyDoc_STR("getcurrent($module, /)\n--\n\n"
               "The greenlet that calls this.")},
    {"settrace", mod_settrace, METH_O,
     PyDoc_STR("settrace($module, callback, /)\n--\n\n"
               "Have callback(event, (origin, target)) called after each "
               "switch in this thread,\nNone for none; return the one of "
               "before.\n\n"
               "The event is 'switch' or 'throw'. An exception in the callback "
               "ends tracing and is\nraised in the target.")},
    {"gettrace", mod_gettrace, METH_NOARGS,
     PyDoc_STR("gettrace($module, /)\n--\n\n"
               "What settrace() was last given in this thread, or None.")},
    {"set_thread_local", mod_set_thread_local, METH_VARARGS,
     PyDoc_STR("set_thread_local($module, key, value, /)\n--\n\n"
               "Put something into the thread state's dictionary. For tests.")},
    {"enable_optional_cleanup", mod_enable_optional_cleanup, METH_O,
     PyDoc_STR("enable_optional_cleanup($module, enabled, /)\n--\n\n"
               "Without effect but on what "
               "get_clocks_used_doing_optional_cleanup() returns.")},
    {"get_clocks_used_doing_optional_cleanup", mod_get_clocks, METH_NOARGS,
     PyDoc_STR("get_clocks_used_doing_optional_cleanup($module, /)\n--\n\n"
               "0, or None when the optional cleanup is disabled: there is "
               "none.")},
    {"get_pending_cleanup_count", mod_get_pending_cleanup_count, METH_NOARGS,
     PyDoc_STR("get_pending_cleanup_count($module, /)\n--\n\n"
               "0: threads clean up while they end.")},
    {"get_total_main_greenlets", mod_get_total_main_greenlets, METH_NOARGS,
     PyDoc_STR("get_total_main_greenlets($module, /)\n--\n\n"
               "How many main greenlets exist, of any thread.")},
#ifdef CO_COUNTS_TRASH
    {"get_tstate_trash_delete_nesting", mod_get_trash_nesting, METH_NOARGS,
     PyDoc_STR("get_tstate_trash_delete_nesting($module, /)\n--\n\n"
               "How deep the running greenlet is in deallocations. For "
               "tests.")},
#endif
    {NULL, NULL, 0, NULL},
};

/* --- the module --------------------------------------------------------- */

/* Adds functions to a dict under their names. */
static int
add_functions(PyObject *dict)
{
    PyObject *name = PyUnicode_FromString("greenlet._greenlet");
    int status = name ? 0 : -1;

    for (PyMethodDef *f = functions; status == 0 && f->ml_name; f++) {
        PyObject *function = PyCFunction_NewEx(f, NULL, name);

        status =
            function ? PyDict_SetItemString(dict, f->ml_name, function) : -1;
        Py_XDECREF(function);
    }
    Py_XDECREF(name);
    return status;
}

static int
add_stolen(PyObject *dict, const char *name, PyObject *value)
{
    int status = value ? PyDict_SetItemString(dict, name, value) : -1;

    Py_XDECREF(value);
    return status;
}

/* The type has copies of these. */
static int
add_to_type(PyObject *dict)
{
    static const char *const names[] = {"getcurrent", "error", "GreenletExit",
                                        "settrace", "gettrace"};

    for (size_t i = 0; i < Py_ARRAY_LENGTH(names); i++) {
        PyObject *value = dict_find(dict, names[i]);

        if (!value ||
            PyDict_SetItemString(greenlet_type.tp_dict, names[i], value) < 0)
            return -1;
    }
    PyType_Modified(&greenlet_type);
    return 0;
}

/* Made once and kept, since the type is static. */
static PyObject *
make_names(void)
{
    PyObject *dict = PyDict_New();

    if (!dict)
        return NULL;
    if (!greenlet_error)
        greenlet_error = PyErr_NewException("greenlet.error", NULL, NULL);
    if (!greenlet_exit)
        greenlet_exit = PyErr_NewException("greenlet.GreenletExit",
                                           PyExc_BaseException, NULL);
    if (greenlet_error && greenlet_exit && greenlet_type_ready() == 0 &&
        add_functions(dict) == 0 &&
        PyDict_SetItemString(dict, "greenlet", (PyObject *)&greenlet_type) ==
            0 &&
        PyDict_SetItemString(dict, "error", greenlet_error) == 0 &&
        PyDict_SetItemString(dict, "GreenletExit", greenlet_exit) == 0 &&
        add_stolen(dict, "_C_API", greenlet_make_api()) == 0 &&
        add_stolen(dict, "CLOCKS_PER_SEC", PyLong_FromLong(CLOCKS_PER_SEC)) ==
            0 &&
        add_stolen(dict, "GREENLET_USE_GC", PyBool_FromLong(1)) == 0 &&
        add_stolen(dict, "GREENLET_USE_TRACING", PyBool_FromLong(1)) == 0 &&
        add_stolen(dict, "GREENLET_USE_CONTEXT_VARS", PyBool_FromLong(1)) ==
            0 &&
        add_stolen(dict, "GREENLET_USE_STANDARD_THREADING",
                   PyBool_FromLong(1)) == 0 &&
        add_to_type(dict) == 0)
        return dict;
    Py_DECREF(dict);
    return NULL;
}

static PyObject *
core_greenlet_names(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    static PyObject *names;

    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_RuntimeError,
                        "greenlets are for the main interpreter only; use "
                        "copool.Coroutine in others");
        return NULL;
    }
    if (!names && !(names = make_names()))
        return NULL;
    return PyDict_Copy(names);
}

static PyMethodDef core_functions[] = {
    {"_greenlet_names", core_greenlet_names, METH_NOARGS,
     PyDoc_STR("What the module greenlet._greenlet is to hold: a new dict.")},
    {NULL, NULL, 0, NULL},
};

int
greenlet_module_init(PyObject *module, struct module_state *state)
{
    return PyModule_AddFunctions(module, core_functions);
}
