/* SPDX-License-Identifier: MIT */
#include "cpython/tstate.h"

#include <limits.h>

#include "cpython/codes.h"
#include "cpython/inside.h"

#ifdef CO_HAS_STACK_LIMITS
size_t tstate_limits_offset, tstate_limits_margin;
#endif

void
tstate_outermost(struct tstate_slice *s)
{
    memset(s, 0, sizeof *s);
#ifdef CO_COUNTS_ALL_CALLS
    s->max_depth = INT_MAX; /* the thread's stack is not ours to guard */
#endif
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
