/* SPDX-License-Identifier: MIT
 *
 * What the module greenlet._greenlet has besides the type: its functions, its
 * constants and the C API, which other extension modules find in a capsule.
 */
#include <time.h>

#include "cpython/limits.h"
#include "cpython/thread.h"
#include "greenlet/greenlet.h"
#include "process/state.h"
#include "python/dict.h"
#include "strand/thread.h"

/* --- functions ---------------------------------------------------------- */

static inline struct greenlet_thread *
get_current_thread(void)
{
    struct thread_record *t = thread_record_enter();

    return CO_LIKELY(t != NULL) ? greenlet_thread_get(t) : NULL;
}

static inline PyObject *
get_current(void)
{
    struct greenlet_thread *gt;

    if (CO_UNLIKELY(tstate_is_finalizing())) {
        PyErr_SetString(PyExc_RuntimeError, "greenlet is being finalized");
        return NULL;
    }
    gt = get_current_thread();
    return CO_LIKELY(gt != NULL) ? Py_NewRef(gt->current) : NULL;
}

static PyObject *
mod_getcurrent(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return get_current();
}

static PyObject *
mod_settrace(PyObject *module, PyObject *trace)
{
    struct greenlet_thread *gt = get_current_thread();
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
    struct greenlet_thread *gt = get_current_thread();

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

/* --- the C API ---------------------------------------------------------- */

/* Whatever is passed instead of a greenlet is a mistake of a C program. */
static PyGreenlet *
expect(void *op)
{
    if (greenlet_check(op))
        return op;
    if (!op)
        PyErr_BadArgument();
    else
        PyErr_Format(PyExc_TypeError, "a greenlet is required, not %.200s",
                     Py_TYPE((PyObject *)op)->tp_name);
    return NULL;
}

static PyGreenlet *
api_new(PyObject *run, PyGreenlet *parent)
{
    PyGreenlet *self = (PyGreenlet *)PyObject_Vectorcall(
        (PyObject *)&greenlet_type, &run, run != NULL, NULL);
    PyObject *given = (PyObject *)parent;

    if (self && given && given != Py_None &&
        greenlet_set_parent(self, given) < 0)
        Py_CLEAR(self);
    return self;
}

static PyGreenlet *
api_get_current(void)
{
    return (PyGreenlet *)get_current();
}

static PyObject *
api_throw(PyGreenlet *self, PyObject *type, PyObject *value,
          PyObject *traceback)
{
    if (!expect(self))
        return NULL;
    if (!type) {
        PyErr_BadArgument();
        return NULL;
    }
    if (error_set_thrown(type, value, traceback) < 0)
        return NULL;
    return greenlet_throw_into(self);
}

static PyObject *
switch_with_names(PyGreenlet *self, PyObject *args, PyObject *kwargs)
{
    Py_ssize_t nargs = PyTuple_GET_SIZE(args), n, i = 0, position = 0;
    PyObject *names, *all, *name, *value, *result = NULL;

    n = PyDict_GET_SIZE(kwargs);
    names = PyTuple_New(n);
    all = PyTuple_New(nargs + n); /* holds them while control is elsewhere */
    if (names && all) {
        for (; i < nargs; i++)
            PyTuple_SET_ITEM(all, i, Py_NewRef(PyTuple_GET_ITEM(args, i)));
        while (PyDict_Next(kwargs, &position, &name, &value)) {
            PyTuple_SET_ITEM(names, i - nargs, Py_NewRef(name));
            PyTuple_SET_ITEM(all, i++, Py_NewRef(value));
        }
        result = greenlet_switch_to(
            self,
            &(struct strand_args){&PyTuple_GET_ITEM(all, 0), nargs, names});
    }
    Py_XDECREF(names);
    Py_XDECREF(all);
    return result;
}

static PyObject *
api_switch(PyGreenlet *self, PyObject *args, PyObject *kwargs)
{
    struct strand_args none = {NULL, 0, NULL}, some;

    if (!expect(self))
        return NULL;
    if ((args && !PyTuple_Check(args)) || (kwargs && !PyDict_Check(kwargs))) {
        PyErr_BadArgument();
        return NULL;
    }
    if (kwargs && PyDict_GET_SIZE(kwargs)) {
        PyObject *result, *tuple = args ? Py_NewRef(args) : PyTuple_New(0);

        if (!tuple)
            return NULL;
        result = switch_with_names(self, tuple, kwargs);
        Py_DECREF(tuple);
        return result;
    }
    if (!args)
        return greenlet_switch_to(self, &none);
    some = (struct strand_args){&PyTuple_GET_ITEM(args, 0),
                                PyTuple_GET_SIZE(args), NULL};
    return greenlet_switch_to(self, &some);
}

static int
api_set_parent(PyGreenlet *self, PyGreenlet *parent)
{
    if (!expect(self))
        return -1;
    if (!parent) {
        PyErr_BadArgument();
        return -1;
    }
    return greenlet_set_parent(self, (PyObject *)parent);
}

static int
api_main(PyGreenlet *self)
{
    return expect(self) ? self->pimpl->is_main : -1;
}

static int
api_started(PyGreenlet *self)
{
    return expect(self) ? self->pimpl->started : -1;
}

static int
api_active(PyGreenlet *self)
{
    return expect(self) ? greenlet_is_active(self) : -1;
}

/* NULL without an exception for a main greenlet. */
static PyGreenlet *
api_get_parent(PyGreenlet *self)
{
    if (!expect(self))
        return NULL;
    return (PyGreenlet *)Py_XNewRef(self->pimpl->parent);
}

/* In the order of greenlet's header; filled in below, where the exceptions
 * are made. */
static void *api[12];

static PyObject *
make_api(void)
{
    const void *functions_of[] = {
        (void *)api_new,     (void *)api_get_current, (void *)api_throw,
        (void *)api_switch,  (void *)api_set_parent,  (void *)api_main,
        (void *)api_started, (void *)api_active,      (void *)api_get_parent,
    };

    api[0] = &greenlet_type;
    api[1] = greenlet_error;
    api[2] = greenlet_exit;
    memcpy(api + 3, functions_of, sizeof functions_of);
    static_assert(3 * sizeof *api + sizeof functions_of == sizeof api,
                  "the C API has twelve entries");
    return PyCapsule_New(api, "greenlet._C_API", NULL);
}

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
    if (greenlet_error && greenlet_exit && PyType_Ready(&greenlet_type) == 0 &&
        add_functions(dict) == 0 &&
        PyDict_SetItemString(dict, "greenlet", (PyObject *)&greenlet_type) ==
            0 &&
        PyDict_SetItemString(dict, "error", greenlet_error) == 0 &&
        PyDict_SetItemString(dict, "GreenletExit", greenlet_exit) == 0 &&
        add_stolen(dict, "_C_API", make_api()) == 0 &&
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
