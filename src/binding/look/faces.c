/* SPDX-License-Identifier: MIT
 *
 * What is asked of faces of every kind: by profile(), and for dumps.
 *
 * Thread rule: all functions need the GIL.
 */
#include "bridge/bridge.h"
#include "coroutine/coroutine.h"
#include "greenlet/greenlet.h"
#include "look/chains.h"
#include "look/look.h"
#include "process/state.h"
#include "raw/section.h"

/* (what it calls or None, whether any calls of it are there, whether nobody
 * waits for it). */
static PyObject *
core_chain(PyObject *module, PyObject *face)
{
    const struct module_state *state = PyModule_GetState(module);
    PyObject *fn = NULL;
    bool there = true, alone = false;

    if (Py_IS_TYPE(face, state->coroutine_type)) {
        fn = ((Coroutine *)face)->fn;
        there = ((Coroutine *)face)->strand != NULL;
    } else if (Py_IS_TYPE(face, state->bridge_type)) {
        const Bridge *bridge = (Bridge *)face;

        fn = bridge->target;
        there = bridge->top || bridge->state == ENTERED;
    } else {
        alone = true;
        if (PyObject_TypeCheck(face, &greenlet_type))
            there = greenlet_is_active((PyGreenlet *)face);
    }
    return Py_BuildValue("OOO", fn ? fn : Py_None, there ? Py_True : Py_False,
                         alone ? Py_True : Py_False);
}

/* Where the task has that object, in bytes from its beginning, or 0: in what
 * its type has before any attributes of Python's. */
static size_t
find_in(PyObject *task, PyObject *object)
{
    size_t size = (size_t)Py_TYPE(task)->tp_basicsize;

    for (size_t at = sizeof(PyObject); at + sizeof object <= size;
         at += sizeof object)
        if (memcmp((char *)task + at, &object, sizeof object) == 0)
            return at;
    return 0;
}

/* The types of tasks whose names can be found. It is one for the whole process
 * where it is a static type, else each interpreter has one; their layout is the
 * same. */
static PyObject *
core_know_tasks(PyObject *module, PyObject *args)
{
    PyObject *task, *name;
    size_t found;

    if (!PyArg_ParseTuple(args, "OO:_know_tasks", &task, &name))
        return NULL;
    found = find_in(task, name);
    if (found) {
        chain_task_name = found;
        section_set("task.name", found);
    }
    return PyBool_FromLong(found != 0);
}

static PyMethodDef functions[] = {
    {"_chain", core_chain, METH_O, NULL},
    {"_know_tasks", core_know_tasks, METH_VARARGS,
     PyDoc_STR("_know_tasks($module, task, name, /)\n--\n\n"
               "Find where tasks of that type have their names, which are "
               "shown in dumps;\nreturn whether that succeeded. The name is "
               "this task's.")},
    {NULL, NULL, 0, NULL},
};

int
faces_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
