/* SPDX-License-Identifier: MIT */
#include "tstate.h"

#include <limits.h>

#include "internal/pycore_frame.h"
#include "internal/pycore_interp.h"
#include "internal/pycore_pystate.h"

/* Measured bytes of C stack from one call counted by the recursion counter to
 * the next; the greediest way found (__lt__ that sorts a list of its own kind)
 * takes less. 3.11 counts it once where the others count twice.
 */
enum {
#ifdef CO_HAS_C_RECURSION
    BYTES_PER_CALL = 2600,
#else
    BYTES_PER_CALL = 5000,
#endif
    RESERVE = 64 * 1024, /* for C code that does not count its calls */
};

/* --- limits ------------------------------------------------------------- */

int
tstate_budget(size_t stack_size)
{
    size_t usable = stack_size > RESERVE ? stack_size - RESERVE : 0;

    return (int)(usable / BYTES_PER_CALL);
}

size_t
tstate_default_stack(void)
{
#ifdef CO_HAS_C_RECURSION
    return 1024 * 1024;
#else
    return 5 * 1024 * 1024; /* 1000 calls of any kind */
#endif
}

/* 3.13 frees containers at once only while more than 100 calls remain. */
size_t
tstate_least_stack(void)
{
    return RESERVE + 160 * BYTES_PER_CALL;
}

void
tstate_outermost(struct tstate_slice *s)
{
    memset(s, 0, sizeof *s);
#ifndef CO_HAS_C_RECURSION
    s->max_depth = INT_MAX; /* the thread's stack is not ours to guard */
#endif
}

bool
tstate_is_finalizing(void)
{
#if PY_VERSION_HEX >= 0x030D0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

void
tstate_set_finalized(PyObject *op, bool finalized)
{
    PyGC_Head *head = (PyGC_Head *)op - 1;

    if (finalized)
        head->_gc_prev |= (uintptr_t)_PyGC_PREV_MASK_FINALIZED;
    else
        head->_gc_prev &= ~(uintptr_t)_PyGC_PREV_MASK_FINALIZED;
}

/* --- tracing ------------------------------------------------------------ */

void
tstate_save_trace(PyThreadState *ts, struct tstate_slice *s)
{
    s->trace = ts->c_tracefunc;
    s->trace_arg = Py_XNewRef(ts->c_traceobj);
}

/* One trace function takes the place of another, so that CPython's counts of
 * what is traced stay right. */
void
tstate_resume_trace(PyThreadState *ts, struct tstate_slice *s)
{
    PyObject *unused = s->trace_arg;

    if (ts->c_tracefunc) {
        unused = ts->c_traceobj;
        ts->c_tracefunc = s->trace;
        ts->c_traceobj = s->trace_arg;
    }
    s->trace = NULL;
    s->trace_arg = NULL;
    Py_XDECREF(unused);
}

PyObject *
tstate_trace_hook(PyThreadState *ts)
{
    PyObject *name = PyUnicode_FromString("threading");
    PyObject *threading = name ? PyImport_GetModule(name) : NULL;
    PyObject *hook = NULL;

    Py_XDECREF(name);
    if (threading) {
        PyThreadState_EnterTracing(ts); /* this is not the program's call */
        hook = PyObject_CallMethod(threading, "gettrace", NULL);
        PyThreadState_LeaveTracing(ts);
        Py_DECREF(threading);
    }
    if (PyErr_Occurred())
        PyErr_WriteUnraisable(NULL);
    if (hook == Py_None)
        Py_CLEAR(hook);
    return hook;
}

void
tstate_begin_trace(PyThreadState *ts)
{
    PyObject *hook = tstate_trace_hook(ts);
    PyObject *set = hook ? PySys_GetObject("settrace") : NULL;
    PyObject *result = set ? PyObject_CallOneArg(set, hook) : NULL;

    if (set && !result)
        PyErr_WriteUnraisable(NULL);
    Py_XDECREF(hook);
    Py_XDECREF(result);
}

void
tstate_share_trace(PyThreadState *ts, const struct tstate_slice *other)
{
    PyObject *unused = ts->c_traceobj;

    if (!other->trace)
        return;
    ts->c_tracefunc = other->trace;
    ts->c_traceobj = Py_XNewRef(other->trace_arg);
    Py_XDECREF(unused);
}

/* --- awaitables --------------------------------------------------------- */

bool
tstate_is_awaited(PyObject *coroutine)
{
    PyObject *awaited;
    bool is;

    if (((PyCoroObject *)coroutine)->cr_frame_state == FRAME_CREATED)
        return false;
    awaited = PyObject_GetAttrString(coroutine, "cr_await");
    is = awaited && awaited != Py_None;
    Py_XDECREF(awaited);
    return is;
}

bool
tstate_is_awaitable(PyObject *generator)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyCodeObject *code = PyGen_GetCode((PyGenObject *)generator);
    int flags = code->co_flags;

    Py_DECREF(code);
#else
    int flags = ((PyGenObject *)generator)->gi_code->co_flags;
#endif
    return flags & CO_ITERABLE_COROUTINE;
}

#ifdef CO_COUNTS_TRASH
int
tstate_trash_nesting(PyThreadState *ts)
{
#    if PY_VERSION_HEX < 0x030C0000
    return ts->trash_delete_nesting;
#    else
    return ts->trash.delete_nesting;
#    endif
}
#endif

/* --- a chain ------------------------------------------------------------ */

bool
tstate_is_unwound(PyThreadState *ts, struct tstate_slice *s,
                  struct tstate_root *root)
{
    (void)s;
#ifdef CO_HAS_CFRAME
    if (ts->cframe != &root->cframe || ts->cframe->current_frame)
        return false;
#else
    if (ts->current_frame)
        return false;
#endif
    return ts->exc_info == &root->exc && !ts->datastack_chunk->previous &&
           ts->datastack_top == &ts->datastack_chunk->data[1];
}

void
tstate_return_data_stack(PyThreadState *ts, struct tstate_slice *own)
{
    ts->datastack_chunk = own->chunk;
    ts->datastack_top = own->top;
    ts->datastack_limit = own->limit;
}

static struct _PyInterpreterFrame *
innermost(const struct tstate_slice *s)
{
#ifdef CO_HAS_CFRAME
    return s->cframe->current_frame;
#else
    return s->current_frame;
#endif
}

static PyCodeObject *
frame_code(const _PyInterpreterFrame *frame)
{
#if PY_VERSION_HEX >= 0x030D0000
    return (PyCodeObject *)frame->f_executable;
#else
    return frame->f_code;
#endif
}

/* A frame in the middle of a call into C has not recorded how much of its
 * evaluation stack is in use (stacktop < 0). What lies there is not visited;
 * then a cycle through it alone is not collected, which is safe. */
static int
traverse_frame(_PyInterpreterFrame *frame, visitproc visit, void *arg)
{
    PyCodeObject *code = frame_code(frame);
    int n = frame->stacktop >= 0 ? frame->stacktop : code->co_nlocalsplus;

    Py_VISIT(frame->frame_obj);
    Py_VISIT(frame->f_locals);
    Py_VISIT(code);
#if PY_VERSION_HEX >= 0x030C0000
    Py_VISIT(frame->f_funcobj);
#else
    Py_VISIT(frame->f_func);
#endif
    for (int i = 0; i < n; i++)
        Py_VISIT(frame->localsplus[i]);
    return 0;
}

/* But if the arguments of that call are on the evaluation stack, they are what
 * is on top of it. */
static int
traverse_stack(_PyInterpreterFrame *frame, PyObject *const *end,
               visitproc visit, void *arg)
{
    PyCodeObject *code = frame_code(frame);
    PyObject *const *slot = frame->localsplus + code->co_nlocalsplus;

    if (frame->stacktop >= 0 || end < slot || end > slot + code->co_stacksize)
        return 0;
    for (; slot < end; slot++)
        Py_VISIT(*slot);
    return 0;
}

int
tstate_traverse(struct tstate_slice *s, struct tstate_root *root,
                PyObject *const *stack_end, visitproc visit, void *arg)
{
    _PyInterpreterFrame *frame = innermost(s);
    int result = 0;

    if (stack_end && frame)
        result = traverse_stack(frame, stack_end, visit, arg);
    if (result)
        return result;
    Py_VISIT(s->context);
    if (s->trace)
        Py_VISIT(s->trace_arg);
    Py_VISIT(root->exc.exc_value);
    for (; frame; frame = frame->previous) {
        /* The frames of generators are visited by these, and those of the
         * interpreter itself own nothing. */
        if (frame->owner != FRAME_OWNED_BY_THREAD)
            continue;
        result = traverse_frame(frame, visit, arg);
        if (result)
            return result;
    }
    return 0;
}

/* PyFrame_GetBack() is the one public function that makes a frame object for a
 * frame that has none. It is asked what is behind a frame which we make up. */
PyFrameObject *
tstate_frame(struct tstate_slice *s)
{
    struct _PyInterpreterFrame *frame = innermost(s), made_up;
    PyFrameObject object;

    if (!frame)
        return NULL;
    memset(&made_up, 0, sizeof made_up);
    memset(&object, 0, sizeof object);
    Py_SET_TYPE((PyObject *)&object, &PyFrame_Type);
    made_up.previous = frame;
    /* A debug build asks whether it is complete; a generator's always is. */
    made_up.owner = FRAME_OWNED_BY_GENERATOR;
    object.f_frame = &made_up;
    return PyFrame_GetBack(&object);
}
