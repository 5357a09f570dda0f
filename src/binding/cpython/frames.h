/* SPDX-License-Identifier: MIT
 *
 * The frames of a chain: which there are, what they own, and how they are freed
 * when the chain never goes on.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_CPYTHON_FRAMES_H
#define COPOOL_CPYTHON_FRAMES_H

#include "cpython/tstate.h"

/* The innermost frame of a chain that is not running. */
static inline struct _PyInterpreterFrame *
tstate_innermost(const struct tstate_slice *s)
{
#ifdef CO_HAS_CFRAME
    return s->cframe->current_frame;
#else
    return s->current_frame;
#endif
}

/* The first of them that is a function's, or NULL. */
struct _PyInterpreterFrame *
tstate_first_complete(struct _PyInterpreterFrame *frame,
                      const struct tstate_root *root);

/* Its object, made if need be: a new reference; NULL without an exception for
 * no frame, with one if there is no memory. */
PyFrameObject *tstate_frame_object(struct _PyInterpreterFrame *frame);

#ifndef CO_HAS_STACK_LIMITS
static inline PyCodeObject *
tstate_frame_code(const _PyInterpreterFrame *frame)
{
#    if PY_VERSION_HEX >= 0x030D0000
    return (PyCodeObject *)frame->f_executable;
#    else
    return frame->f_code;
#    endif
}

/* Whether that is an address on the frame's evaluation stack. */
bool tstate_is_on_stack(const _PyInterpreterFrame *frame, PyObject *const *end);
#endif

/* Whether the running chain is the one that started from root, and not one that
 * another library has put in its place below it, on the same stack. */
static inline bool
tstate_is_running(const PyThreadState *ts, const struct tstate_root *root)
{
    const _PyErr_StackItem *item = ts->exc_info;

    while (item && item != &root->exc)
        item = item->previous_item;
    return item != NULL;
}

/* Whether the coroutine is running in that chain, or in one that it entered. */
static inline bool
tstate_runs_in(const PyThreadState *ts, PyObject *coroutine,
               const struct tstate_root *root)
{
    const _PyErr_StackItem *own = &((PyCoroObject *)coroutine)->cr_exc_state;
    const _PyErr_StackItem *item = ts->exc_info;

    while (item && item != own && item != &root->exc)
        item = item->previous_item;
    return item == own;
}

/* The chain is given up, but tracebacks and frame objects may live on and lead
 * to its frames: lets go of those that are not its own. */
void tstate_detach(struct tstate_root *root);

/* Visits what the frames of a chain that is not running own. stack_end, or
 * NULL, is the end of the arguments of the call in which the innermost one is.
 */
int tstate_traverse(struct tstate_slice *slice, struct tstate_root *root,
                    PyObject *const *stack_end, visitproc visit, void *arg);

/* A chain that is not running never goes on: frees what its frames own, and
 * their memory besides what it was given. A frame whose object somebody has
 * lives on in that, as if its function had been left. Before 3.14 what is on
 * the evaluation stack of a frame in the middle of a call into C can't be found
 * and is left, but for the innermost one if stack_end is as above. Runs Python
 * code, before which the frames are cut from one another. */
void tstate_free(struct tstate_slice *slice, struct tstate_root *root,
                 PyObject *const *stack_end);

/* Whether frames do not say themselves where their evaluation stacks end. */
#ifdef CO_HAS_STACK_LIMITS
enum { TSTATE_NEEDS_STACK_END = 0 };
#else
enum { TSTATE_NEEDS_STACK_END = 1 };
#endif

/* The innermost Python frame of a chain that is not running and has started
 * from root, which a thread's own has none of: a new reference; NULL without an
 * exception if it has none, with one if there is no memory. */
PyFrameObject *tstate_frame(const struct tstate_slice *slice,
                            const struct tstate_root *root);

/* The same for the chain that runs in a thread, which may be another one. */
PyFrameObject *tstate_running_frame(PyThreadState *ts,
                                    const struct tstate_root *root);

/* The outermost one of either: of the chain that runs in the thread of ts, or,
 * if that is NULL, of one that is not running. */
PyFrameObject *tstate_outermost_frame(PyThreadState *ts,
                                      const struct tstate_slice *slice,
                                      const struct tstate_root *root);

/* The innermost of those that follow that chain's frames: of who waits for it,
 * if it hangs from these. */
PyFrameObject *tstate_frame_behind(PyThreadState *ts,
                                   const struct tstate_root *root);

#endif
