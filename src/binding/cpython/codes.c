/* SPDX-License-Identifier: MIT */
#include "cpython/codes.h"

#include "cpython/inside.h"

PyCodeObject *tstate_enter_code, *tstate_more_code;

/* Interpreters share the memory that such frames are in, and the memory of an
 * interpreter may go when it ends: so what is read of the code is copied out of
 * it. Only 3.11 has one allocator for all. */
#if PY_VERSION_HEX >= 0x030C0000

static void *
lasting(const void *object, size_t size)
{
    PyObject *copy = PyMem_RawMalloc(size);

    if (copy) {
        memcpy(copy, object, size);
        copy->ob_refcnt = Py_None->ob_refcnt; /* which is for ever */
    }
    return copy;
}

static PyObject *
lasting_ascii(PyObject *text)
{
    size_t length = (size_t)PyUnicode_GET_LENGTH(text);

    return lasting(text, sizeof(PyASCIIObject) + length + 1);
}

/* The rest of it are constants of the process. */
static PyCodeObject *
lasting_code(const PyCodeObject *code)
{
    PyObject *lines = code->co_linetable;
    PyCodeObject *copy =
        lasting(code, offsetof(PyCodeObject, co_code_adaptive) +
                          (size_t)_PyCode_NBYTES(code));

    if (!copy)
        return NULL;
    copy->co_filename = lasting_ascii(code->co_filename);
    copy->co_name = copy->co_qualname = lasting_ascii(code->co_name);
    copy->co_linetable = lasting(lines, offsetof(PyBytesObject, ob_sval) +
                                            (size_t)Py_SIZE(lines) + 1);
    if (copy->co_filename && copy->co_name && copy->co_linetable)
        return copy;
    return NULL; /* what little there is of it is left */
}

#else

static PyCodeObject *
lasting_code(PyCodeObject *code)
{
    return (PyCodeObject *)Py_NewRef(code);
}

#endif

/* False with an exception set. */
static bool
know_code(PyCodeObject **place, const char *file, const char *name, int line)
{
    PyCodeObject *code;

    if (*place)
        return true;
    code = PyCode_NewEmpty(file, name, line);
    if (!code)
        return false;
    *place = lasting_code(code);
    Py_DECREF(code);
    if (!*place) {
        PyErr_NoMemory();
        return false;
    }
    (*place)->_co_firsttraceable = (int)Py_SIZE(*place);
    return true;
}

bool
tstate_know_codes(void)
{
    return know_code(&tstate_enter_code, "<copool>", "enter", 1) &&
           know_code(&tstate_more_code, "", "...", 0);
}
