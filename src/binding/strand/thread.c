/* SPDX-License-Identifier: MIT */
#include "strand/thread.h"

#include <stdlib.h>

#include "cpython/limits.h"
#include "cpython/thread.h"
#include "process/overflow.h"
#include "process/state.h"
#include "python/dict.h"
#include "python/thread_name.h"
#include "strand/entry.h"
#include "strand/hooks.h"
#include "strand/park.h"

static const char record_key[] = "copool.thread";

/* Records of thread states that are no more. They are used again but never
 * freed: a thread that worked for another thread state, of a sub-interpreter
 * say, may still have it in thread_record_last and look into it. It finds
 * neither its thread state nor its type there.
 *
 * Interpreters share them, and don't share a GIL: as in list.h, one is pushed
 * or all are taken. */
static _Atomic(struct thread_record *) spare;

static void
spare_push(struct thread_record *t)
{
    struct thread_record *head =
        atomic_load_explicit(&spare, memory_order_relaxed);

    do
        t->next_spare = head;
    while (!atomic_compare_exchange_weak_explicit(
        &spare, &head, t, memory_order_release, memory_order_relaxed));
}

/* Without its thread state, at which another thread may look. */
static struct thread_record *
spare_pop(void)
{
    struct thread_record *t =
        atomic_exchange_explicit(&spare, NULL, memory_order_acquire);
    struct thread_record *rest = t ? t->next_spare : NULL, *next;
    uint64_t switches;

    for (; rest; rest = next) {
        next = rest->next_spare;
        spare_push(rest);
    }
    if (!t)
        return NULL;
    switches = t->switches;
    memset(&t->own, 0, sizeof *t - offsetof(struct thread_record, own));
    t->switches = t->switches_before = switches;
    return t;
}

static struct thread_record *
record_get(void)
{
    struct thread_record *t = spare_pop();

    if (t || !(t = calloc(1, sizeof *t)))
        return t;
    t->next_made = atomic_load(&thread_records);
    while (!atomic_compare_exchange_weak(&thread_records, &t->next_made, t))
        ;
    return t;
}

static void
record_set_ts(struct thread_record *t, PyThreadState *ts)
{
    __atomic_store_n(&t->ts, ts, __ATOMIC_RELAXED);
}

static void
record_put(struct thread_record *t)
{
    record_set_ts(t, NULL);
    cxx_end(t);
    spare_push(t);
}

static void
abandon_all(struct thread_record *t)
{
    while (t->passed)
        strand_abandon(t->passed);
    while (t->started)
        strand_abandon(t->started);
}

/* They had to be made anew where their makers were to be noted. */
static void
keep_faces(struct thread_record *t)
{
    t->free_coroutines.type = t->state->coroutine_type;
    t->free_bridges.type = t->state->bridge_type;
}

static void
keep_no_faces(struct thread_record *t)
{
    t->free_coroutines.type = t->free_bridges.type = NULL;
    free_faces_drop(&t->free_coroutines);
    free_faces_drop(&t->free_bridges);
}

void
strand_keep_faces(bool keep)
{
    const PyInterpreterState *interp = PyInterpreterState_Get();
    struct thread_record *t = atomic_load(&thread_records);

    for (; t; t = t->next_made) {
        if (!t->ts || t->interp != interp)
            continue;
        if (keep)
            keep_faces(t);
        else
            keep_no_faces(t);
    }
}

static void record_gone(PyObject *capsule);

/* By which the record is found: in the dictionary, which alone refers to it, so
 * that record_gone() is called when that is cleared. */
static PyObject *
record_capsule(struct thread_record *t, PyObject *dict)
{
    PyObject *capsule = PyCapsule_New(t, record_key, NULL);

    if (!capsule)
        return NULL;
    if (PyDict_SetItemString(dict, record_key, capsule) < 0) {
        Py_DECREF(capsule);
        return NULL;
    }
    /* Only now, since until here a failure puts the record back. */
    (void)PyCapsule_SetDestructor(capsule, record_gone);
    Py_DECREF(capsule);
    return capsule;
}

/* What is unwound or freed may leave others behind, and theirs again. */
enum { MOST_ROUNDS = 10 };

static void
end_all(struct thread_record *t)
{
    strand_unwind_all(t);
    tstate_clear_rest(t->ts);
    for (int i = 0; i < MOST_ROUNDS; i++) {
        strand_unwind_all(t);
        strand_leave_all(t);
        if (!t->started)
            break;
    }
}

/* Nothing of the record's is left after this. What is unwound may run for long,
 * and another thread may fork meanwhile: in the child a thread state that is
 * half ended is cleared again, so that the record must be in a dictionary of it
 * until all is done. */
static void
wind_up(struct thread_record *t)
{
    PyObject *dict = PyThreadState_GetDict();
    PyObject *capsule = dict ? record_capsule(t, dict) : NULL;

    PyErr_Clear(); /* no memory: then the child may keep blocks for ever */
    t->ends = true;
    if (!tstate_is_finalizing())
        end_all(t);
    strand_trim(t);
    abandon_all(t);
    while (t->greenlets) /* more than once if a finalizer asks for it again */
        t->greenlets->gone(t);
    strand_hooks->thread_gone(t);
    strand_trim(t);
    if (capsule)
        (void)PyCapsule_SetDestructor(capsule, NULL);
}

/* The destructor of the capsule in the thread state's dictionary. CPython
 * clears that dictionary early when a thread state ends, mostly in the thread
 * itself and with everything still usable, so that coroutines can be unwound.
 *
 * There are two cases in which they can't: when the interpreter is shutting
 * down, and in the child of a fork, which clears the thread states of threads
 * that it does not have. */
static void
record_gone(PyObject *capsule)
{
    struct thread_record *t = PyCapsule_GetPointer(capsule, record_key);
    PyThreadState *ts = t->ts;
    bool here = PyThreadState_Get() == ts;
    bool inside = t->current != &t->own;

    /* The dictionary is no more: what runs now must not search it. */
    if (here)
        thread_record_last = t;
    if (here && !inside) {
        wind_up(t);
    } else {
        abandon_all(t);
        while (t->greenlets && !here)
            t->greenlets->gone(t);
        if (!here)
            strand_hooks->thread_gone(t);
    }
    keep_no_faces(t); /* and none comes any more */
    Py_CLEAR(t->spare_contexts.no_values);
    spare_contexts_drop(&t->spare_contexts);
    if (inside)
        tstate_return_data_stack(ts, &t->own.slice);
    record_set_ts(t, NULL);
    if (thread_record_last == t)
        thread_record_last = NULL;
    /* A chain of ours that is running needs it to the end. */
    if (here && !inside)
        record_put(t);
    if (here)
        tstate_drop_dict(ts);
}

/* A thread state, of a sub-interpreter say, that came to be on the stack of a
 * strand has the limits of the thread's stack, while it is there for good. */
static void
settle(PyThreadState *ts)
{
    const struct thread_record *t = thread_record_last;
    char *here = __builtin_frame_address(0);
    struct block *block;

    /* Else a thread of another interpreter uses the record now. */
    if (!t || !t->ts || t->ident != PyThread_get_thread_ident())
        return;
    if (t->current == &t->own)
        return;
    block = &t->current->block;
    if (strand_has_on_stack(t->current, here))
        tstate_set_limits(ts, block->low, block_stack_top(block));
}

/* Makes nothing that the collector counts: what it then calls would need a
 * record, too. */
static struct thread_record *
record_make(PyThreadState *ts, PyObject *dict)
{
    struct thread_record *t = record_get();
    struct module_state *state;
    PyObject *capsule;

    if (!t)
        return (struct thread_record *)PyErr_NoMemory();
    record_set_ts(t, ts);
    t->own.thread = t;
    t->current = &t->own;
    t->ident = PyThread_get_thread_ident();
    cxx_start(t);
    tstate_outermost(&t->own.slice);
    t->instrumentation = t->renewing = tstate_instrumentation(ts);
    settle(ts);
    state = state_get();
    capsule = state ? record_capsule(t, dict) : NULL;
    if (!capsule) {
        record_put(t);
        return NULL;
    }
    t->spare_contexts.no_values = Py_XNewRef(state->no_values);
    t->state = state;
    t->interp = ts->interp;
    t->entry = strand_main;
    if (!state->notes_makers)
        keep_faces(t);
    strand_hooks->thread_made(t);
    thread_name_plain(t->ident, t->name, sizeof t->name);
    overflow_watch();
    return t;
}

struct thread_record *
thread_record_peek(void)
{
    PyThreadState *ts = tstate_get();
    struct thread_record *t = thread_record_last;
    PyObject *dict, *capsule;

    if (t && t->ts == ts)
        return t;
    if (tstate_is_ending(ts))
        return NULL;
    dict = PyThreadState_GetDict();
    capsule = dict ? dict_find(dict, record_key) : PyErr_NoMemory();
    return capsule ? PyCapsule_GetPointer(capsule, record_key) : NULL;
}

bool
strand_is_here(const struct strand *s)
{
    struct thread_record *t = thread_record_last;
    struct error saved;

    if (s->thread->ts != tstate_get())
        return false;
    if (t == s->thread)
        return true;
    error_take(&saved);
    t = thread_record_peek();
    error_restore(&saved);
    return t == s->thread;
}

struct thread_record *
thread_record_search(PyThreadState *ts)
{
    struct thread_record *t;
    PyObject *dict, *capsule;

    if (tstate_is_ending(ts)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "copool can't be used any more in this thread, which "
                        "is ending");
        return NULL;
    }
    dict = PyThreadState_GetDict();
    if (!dict)
        return (struct thread_record *)PyErr_NoMemory();
    capsule = dict_find(dict, record_key);
    if (capsule)
        t = PyCapsule_GetPointer(capsule, record_key);
    else if (PyErr_Occurred())
        return NULL; /* a second record would be the end of the first */
    else
        t = record_make(ts, dict);
    if (t) {
        cxx_adopt(t);
        thread_record_last = t;
    }
    return t;
}

/* Whether there is no record because the thread is ending. Then clears the
 * exception that says so. */
bool
thread_record_is_late(void)
{
    if (!tstate_is_ending(tstate_get()))
        return false;
    PyErr_Clear();
    return true;
}

void
strand_hide_limits(bool hide)
{
    const PyInterpreterState *interp = PyInterpreterState_Get();
    struct thread_record *t = atomic_load(&thread_records);

    for (; t; t = t->next_made)
        if (t->ts && t->interp == interp && t->current != &t->own)
            tstate_hide_limit(t->ts, &t->current->slice, hide);
}
