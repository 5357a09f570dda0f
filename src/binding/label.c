/* SPDX-License-Identifier: MIT */
#include "label.h"

/* "function (file:line)" of the innermost frame: a new reference. NULL without
 * an exception if there is no frame, with one if there is no memory. */
static PyObject *
maker(void)
{
    PyFrameObject *frame = PyThreadState_GetFrame(tstate_get());
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

void
label_free(struct label **label)
{
    struct label *l = *label;

    *label = NULL;
    if (!l)
        return;
    Py_XDECREF(l->name);
    Py_XDECREF(l->maker);
    PyMem_Free(l);
}
