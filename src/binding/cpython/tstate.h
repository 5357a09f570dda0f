/* SPDX-License-Identifier: MIT
 *
 * The part of PyThreadState that belongs to a chain of calls and not to the
 * thread: saved when a chain stops running, loaded when it goes on.
 *
 * Thread rule: all functions need the GIL; `ts` is the current thread state.
 * Between tstate_save() and the switch of stacks no Python code may run and
 * nothing may be allocated: the thread state then belongs to neither chain.
 *
 * Saved, and why (docs/design.md has what is left alone):
 *   frames          what is being called; up to 3.12 by way of the cframe
 *   exc_info        the stack of exceptions being handled
 *   data stack      where the next frame of a Python function goes
 *   recursion       how deep this chain is, not how deep the thread is
 *   stack limits    where the C stack in use ends (from 3.14 on)
 *   trace state     a trace function that switches must not mute the others
 *   trace function  if there is one: a tool may want one for each chain
 *   trashcan depth  of deallocations nested in this chain (up to 3.12)
 *   context         the contextvars.Context; the reference moves along
 *   executor        machine code of CPython's own compiler that is running
 */
#ifndef COPOOL_CPYTHON_TSTATE_H
#define COPOOL_CPYTHON_TSTATE_H

#include "cpython/version.h"

#if PY_VERSION_HEX < 0x030C0000
#    include "internal/pycore_pystate.h"
#elif PY_VERSION_HEX < 0x030D0000
#    include "internal/pycore_interp.h"
#endif
#include "internal/pycore_context.h"
#include "internal/pycore_frame.h"
#if PY_VERSION_HEX >= 0x030E0000
#    include "internal/pycore_interpframe_structs.h"
#endif

struct _PyInterpreterFrame;

/* The current thread state. */
static inline PyThreadState *
tstate_get(void)
{
#if PY_VERSION_HEX < 0x030C0000
    return _PyThreadState_GET();
#else
    return PyThreadState_Get();
#endif
}

#ifdef CO_HAS_STACK_LIMITS
/* In the order in which the thread state has them. The stack pointer is below
 * top. Below soft a call raises RecursionError, below hard the process ends. */
struct tstate_limits {
    uintptr_t top, soft, hard;
};

/* Where they are in a thread state, in bytes, and how far hard is above the
 * end of the stack, and soft above hard: found by tstate_know(). */
extern size_t tstate_limits_offset, tstate_limits_margin;

static inline struct tstate_limits *
tstate_get_limits(PyThreadState *ts)
{
    return (struct tstate_limits *)((char *)ts + tstate_limits_offset);
}
#endif

/* What the thread state has side by side, so that it moves as one: always,
 * since a wide load behind narrow stores waits for all of them. */
struct tstate_numbers {
    int headroom; /* for recursion */
    int tracing, what_event;
};

static inline char *
tstate_numbers(PyThreadState *ts)
{
    return (char *)ts + offsetof(PyThreadState, recursion_headroom);
}

/* Only valid while its chain is not running. */
enum {
    TSTATE_REST_TRACE = 1,
    /* For who switches; not looked at here. */
    TSTATE_REST_CXX = 2,
    TSTATE_REST_TOLD = 4,   /* stays while it runs: see strand/hooks.h */
    TSTATE_REST_UNTOLD = 8, /* the same, from arrival until it is told */
};

struct tstate_slice {
#ifdef CO_HAS_CFRAME
    _PyCFrame *cframe;
#else
    struct _PyInterpreterFrame *current_frame;
    PyObject *executor;
#endif
    _PyErr_StackItem *exc_info;
    _PyStackChunk *chunk;
    PyObject **top, **limit;
    PyObject *context; /* owned, may be NULL */
    int depth;         /* recursion: calls that this chain is deep */
    struct tstate_numbers numbers;
    /* What a chain seldom has, as far as this one had it when it was left. */
    unsigned rest;
#ifdef CO_HAS_CFRAME
    int trash_nesting;
#endif
#ifdef CO_COUNTS_ALL_CALLS
    int max_depth; /* what the stack can hold */
    int hidden;    /* limit minus max_depth, while it runs, or 0 */
#elif defined(CO_COUNTS_C_CALLS)
    int c_remaining;
#else
    struct tstate_limits limits;
#endif
    PyObject *trace_arg; /* trace's object, or without it one to be dropped */
    Py_tracefunc trace;  /* sys.settrace()'s, or NULL; taken at arrival */
};

/* What a chain that starts on a stack of our own hangs from. Lives as long as
 * the chain.
 *
 * Its frame is one that belongs to no function, as the interpreter has them
 * where C calls Python; the first frame of the chain comes before it. So one
 * store makes the frames of whoever waits for the chain follow, or none. */
struct tstate_root {
    _PyErr_StackItem exc;
    _PyInterpreterFrame frame;
    const struct tstate_root *made; /* itself, when the frame is filled in but
                                       for what it comes before */
#ifdef CO_HAS_CFRAME
    _PyCFrame cframe;
#endif
};

#ifdef CO_COUNTS_ALL_CALLS
/* Trace functions belong to the thread, this flag to the chain: it may have
 * become stale. */
static inline void
tstate_refresh_tracing(PyThreadState *ts)
{
    ts->cframe->use_tracing =
        !ts->tracing && (ts->c_tracefunc || ts->c_profilefunc) ? 255 : 0;
}

/* 3.11 counts Python and C calls with one counter, so the counter is what
 * keeps a chain within its stack: it must not see more of the limit than its
 * stack can hold, whatever sys.setrecursionlimit() did meanwhile. */
static inline int
tstate_hide(const PyThreadState *ts, int max_depth)
{
    return ts->recursion_limit > max_depth ? ts->recursion_limit - max_depth
                                           : 0;
}
#endif
/* How many calls the running chain, which has that slice, is deep. */
static inline int
tstate_depth(const PyThreadState *ts, const struct tstate_slice *s)
{
#ifdef CO_COUNTS_ALL_CALLS
    return ts->recursion_limit - ts->recursion_remaining - s->hidden;
#else
    (void)s;
    return ts->py_recursion_limit - ts->py_recursion_remaining;
#endif
}

/* Tells the interpreter that the running chain is on that stack. */
static inline void
tstate_set_limits(PyThreadState *ts, void *low, void *top)
{
#ifdef CO_HAS_STACK_LIMITS
    struct tstate_limits *limits = tstate_get_limits(ts);

    limits->top = (uintptr_t)top;
    limits->hard = (uintptr_t)low + tstate_limits_margin;
    limits->soft = limits->hard + tstate_limits_margin;
#else
    (void)ts;
    (void)low;
    (void)top;
#endif
}

#ifndef CO_HAS_CFRAME
static inline PyObject **
tstate_executor(PyThreadState *ts)
{
#    if PY_VERSION_HEX < 0x030E0000
    return &ts->previous_executor;
#    else
    return &ts->current_executor;
#    endif
}

#endif

/* What the last frame of a chain is put before. 3.15 has a frame of its own
 * there, by which profilers see that they have seen all of it. */
static inline struct _PyInterpreterFrame *
tstate_base_frame(const PyThreadState *ts)
{
#if PY_VERSION_HEX < 0x030F0000
    (void)ts;
    return NULL;
#else
    return ts->base_frame;
#endif
}

/* The innermost frame of the running chain. */
static inline struct _PyInterpreterFrame *
tstate_running(const PyThreadState *ts)
{
#ifdef CO_HAS_CFRAME
    return ts->cframe->current_frame;
#else
    return ts->current_frame;
#endif
}

/* Lets the frames of the running chain follow those of the one that is about
 * to go on. They must be there until that is cut off again. */
static inline void
tstate_hang(const PyThreadState *ts, struct tstate_root *root)
{
    root->frame.previous = tstate_running(ts);
}

/* The same for those of a chain that is not running. */
static inline void
tstate_hang_from(struct tstate_root *root, const struct tstate_slice *s)
{
#ifdef CO_HAS_CFRAME
    root->frame.previous = s->cframe->current_frame;
#else
    root->frame.previous = s->current_frame;
#endif
}

static inline void
tstate_cut(const PyThreadState *ts, struct tstate_root *root)
{
    root->frame.previous = tstate_base_frame(ts);
}

/* Fills in the frame but for what it comes before. */
__attribute__((cold)) void tstate_make_root(struct tstate_root *root);

static inline void
tstate_save(PyThreadState *ts, struct tstate_slice *s)
{
#ifdef CO_HAS_CFRAME
    s->cframe = ts->cframe;
#else
    s->current_frame = ts->current_frame;
    s->executor = *tstate_executor(ts);
#endif
    s->exc_info = ts->exc_info;
    s->chunk = ts->datastack_chunk;
    s->top = ts->datastack_top;
    s->limit = ts->datastack_limit;
    s->context = ts->context;
    s->depth = tstate_depth(ts, s);
    memcpy(&s->numbers, tstate_numbers(ts), sizeof s->numbers);
#ifdef CO_COUNTS_C_CALLS
    s->c_remaining = ts->c_recursion_remaining;
#elif defined(CO_HAS_STACK_LIMITS)
    s->limits = *tstate_get_limits(ts);
#endif
#if PY_VERSION_HEX < 0x030C0000
    s->trash_nesting = ts->trash_delete_nesting;
#elif PY_VERSION_HEX < 0x030D0000
    s->trash_nesting = ts->trash.delete_nesting;
#endif
}

static inline void
tstate_load(PyThreadState *ts, struct tstate_slice *s)
{
#ifdef CO_HAS_CFRAME
    ts->cframe = s->cframe;
#else
    ts->current_frame = s->current_frame;
    *tstate_executor(ts) = s->executor;
#endif
    ts->exc_info = s->exc_info;
    ts->datastack_chunk = s->chunk;
    ts->datastack_top = s->top;
    ts->datastack_limit = s->limit;
    ts->context = s->context;
    ts->context_ver++; /* context variables cache their value under it */
    memcpy(tstate_numbers(ts), &s->numbers, sizeof s->numbers);
#ifdef CO_COUNTS_ALL_CALLS
    s->hidden = tstate_hide(ts, s->max_depth);
    ts->recursion_remaining = ts->recursion_limit - s->depth - s->hidden;
    tstate_refresh_tracing(ts);
#else
    ts->py_recursion_remaining = ts->py_recursion_limit - s->depth;
#endif
#ifdef CO_COUNTS_C_CALLS
    ts->c_recursion_remaining = s->c_remaining;
#elif defined(CO_HAS_STACK_LIMITS)
    *tstate_get_limits(ts) = s->limits;
#endif
#if PY_VERSION_HEX < 0x030C0000
    ts->trash_delete_nesting = s->trash_nesting;
#elif PY_VERSION_HEX < 0x030D0000
    ts->trash.delete_nesting = s->trash_nesting;
#endif
}

/* Fills in the slice of the thread's own chain; tstate_save() does the rest. */
void tstate_outermost(struct tstate_slice *slice);

/* The memory of a chain that starts. */
struct tstate_space {
    void *low, *top; /* of its C stack */
    int budget;      /* nested calls through C that the stack holds */
    void *data;      /* for its first frames, aligned to 16 */
    size_t data_size;
    bool hangs; /* its frames are followed by what its root's is */
};

/* What tstate_load() does, for a chain that starts. Its slice has the context
 * and the depth only, its root what it hangs from. */
static inline void
tstate_begin(PyThreadState *ts, struct tstate_slice *s,
             struct tstate_root *root, const struct tstate_space *space)
{
    const struct tstate_numbers numbers = {.what_event = -1};
    _PyStackChunk *chunk = space->data;

    /* A root chunk is one that starts at data[1]: CPython pops a chunk when
     * its first frame is at data[0], so it never pops this one. */
    s->rest = 0;
    s->trace = NULL;
    s->trace_arg = NULL;
    chunk->previous = NULL;
    chunk->size = space->data_size;
    chunk->top = 0;
    ts->datastack_chunk = chunk;
    ts->datastack_top = &chunk->data[1];
    ts->datastack_limit = (PyObject **)((char *)space->data + space->data_size);

    root->exc.exc_value = NULL;
    ts->exc_info = &root->exc;
    if (__builtin_expect(root->made != root, 0))
        tstate_make_root(root);
#ifdef CO_COUNTS_ALL_CALLS
    root->frame.f_builtins = ts->interp->builtins;
#endif
    ts->context = s->context;
    ts->context_ver++;
    memcpy(tstate_numbers(ts), &numbers, sizeof numbers);
#ifdef CO_HAS_CFRAME
    root->cframe.current_frame =
        space->hangs ? &root->frame : tstate_base_frame(ts);
    root->cframe.previous = &ts->root_cframe;
    ts->cframe = &root->cframe;
#else
    ts->current_frame = space->hangs ? &root->frame : tstate_base_frame(ts);
    *tstate_executor(ts) = NULL;
#endif
#ifdef CO_COUNTS_ALL_CALLS
    s->max_depth = space->budget;
    s->hidden = tstate_hide(ts, space->budget);
    ts->recursion_remaining = ts->recursion_limit - s->depth - s->hidden;
    tstate_refresh_tracing(ts);
#else
    ts->py_recursion_remaining = ts->py_recursion_limit - s->depth;
#endif
#ifdef CO_COUNTS_C_CALLS
    ts->c_recursion_remaining = space->budget;
#endif
    tstate_set_limits(ts, space->low, space->top);
#if PY_VERSION_HEX < 0x030C0000
    ts->trash_delete_nesting = 0;
#elif PY_VERSION_HEX < 0x030D0000
    ts->trash.delete_nesting = 0;
#endif
}

/* Whether the running chain, which started from root, is back at its start. */
bool tstate_is_unwound(PyThreadState *ts, struct tstate_slice *slice,
                       struct tstate_root *root);

/* The chain has ended: what its root owns besides, a reference, or NULL. */
static inline PyObject *
tstate_end(struct tstate_root *root)
{
#ifdef CO_COUNTS_ALL_CALLS
    PyObject *locals =
        root->frame.f_locals; /* locals() has been called there */

    root->frame.f_locals = NULL;
    return locals;
#else
    (void)root;
    return NULL;
#endif
}

#endif
