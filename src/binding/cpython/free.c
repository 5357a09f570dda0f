/* SPDX-License-Identifier: MIT
 *
 * A chain that never goes on.
 */
#include "cpython/frames.h"

#include "cpython/inside.h"

#ifdef CO_HAS_STACK_LIMITS

/* What the frame owns moves into memory of the frame object's. A generator
 * keeps its code. */
static void
move_frame(_PyInterpreterFrame *frame, _PyInterpreterFrame *to)
{
    _PyFrame_Copy(frame, to);
    to->owner = FRAME_OWNED_BY_FRAME_OBJECT;
    if (frame->owner == FRAME_OWNED_BY_GENERATOR)
        frame->f_executable = PyStackRef_DUP(to->f_executable);
    if (_PyFrame_IsIncomplete(to))
        to->instr_ptr =
            _PyFrame_GetBytecode(to) + _PyFrame_GetCode(to)->_co_firsttraceable;
}

static void
end_stack(_PyInterpreterFrame *frame, PyObject *const *end)
{
    (void)frame;
    (void)end;
}

static void
drop_frame(_PyInterpreterFrame *frame, bool with_code)
{
    while (frame->stackpointer > frame->localsplus) {
        _PyStackRef ref = *--frame->stackpointer;

        PyStackRef_XCLOSE(ref);
    }
    Py_CLEAR(frame->f_locals);
    Py_CLEAR(frame->frame_obj);
    PyStackRef_CLEAR(frame->f_funcobj);
    if (with_code)
        PyStackRef_CLEAR(frame->f_executable);
}

#else

static void
move_frame(_PyInterpreterFrame *frame, _PyInterpreterFrame *to)
{
    PyCodeObject *code = tstate_frame_code(frame);

    if (frame->stacktop < 0)
        frame->stacktop = code->co_nlocalsplus;
    memcpy(
        to, frame,
        (size_t)((char *)&frame->localsplus[frame->stacktop] - (char *)frame));
    to->previous = NULL;
#    if PY_VERSION_HEX >= 0x030C0000
    if (frame->owner == FRAME_OWNED_BY_GENERATOR)
        Py_INCREF(code);
#    endif
    to->owner = FRAME_OWNED_BY_FRAME_OBJECT;
    if (_PyFrame_IsIncomplete(to))
#    if PY_VERSION_HEX >= 0x030D0000
        to->instr_ptr = _PyCode_CODE(code) + code->_co_firsttraceable;
#    else
        to->prev_instr = _PyCode_CODE(code) + code->_co_firsttraceable;
#    endif
}

static void
end_stack(_PyInterpreterFrame *frame, PyObject *const *end)
{
    if (frame->stacktop < 0 && tstate_is_on_stack(frame, end))
        frame->stacktop = (int)(end - frame->localsplus);
}

static void
drop_frame(_PyInterpreterFrame *frame, bool with_code)
{
    PyCodeObject *code = tstate_frame_code(frame);
    int n = frame->stacktop >= 0 ? frame->stacktop : code->co_nlocalsplus;

    frame->stacktop = 0;
    for (int i = 0; i < n; i++)
        Py_CLEAR(frame->localsplus[i]);
    Py_CLEAR(frame->f_locals);
    Py_CLEAR(frame->frame_obj);
#    if PY_VERSION_HEX >= 0x030C0000
    Py_CLEAR(frame->f_funcobj);
#    else
    Py_CLEAR(frame->f_func);
    with_code = true; /* a generator has a reference of its own */
#    endif
    if (with_code)
        Py_DECREF(code);
}

#endif

static PyGenObject *
generator_of(_PyInterpreterFrame *frame)
{
    return (PyGenObject *)((char *)frame - offsetof(PyGenObject, gi_iframe));
}

/* As if the function had been left: somebody, a traceback say, has the frame's
 * object, which gets what the frame has, and leads to the object of `back`, or
 * to none. May run the collector. */
static void
give_to_object(_PyInterpreterFrame *frame, _PyInterpreterFrame *back)
{
    PyFrameObject *object = frame->frame_obj, *next = tstate_frame_object(back);

    if (back && !next)
        PyErr_Clear(); /* no memory */
    frame->frame_obj = NULL;
    object->f_frame = (_PyInterpreterFrame *)object->_f_frame_data;
    move_frame(frame, object->f_frame);
    object->f_back = next;
    if (!PyObject_GC_IsTracked((PyObject *)object))
        PyObject_GC_Track(object);
    Py_DECREF(object);
}

/* It counts as finished. */
static void
finish_generator(PyGenObject *generator)
{
    generator->gi_frame_state = FRAME_CLEARED;
    generator->gi_exc_state.previous_item = NULL;
}

/* Takes the frames apart and gives those to their objects that others have.
 * Returns the innermost of the others, which are followed by one another. */
static _PyInterpreterFrame *
take_apart(struct tstate_slice *s, struct tstate_root *root)
{
    _PyInterpreterFrame *frame = tstate_innermost(s), *first = NULL, *previous;
    _PyInterpreterFrame **link = &first;

    for (; frame && frame != &root->frame; frame = previous) {
        previous = frame->previous;
        if (frame->owner != FRAME_OWNED_BY_THREAD &&
            frame->owner != FRAME_OWNED_BY_GENERATOR)
            continue; /* those of the interpreter itself own nothing */
        if (frame->owner == FRAME_OWNED_BY_GENERATOR)
            finish_generator(generator_of(frame));
        if (frame->frame_obj && Py_REFCNT(frame->frame_obj) > 1) {
            give_to_object(frame, tstate_first_complete(previous, root));
            frame->previous = NULL;
            continue;
        }
        *link = frame;
        link = &frame->previous;
        *link = NULL;
    }
    return first;
}

/* The generator is held, since it may be one that only the next frame has. */
static void
drop_generator(_PyInterpreterFrame *frame)
{
    PyGenObject *generator = (PyGenObject *)Py_NewRef(generator_of(frame));

    drop_frame(frame, false);
    Py_CLEAR(generator->gi_exc_state.exc_value);
    Py_DECREF(generator);
}

static void
free_chunks(_PyStackChunk *chunk)
{
    PyObjectArenaAllocator arenas;
    _PyStackChunk *previous;

    PyObject_GetArenaAllocator(&arenas);
    for (; (previous = chunk->previous) != NULL; chunk = previous)
        arenas.free(arenas.ctx, chunk, chunk->size);
}

void
tstate_free(struct tstate_slice *s, struct tstate_root *root,
            PyObject *const *stack_end)
{
    _PyInterpreterFrame *frame = tstate_innermost(s), *next;

    if (stack_end && frame)
        end_stack(frame, stack_end);
    frame = take_apart(s, root);
    for (; frame; frame = next) {
        next = frame->previous;
        frame->previous = NULL;
        if (frame->owner == FRAME_OWNED_BY_GENERATOR)
            drop_generator(frame);
        else
            drop_frame(frame, true);
    }
    free_chunks(s->chunk);
}
