/* SPDX-License-Identifier: MIT */
#include "cpython/frames.h"

#include "cpython/inside.h"

#ifdef CO_HAS_STACK_LIMITS

static int
visit_reference(_PyStackRef ref, visitproc visit, void *arg)
{
    if (PyStackRef_IsNull(ref) || PyStackRef_IsTaggedInt(ref) ||
        !PyStackRef_RefcountOnObject(ref)) /* then it is borrowed */
        return 0;
    Py_VISIT(PyStackRef_AsPyObjectBorrow(ref));
    return 0;
}

static int
traverse_frame(_PyInterpreterFrame *frame, visitproc visit, void *arg)
{
    int result;

    Py_VISIT(frame->frame_obj);
    Py_VISIT(frame->f_locals);
    result = visit_reference(frame->f_executable, visit, arg);
    if (!result)
        result = visit_reference(frame->f_funcobj, visit, arg);
    for (_PyStackRef *ref = frame->localsplus;
         !result && ref < frame->stackpointer; ref++)
        result = visit_reference(*ref, visit, arg);
    return result;
}

/* It does that itself. */
static int
traverse_generator(_PyInterpreterFrame *frame, visitproc visit, void *arg)
{
    return 0;
}

/* Its frame says that they are on its evaluation stack. */
static int
traverse_stack(_PyInterpreterFrame *frame, PyObject *const *end,
               visitproc visit, void *arg)
{
    return 0;
}

#else

/* A frame in the middle of a call into C has not recorded how much of its
 * evaluation stack is in use (stacktop < 0). What lies there is not visited;
 * then a cycle through it alone is not collected, which is safe. */
static int
traverse_frame(_PyInterpreterFrame *frame, visitproc visit, void *arg)
{
    PyCodeObject *code = tstate_frame_code(frame);
    int n = frame->stacktop >= 0 ? frame->stacktop : code->co_nlocalsplus;

    Py_VISIT(frame->frame_obj);
    Py_VISIT(frame->f_locals);
    Py_VISIT(code);
#    if PY_VERSION_HEX >= 0x030C0000
    Py_VISIT(frame->f_funcobj);
#    else
    Py_VISIT(frame->f_func);
#    endif
    for (int i = 0; i < n; i++)
        Py_VISIT(frame->localsplus[i]);
    return 0;
}

/* A generator visits what its frame refers to, but in the middle of such a call
 * leaves out the local variables. */
static int
traverse_generator(_PyInterpreterFrame *frame, visitproc visit, void *arg)
{
    if (frame->stacktop >= 0)
        return 0;
    for (int i = 0; i < tstate_frame_code(frame)->co_nlocalsplus; i++)
        Py_VISIT(frame->localsplus[i]);
    return 0;
}

bool
tstate_is_on_stack(const _PyInterpreterFrame *frame, PyObject *const *end)
{
    const PyCodeObject *code = tstate_frame_code(frame);
    PyObject *const *base = frame->localsplus + code->co_nlocalsplus;

    return end >= base && end <= base + code->co_stacksize;
}

/* But if the arguments of that call are on the evaluation stack, they are what
 * is on top of it. */
static int
traverse_stack(_PyInterpreterFrame *frame, PyObject *const *end,
               visitproc visit, void *arg)
{
    PyObject *const *slot =
        frame->localsplus + tstate_frame_code(frame)->co_nlocalsplus;

    if (frame->stacktop >= 0 || !tstate_is_on_stack(frame, end))
        return 0;
    for (; slot < end; slot++)
        Py_VISIT(*slot);
    return 0;
}

#endif

int
tstate_traverse(struct tstate_slice *s, struct tstate_root *root,
                PyObject *const *stack_end, visitproc visit, void *arg)
{
    _PyInterpreterFrame *frame = tstate_innermost(s);
    int result = 0;

    if (stack_end && frame)
        result = traverse_stack(frame, stack_end, visit, arg);
    if (result)
        return result;
    Py_VISIT(s->context);
    if (s->trace)
        Py_VISIT(s->trace_arg);
    Py_VISIT(root->exc.exc_value);
    for (; frame && frame != &root->frame; frame = frame->previous) {
        if (frame->owner == FRAME_OWNED_BY_THREAD)
            result = traverse_frame(frame, visit, arg);
        else if (frame->owner == FRAME_OWNED_BY_GENERATOR)
            result = traverse_generator(frame, visit, arg);
        if (result) /* those of the interpreter itself own nothing */
            return result;
    }
    return 0;
}

struct _PyInterpreterFrame *
tstate_first_complete(struct _PyInterpreterFrame *frame,
                      const struct tstate_root *root)
{
    while (frame && frame != &root->frame && _PyFrame_IsIncomplete(frame))
        frame = frame->previous;
    return frame == &root->frame ? NULL : frame;
}

/* PyFrame_GetBack() is the one public function that makes a frame object for a
 * frame that has none. It is asked what is behind a frame which we make up. */
PyFrameObject *
tstate_frame_object(struct _PyInterpreterFrame *frame)
{
    struct _PyInterpreterFrame made_up;
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

PyFrameObject *
tstate_frame(const struct tstate_slice *s, const struct tstate_root *root)
{
    return tstate_frame_object(
        tstate_first_complete(tstate_innermost(s), root));
}

PyFrameObject *
tstate_running_frame(PyThreadState *ts, const struct tstate_root *root)
{
    return tstate_frame_object(tstate_first_complete(tstate_running(ts), root));
}

PyFrameObject *
tstate_outermost_frame(PyThreadState *ts, const struct tstate_slice *s,
                       const struct tstate_root *root)
{
    struct _PyInterpreterFrame *frame =
        ts ? tstate_running(ts) : tstate_innermost(s);
    struct _PyInterpreterFrame *found = NULL;

    while ((frame = tstate_first_complete(frame, root)) != NULL) {
        found = frame;
        frame = frame->previous;
    }
    return tstate_frame_object(found);
}

PyFrameObject *
tstate_frame_behind(PyThreadState *ts, const struct tstate_root *root)
{
    struct _PyInterpreterFrame *frame = tstate_running(ts);

    while (frame && frame != &root->frame)
        frame = frame->previous;
    return frame ? tstate_frame_object(
                       tstate_first_complete(frame->previous, root))
                 : NULL;
}

void
tstate_detach(struct tstate_root *root)
{
    root->frame.previous = NULL;
}
