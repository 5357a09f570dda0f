/* SPDX-License-Identifier: MIT */
#include "face/label.h"

#include "python/dict.h"

/* Whether the frame is one of those that stand between a task and whoever
 * wanted it. */
static bool
is_between(PyFrameObject *frame)
{
    PyObject *globals = PyFrame_GetGlobals(frame);
    PyObject *name = globals ? dict_find(globals, "__name__") : NULL;
    const char *text =
        name && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    bool is = text && (strncmp(text, "asyncio.", 8) == 0 ||
                       strncmp(text, "copool.aio.", 11) == 0);

    PyErr_Clear(); /* it is shown then */
    Py_XDECREF(globals);
    return is;
}

/* The innermost frame that is none of those: a new reference, or NULL. */
static PyFrameObject *
maker_frame(void)
{
    PyFrameObject *frame = PyThreadState_GetFrame(tstate_get());

    while (frame && is_between(frame)) {
        PyFrameObject *back = PyFrame_GetBack(frame);

        Py_DECREF(frame);
        frame = back;
    }
    return frame;
}

/* "function (file:line)" of who makes something: a new reference. NULL without
 * an exception if it is no Python code, with one if there is no memory. */
static PyObject *
maker(void)
{
    PyFrameObject *frame = maker_frame();
    PyCodeObject *code = frame ? PyFrame_GetCode(frame) : NULL;
    PyObject *text = NULL;

    if (code)
        text = PyUnicode_FromFormat("%U (%U:%d)", code->co_qualname,
                                    code->co_filename,
                                    PyFrame_GetLineNumber(frame));
    Py_XDECREF(frame);
    Py_XDECREF(code);
    return text;
}

static bool
have(struct label **label)
{
    if (!*label && !(*label = PyMem_Calloc(1, sizeof **label))) {
        PyErr_NoMemory();
        return false;
    }
    return true;
}

bool
label_make(struct label **label, PyObject *name, bool note_maker)
{
    *label = NULL;
    if (name && !label_set_name(label, name))
        return false;
    if (!note_maker)
        return true;
    if (!have(label))
        return false;
    (*label)->maker = maker();
    if (!PyErr_Occurred())
        return true;
    label_free(label);
    return false;
}

bool
label_set_name(struct label **label, PyObject *name)
{
    if (!have(label))
        return false;
    Py_XSETREF((*label)->name, Py_NewRef(name));
    return true;
}

bool
label_set_qualname(struct label **label, PyObject *qualname)
{
    if (!have(label))
        return false;
    Py_XSETREF((*label)->qualname, Py_NewRef(qualname));
    return true;
}

/* (file, line, function) of a frame, which it steals, at the end of the list.
 */
static bool
append_call(PyObject *list, PyFrameObject *frame)
{
    PyCodeObject *code = PyFrame_GetCode(frame);
    PyObject *call = Py_BuildValue("OiO", code->co_filename,
                                   PyFrame_GetLineNumber(frame), code->co_name);
    bool is = call && PyList_Append(list, call) == 0;

    Py_XDECREF(call);
    Py_DECREF(code);
    Py_DECREF(frame);
    return is;
}

/* A tuple, of the innermost call first. */
static PyObject *
calls(int depth)
{
    PyObject *list = PyList_New(0), *all = NULL;
    PyFrameObject *frame = list ? PyThreadState_GetFrame(tstate_get()) : NULL;

    while (frame) {
        PyFrameObject *back = depth-- > 1 ? PyFrame_GetBack(frame) : NULL;

        if (append_call(list, frame)) {
            frame = back;
            continue;
        }
        Py_XDECREF(back);
        break;
    }
    if (list && !PyErr_Occurred())
        all = PyList_AsTuple(list);
    Py_XDECREF(list);
    return all;
}

bool
label_note_origin(struct label **label, int depth)
{
    PyObject *origin = calls(depth);

    if (!origin || !have(label)) {
        Py_XDECREF(origin);
        return false;
    }
    (*label)->origin = origin;
    return true;
}

void
label_free(struct label **label)
{
    struct label *l = *label;

    *label = NULL;
    if (!l)
        return;
    Py_XDECREF(l->name);
    Py_XDECREF(l->maker);
    Py_XDECREF(l->qualname);
    Py_XDECREF(l->origin);
    PyMem_Free(l);
}
