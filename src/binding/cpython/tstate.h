/* SPDX-License-Identifier: MIT
 *
 * The part of PyThreadState that belongs to a chain of calls and not to the
 * thread: saved when a chain stops running, loaded when it goes on. This file
 * and tstate.c are the only ones that look inside CPython, and the only ones
 * with PY_VERSION_HEX.
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
#ifndef COPOOL_TSTATE_H
#define COPOOL_TSTATE_H

#define PY_SSIZE_T_CLEAN
#ifndef Py_BUILD_CORE_MODULE
#    define Py_BUILD_CORE_MODULE 1
#endif
#include <Python.h>

#include <stdbool.h>
#include <stddef.h>

#if PY_VERSION_HEX < 0x030B0000
#    error "copool needs CPython 3.11 or later"
#elif PY_VERSION_HEX >= 0x03100000
#    error "copool does not know this version of CPython"
#elif defined(Py_GIL_DISABLED)
#    error "copool does not support free-threaded CPython"
#endif

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

#if PY_VERSION_HEX < 0x030D0000
#    define CO_HAS_CFRAME 1
#    define CO_COUNTS_TRASH 1 /* deallocations that are nested in a chain */
#endif

/* What keeps calls through C within their stack. */
#if PY_VERSION_HEX < 0x030C0000
#    define CO_COUNTS_ALL_CALLS 1 /* one counter, with Python's calls */
#elif PY_VERSION_HEX < 0x030E0000
#    define CO_COUNTS_C_CALLS 1 /* a counter of their own */
#else
#    define CO_HAS_STACK_LIMITS 1 /* addresses */
#endif

/* The slots by which a module declares that it works in interpreters with GILs
 * of their own, and needs a GIL. */
#if PY_VERSION_HEX >= 0x030D0000
#    define CO_MODULE_SLOTS                                                    \
        {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},  \
        {                                                                      \
            Py_mod_gil, Py_MOD_GIL_USED                                        \
        }
#elif PY_VERSION_HEX >= 0x030C0000
#    define CO_MODULE_SLOTS                                                    \
        {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED}
#else
#    define CO_MODULE_SLOTS {0, NULL}
#endif

/* Tools that follow calls have code changed, and not just the thread state. */
#if PY_VERSION_HEX >= 0x030C0000
#    define CO_INSTRUMENTS_CODE 1
#endif

#if PY_VERSION_HEX >= 0x030E0000
#    define CO_SHOWS_TASKS 1 /* to tools that read another process's memory */
#endif

struct _PyInterpreterFrame;

/* Looks into the interpreter, which is of that Py_Version, for what this file
 * relies on; to be called before anything else here. False with ImportError set
 * if it is one that copool does not know. `lost` pretends that it is so, where
 * there is anything to find. */
bool tstate_know(unsigned long version, bool lost);

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
    TSTATE_REST_TOLD = 4,   /* stays while it runs: see tell.h */
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

/* A trace function follows calls and returns, so a tool that has its data on a
 * stack of calls (coverage has) needs one for each chain, as it needs one for
 * each thread. A chain keeps the one that it had when it was left. But
 * sys.settrace(None) ends tracing in all chains of the thread, and a chain that
 * had none takes part in what has begun meanwhile. */
__attribute__((cold)) void tstate_save_trace(PyThreadState *ts,
                                             struct tstate_slice *s);

/* After the switch. What the other chain had may have nobody else, and to free
 * it may run Python code, so that it is left in the slice for later. */
__attribute__((cold)) void tstate_resume_trace(PyThreadState *ts,
                                               struct tstate_slice *s);

static inline bool
tstate_is_traced(const PyThreadState *ts)
{
    return __builtin_expect(ts->c_tracefunc != NULL, 0);
}

/* Whether it has a trace function or a profile function. */
static inline bool
tstate_is_followed(const PyThreadState *ts)
{
    return __builtin_expect(
        ((uintptr_t)ts->c_tracefunc | (uintptr_t)ts->c_profilefunc) != 0, 0);
}

/* On 3.11, where profile functions are told by them: tells the thread's one, if
 * it has that object, that the frame is called, or has returned. */
void tstate_profile_event(PyThreadState *ts, PyObject *object,
                          PyFrameObject *frame, bool called);

/* Makes the running chain as mute for trace functions as another one was: how
 * many of their calls it is in. */
static inline void
tstate_set_tracing(PyThreadState *ts, int tracing)
{
    if (__builtin_expect(ts->tracing == tracing, 1))
        return;
    ts->tracing = tracing;
#ifdef CO_COUNTS_ALL_CALLS
    tstate_refresh_tracing(ts);
#endif
}

/* Gives the running chain, which has just begun, a trace function of its own if
 * threading.settrace() has been told of one. Runs Python code; errors are
 * reported as unraisable. */
void tstate_begin_trace(PyThreadState *ts);

/* threading.settrace()'s function, a new reference, or NULL without an
 * exception set if there is none. Runs Python code. */
PyObject *tstate_trace_hook(PyThreadState *ts);

/* Gives the running chain, which is traced, the trace function of one that is
 * not running. May run Python code. */
void tstate_share_trace(PyThreadState *ts, const struct tstate_slice *other);

/* The running chain, which has the slice `s`, goes on on the stack of another
 * one, with what that has left of it, until it leaves. */
struct tstate_limit {
#ifdef CO_COUNTS_ALL_CALLS
    int max_depth;
    int deeper; /* calls that stand there, but for as many of its own */
#elif defined(CO_COUNTS_C_CALLS)
    int c_remaining;
#else
    struct tstate_limits limits;
#endif
};

struct tstate_limit tstate_enter_stack(PyThreadState *ts,
                                       struct tstate_slice *s,
                                       const struct tstate_slice *other);
void tstate_leave_stack(PyThreadState *ts, struct tstate_slice *s,
                        const struct tstate_limit *before);

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

/* A tool that begins to follow calls, or ends, changes the code of what is
 * running, and other code when that is next called. Chains that are suspended
 * meanwhile are left out: their code must be renewed before they go on. Not
 * only would a tool miss what they do: from 3.15 on an exception in them would
 * crash, and a debug build of 3.14 ends the process. */

/* Changes with each of these. */
static inline uint64_t
tstate_instrumentation(const PyThreadState *ts)
{
#ifndef CO_INSTRUMENTS_CODE
    (void)ts;
    return 0;
#elif PY_VERSION_HEX < 0x030D0000
    return ts->interp->monitoring_version;
#else
    return ts->eval_breaker & ~(uintptr_t)0xff; /* these are flags */
#endif
}

/* Whether it is another one. From 3.13 on it may be just a flag that is set. */
static inline bool
tstate_is_instrumented_anew(const PyThreadState *ts, uint64_t version)
{
#ifndef CO_INSTRUMENTS_CODE
    (void)ts;
    (void)version;
    return false;
#elif PY_VERSION_HEX < 0x030D0000
    return ts->interp->monitoring_version != version;
#else
    return ts->eval_breaker != version;
#endif
}

/* Work on the code of some chains. It is zero at the beginning. Runs no Python
 * code, but must not be in the middle of a switch. The version may change with
 * tstate_renewal_end(), which is of no importance to anybody. */
struct tstate_renewal {
    PyObject *monitoring; /* sys.monitoring's names, borrowed */
    int tool;             /* with which it is done */
    bool taken;           /* it was not in use */
};

/* Renews the code of a chain that is not running. */
void tstate_renew(struct tstate_renewal *r, PyThreadState *ts,
                  const struct tstate_slice *s);
void tstate_renewal_end(struct tstate_renewal *r);

/* After that: the code of the chain, which was renewed to that version, counts
 * as renewed to the one that there is now. A debug build that makes new ones
 * insists on it, for all that goes on. */
void tstate_confirm(PyThreadState *ts, const struct tstate_slice *s,
                    uint64_t version);

#if defined(Py_DEBUG) && PY_VERSION_HEX >= 0x030D0000 &&                       \
    PY_VERSION_HEX < 0x030F0000
enum { TSTATE_INSISTS_ON_VERSION = 1 };
#else
enum { TSTATE_INSISTS_ON_VERSION = 0 };
#endif

/* Whether no variable has a value in that context. */
static inline bool
tstate_context_is_empty(const PyObject *context)
{
    return ((const PyContext *)context)->ctx_vars->h_count == 0;
}

/* Whether something runs in that context by Context.run(). */
static inline bool
tstate_context_is_entered(const PyObject *context)
{
    return ((const PyContext *)context)->ctx_entered != 0;
}

/* Whether nobody but the owner of one reference has that context, and the
 * collector has not cleared it. */
static inline bool
tstate_context_is_alone(PyObject *op)
{
    const PyContext *context = (const PyContext *)op;

    return Py_REFCNT(op) == 1 && !context->ctx_weakreflist &&
           !context->ctx_entered && context->ctx_vars;
}

/* What variables have as values there: an object that never changes, a borrowed
 * reference. */
static inline PyObject *
tstate_context_values(const PyObject *context)
{
    return (PyObject *)((const PyContext *)context)->ctx_vars;
}

/* The values of an empty one: a new reference, or NULL with an exception set.
 */
PyObject *tstate_no_values(void);

/* Replaces that in a context which is not running; steals the reference and
 * returns that of before. */
static inline PyObject *
tstate_context_swap_values(PyObject *op, PyObject *values)
{
    PyContext *context = (PyContext *)op;
    PyObject *before = (PyObject *)context->ctx_vars;

    context->ctx_vars = (PyHamtObject *)values;
    return before;
}

/* Sets the context of the running chain, a reference that it steals, NULL for
 * none; returns that of before. */
static inline PyObject *
tstate_swap_context(PyThreadState *ts, PyObject *context)
{
    PyObject *before = ts->context;

    ts->context = context;
    ts->context_ver++;
    return before;
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

/* How many nested calls through C a stack of that many bytes holds, if CPython
 * counts them. */
int tstate_budget(size_t stack_size);

/* The stack size in bytes that holds what programs do at CPython's default
 * limits, and the least that is of any use. */
size_t tstate_default_stack(void);
size_t tstate_least_stack(void);

/* Around sys.setrecursionlimit(), which must see nothing hidden of the limit in
 * any thread, and after which no running chain, which has that slice, may have
 * more of it than its stack can hold. Only where one counter counts all calls;
 * elsewhere a stack is guarded by something else. */
#ifdef CO_COUNTS_ALL_CALLS
enum { TSTATE_HIDES_LIMIT = 1 };
#else
enum { TSTATE_HIDES_LIMIT = 0 };
#endif
void tstate_hide_limit(PyThreadState *ts, struct tstate_slice *slice,
                       bool hide);

/* Whether the running chain, which started from root, is back at its start. */
bool tstate_is_unwound(PyThreadState *ts, struct tstate_slice *slice,
                       struct tstate_root *root);

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

/* What CPython clears after the dictionary of a thread state that ends, as far
 * as it may run Python code. */
void tstate_clear_rest(PyThreadState *ts);

/* The dictionary that was made for it since, which CPython would not free. */
void tstate_drop_dict(PyThreadState *ts);

/* Whether its dictionary may be gone for good, so that what is begun now would
 * not be told to end. Before 3.13 threading.local() is a part of it, whose
 * finalizers may come after ours: there that is left to leak. */
static inline bool
tstate_is_ending(const PyThreadState *ts)
{
#if PY_VERSION_HEX < 0x030D0000
    (void)ts;
    return false;
#else
    return ts->_status.finalizing && !ts->dict;
#endif
}

/* Whether CPython is clearing it, for a record that has been in its dictionary.
 */
static inline bool
tstate_is_being_cleared(const PyThreadState *ts)
{
#if PY_VERSION_HEX < 0x030D0000
    return !ts->dict;
#else
    return ts->_status.finalizing;
#endif
}

/* Lets the thread state free its own data stack rather than the running
 * chain's, when it ends with a chain of ours still running. */
void tstate_return_data_stack(PyThreadState *ts, struct tstate_slice *own);

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

/* Whether the coroutine waits for something, and so is driven by somebody. */
bool tstate_is_awaited(PyObject *coroutine);

/* The qualified name of a coroutine or generator, a borrowed reference, or NULL
 * if it is neither. Only reads memory. */
PyObject *tstate_coroutine_name(PyObject *coroutine);

/* Whether a call of that function runs nothing of it yet, but makes a generator
 * or a coroutine. Methods are looked through. */
bool tstate_runs_nothing(PyObject *fn);

/* Whether `await` takes the generator: types.coroutine() has made it so. */
bool tstate_is_awaitable(PyObject *generator);

/* --- what asyncio's tools see ------------------------------------------- */

/* The tools that show the tasks of another process, from 3.14 on, read its
 * memory: the coroutine that a task drives, where its frame stands, and what it
 * awaits there, as long as that is a coroutine too. They know one by its type,
 * which must be none that was made at run time, and bear the name; and they
 * look through what an asynchronous generator is awaited by, whose first field
 * leads to the generator. So an object of ours that is to be looked through,
 * too, has that first, and a type that passes for such a one (see
 * call_graph.c).
 *
 * It leads to the coroutine that the object drives; and, while a chain of calls
 * waits, to shadows, one for each frame: memory that looks like a coroutine
 * which stands there and awaits the next, the last one what the chain waits
 * for.
 *
 *      task -> object -> coroutine ->  ...
 *      task -> object -> shadow -> shadow -> ... -> what is awaited -> ...
 *
 * Shadows are not looked at in this process, and keep nothing alive.
 */
#ifdef CO_SHOWS_TASKS
enum { TSTATE_SHOWS_TASKS = 1 };

struct tstate_shadow;

struct tstate_shown {
    const void *coroutine; /* or shadow, or NULL; must be the first field */
    struct tstate_shadow *shadows, *end; /* from PyMem_Calloc(), or NULL */
};

/* The tools of 3.14.9 and 3.15.1 took everything for a coroutine: to them, one
 * that has ended. */
struct tstate_ended {
    int8_t frame_state;
};

#    define TSTATE_ASSERT_SHOWN(type, shown, ended)                            \
        static_assert(offsetof(type, shown.coroutine) == sizeof(PyObject) &&   \
                          offsetof(type, ended.frame_state) ==                 \
                              offsetof(PyGenObject, gi_frame_state),           \
                      "not where readers look")

static inline void
tstate_shown_init(struct tstate_shown *shown, struct tstate_ended *ended)
{
    shown->coroutine = NULL;
    shown->shadows = shown->end = NULL;
    ended->frame_state = FRAME_CLEARED;
}

/* The object leads to that from now on, if it is a coroutine or a generator,
 * and else to nothing. */
static inline void
tstate_show(struct tstate_shown *shown, PyObject *coroutine)
{
    bool is = coroutine &&
              (PyCoro_CheckExact(coroutine) || PyGen_CheckExact(coroutine));

    shown->coroutine = is ? coroutine : NULL;
}

/* It leads to the running chain of calls from that root on, which is about to
 * wait. Of many frames the outermost is shown and those near to the wait, with
 * one by the name of "..." between them. */
void tstate_show_wait(struct tstate_shown *shown, const PyThreadState *ts,
                      const struct tstate_root *root, PyObject *awaited);

void tstate_free_shadows(struct tstate_shown *shown);

static inline void
tstate_shown_clear(struct tstate_shown *shown)
{
    shown->coroutine = NULL;
    if (__builtin_expect(shown->shadows != NULL, 0))
        tstate_free_shadows(shown);
}
#else
enum { TSTATE_SHOWS_TASKS = 0 };

struct tstate_shown {
};

struct tstate_ended {
};

#    define TSTATE_ASSERT_SHOWN(type, shown, ended)                            \
        static_assert(sizeof(struct tstate_shown) == 0, "it is for free")
#    define tstate_shown_init(shown, ended) ((void)0)
#    define tstate_show(shown, coroutine) ((void)0)
#    define tstate_show_wait(shown, ts, root, awaited) ((void)0)
#    define tstate_shown_clear(shown) ((void)0)
#endif

bool tstate_is_finalizing(void);

struct entries;

/* Adds to a table where a reader from outside finds what it needs of the
 * interpreter's objects: see section.h. */
void tstate_layout(struct entries *entries);

/* Whether the finalizer of an object counts as called, which it is once. */
void tstate_set_finalized(PyObject *op, bool finalized);

#ifdef CO_COUNTS_TRASH
/* How deep in deallocations the running chain is. */
int tstate_trash_nesting(PyThreadState *ts);
#endif

#endif
