/* SPDX-License-Identifier: MIT */
#include "cpython/root.h"

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

void
tstate_make_root(struct tstate_root *root)
{
    _PyInterpreterFrame *frame = &root->frame;
    struct _PyInterpreterFrame *previous = frame->previous;

    memset(frame, 0, sizeof *frame);
    frame->previous = previous;
    frame->owner = FRAME_OWNED_BY_THREAD;
#if PY_VERSION_HEX >= 0x030E0000
    frame->f_executable =
        PyStackRef_FromPyObjectBorrow((PyObject *)tstate_enter_code);
    frame->f_funcobj = PyStackRef_NULL;
    frame->stackpointer = frame->localsplus;
    frame->instr_ptr = _PyCode_CODE(tstate_enter_code);
#elif PY_VERSION_HEX >= 0x030D0000
    frame->f_executable = (PyObject *)tstate_enter_code;
    frame->instr_ptr = _PyCode_CODE(tstate_enter_code);
#else
    frame->f_code = tstate_enter_code;
    frame->prev_instr = _PyCode_CODE(tstate_enter_code);
#endif
#if PY_VERSION_HEX < 0x030C0000
    frame->is_entry = true;
#else
    /* Nobody asks for them, but faulthandler takes a frame without for broken.
     */
    frame->f_globals = frame->f_builtins = Py_None;
#endif
    root->made = root;
}

bool
tstate_is_unwound(PyThreadState *ts, struct tstate_slice *s,
                  struct tstate_root *root)
{
    (void)s;
#ifdef CO_HAS_CFRAME
    if (ts->cframe != &root->cframe)
        return false;
#endif
    if (tstate_running(ts) != &root->frame &&
        tstate_running(ts) != tstate_base_frame(ts))
        return false;
    return ts->exc_info == &root->exc && !ts->datastack_chunk->previous &&
           ts->datastack_top == &ts->datastack_chunk->data[1];
}
