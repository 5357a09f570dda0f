/* SPDX-License-Identifier: MIT */
#include "bridge/names.h"

/* What the callable is called, by which attribute of it: a new reference. May
 * run Python code. */
static PyObject *
callable_name(PyObject *callable, const char *attribute)
{
    PyObject *name;

    Py_INCREF(callable); /* looking it up may end the call */
    name = PyObject_GetAttrString(callable, attribute);
    if (!name && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        /* Of a functools.partial, say. */
        PyErr_Clear();
        name = PyObject_GetAttrString((PyObject *)Py_TYPE(callable), attribute);
    }
    if (name && !PyUnicode_Check(name))
        Py_SETREF(name, PyObject_Str(name));
    Py_DECREF(callable);
    return name;
}

PyObject *
bridge_get_name(PyObject *op, void *Py_UNUSED(closure))
{
    const Bridge *self = (const Bridge *)op;

    if (!self->drives && self->label && self->label->name)
        return Py_NewRef(self->label->name);
    if (!self->target)
        return PyUnicode_FromString("");
    if (PyCode_Check(self->target))
        return Py_NewRef(((PyCodeObject *)self->target)->co_name);
    return callable_name(self->target, "__name__");
}

PyObject *
bridge_get_qualname(PyObject *op, void *Py_UNUSED(closure))
{
    const Bridge *self = (const Bridge *)op;

    if (!self->drives && self->label && self->label->qualname)
        return Py_NewRef(self->label->qualname);
    if (!self->target)
        return PyUnicode_FromString("");
    if (PyCode_Check(self->target))
        return Py_NewRef(((PyCodeObject *)self->target)->co_qualname);
    return callable_name(self->target, "__qualname__");
}

/* Sets one of both, with which a coroutine is renamed. */
static int
set_either(PyObject *op, PyObject *name, const char *attribute,
           bool (*set)(struct label **, PyObject *))
{
    Bridge *self = (Bridge *)op;

    if (!name || !PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "%s must be set to a string object",
                     attribute);
        return -1;
    }
    if (self->drives && self->target)
        return PyObject_SetAttrString(self->target, attribute, name);
    return set(&self->label, name) ? 0 : -1;
}

int
bridge_set_name(PyObject *op, PyObject *name, void *Py_UNUSED(closure))
{
    return set_either(op, name, "__name__", label_set_name);
}

int
bridge_set_qualname(PyObject *op, PyObject *name, void *Py_UNUSED(closure))
{
    return set_either(op, name, "__qualname__", label_set_qualname);
}

/* Those that the callable has now, and that were not set. May run Python code.
 * False with an exception set. */
bool
bridge_keep_names(Bridge *self)
{
    PyObject *name = bridge_get_name((PyObject *)self, NULL);
    PyObject *qualname =
        name ? bridge_get_qualname((PyObject *)self, NULL) : NULL;
    bool are = qualname && label_set_name(&self->label, name) &&
               label_set_qualname(&self->label, qualname);

    Py_XDECREF(name);
    Py_XDECREF(qualname);
    return are;
}

/* The code of what a call calls: a new reference, or None. */
PyObject *
bridge_callable_code(const Bridge *self)
{
    PyObject *target = self->target;
    const PyFunctionObject *function;

    if (!target || PyCode_Check(target))
        return Py_NewRef(target ? target : Py_None);
    function = bridge_function_of(target);
    return Py_NewRef(function ? function->func_code : Py_None);
}
