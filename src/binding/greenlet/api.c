/* SPDX-License-Identifier: MIT
 *
 * The C API, which other extension modules find in a capsule.
 */
#include "greenlet/api.h"

#include "greenlet/switch.h"
#include "greenlet/type.h"

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
    return (PyGreenlet *)greenlet_get_current();
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

PyObject *
greenlet_make_api(void)
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
