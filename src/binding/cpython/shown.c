/* SPDX-License-Identifier: MIT */
#include "cpython/shown.h"

#include "cpython/inside.h"
#include "cpython/codes.h"

#ifdef CO_SHOWS_TASKS

enum {
    /* Where below the end of its evaluation stack a frame has what it awaits.
     */
    AWAITED = PY_VERSION_HEX >= 0x030F0000 ? 2 : 1,
    LEAST = 3, /* shadows of an object, if it has any */
    MOST = 34,
};

/* Of a generator, as far as it is looked at. */
struct tstate_shadow {
    PyObject head;
    char unused[offsetof(PyGenObject, gi_frame_state) - sizeof(PyObject)];
    int8_t frame_state;
    _PyInterpreterFrame frame;
    _PyStackRef above; /* on its evaluation stack, from 3.15 on */
};

static_assert(offsetof(struct tstate_shadow, frame) ==
                  offsetof(PyGenObject, gi_iframe),
              "a frame is not where readers look");

/* Shows a frame that stands there, before what it awaits: the next. */
static struct tstate_shadow *
show(struct tstate_shadow *shadow, _PyStackRef executable,
     _Py_CODEUNIT *instr_ptr, const void *next)
{
    shadow->frame.f_executable = executable;
    shadow->frame.instr_ptr = instr_ptr;
    shadow->frame.localsplus[0].bits = (uintptr_t)next;
    return shadow;
}

static struct tstate_shadow *
show_frame(struct tstate_shadow *shadow, const _PyInterpreterFrame *frame,
           const void *next)
{
    return show(shadow, frame->f_executable, frame->instr_ptr, next);
}

/* Makes twice as much room as there was. False if that is enough. */
static bool
make_room(struct tstate_shown *shown)
{
    size_t before = (size_t)(shown->end - shown->shadows);
    size_t room = 2 * before < MOST ? 2 * before : MOST;
    struct tstate_shadow *shadows;

    if (before == MOST)
        return false;
    if (room < LEAST)
        room = LEAST;
    shadows = PyMem_Calloc(room, sizeof *shadows);
    if (!shadows)
        return false;
    for (size_t i = 0; i < room; i++) {
        Py_SET_TYPE(&shadows[i].head, &PyCoro_Type);
        shadows[i].frame_state = FRAME_SUSPENDED_YIELD_FROM;
        shadows[i].frame.owner = FRAME_OWNED_BY_GENERATOR;
        shadows[i].frame.stackpointer = shadows[i].frame.localsplus + AWAITED;
    }
    tstate_free_shadows(shown);
    shown->shadows = shadows;
    shown->end = shadows + room;
    return true;
}

/* There is no room for the frame and those behind it: the last two shadows
 * stand for all that are left out, and for the outermost one. */
static const void *
show_outermost(struct tstate_shown *shown, const _PyInterpreterFrame *frame,
               const _PyInterpreterFrame *end)
{
    struct tstate_shadow *last = shown->end - 1;
    const _PyInterpreterFrame *outermost = frame;

    for (; frame && frame != end; frame = frame->previous)
        if (!_PyFrame_IsIncomplete((_PyInterpreterFrame *)frame))
            outermost = frame;
    show(last - 1, PyStackRef_FromPyObjectBorrow((PyObject *)tstate_more_code),
         _PyCode_CODE(tstate_more_code), last - 2);
    return show_frame(last, outermost, last - 1);
}

static const void *show_frames(struct tstate_shown *shown,
                               const _PyInterpreterFrame *innermost,
                               const _PyInterpreterFrame *end,
                               const void *awaited);

/* There is no room for the frame and those behind it. */
__attribute__((cold, noinline)) static const void *
show_more(struct tstate_shown *shown, const _PyInterpreterFrame *innermost,
          const _PyInterpreterFrame *frame, const _PyInterpreterFrame *end,
          const void *awaited)
{
    if (make_room(shown))
        return show_frames(shown, innermost, end, awaited);
    if (!shown->shadows)
        return awaited;
    return show_outermost(shown, frame, end);
}

static const void *
show_frames(struct tstate_shown *shown, const _PyInterpreterFrame *innermost,
            const _PyInterpreterFrame *end, const void *awaited)
{
    const _PyInterpreterFrame *frame = innermost;
    struct tstate_shadow *shadow = shown->shadows;
    const void *next = awaited;

    for (; frame && frame != end; frame = frame->previous) {
        if (_PyFrame_IsIncomplete((_PyInterpreterFrame *)frame))
            continue; /* it is no function's */
        if (__builtin_expect(shadow == shown->end, 0))
            return show_more(shown, innermost, frame, end, awaited);
        next = show_frame(shadow++, frame, next);
    }
    return next;
}

void
tstate_show_wait(struct tstate_shown *shown, const PyThreadState *ts,
                 const struct tstate_root *root, PyObject *awaited)
{
    const void *first =
        show_frames(shown, ts->current_frame, &root->frame, awaited);

    if (first != awaited)
        shown->coroutine = first;
    else /* there is no frame, or no memory */
        tstate_show(shown, awaited);
}

void
tstate_free_shadows(struct tstate_shown *shown)
{
    PyMem_Free(shown->shadows);
    shown->shadows = shown->end = NULL;
}

#endif
