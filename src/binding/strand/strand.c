/* SPDX-License-Identifier: MIT */
#include "strand/strand.h"

#include <stdlib.h>

#include "cpython/frames.h"
#include "cpython/limits.h"
#include "cpython/root.h"
#include "cpython/thread.h"
#include "process/blocks.h"
#include "process/overflow.h"
#include "process/state.h"
#include "python/thread_name.h"
#include "tell/tell.h"

CO_THREAD_LOCAL struct thread_record *thread_record_last;
_Atomic(struct thread_record *) thread_records;

/* --- thread records ----------------------------------------------------- */

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

static void
free_faces_drop(struct free_faces *list)
{
    PyObject *face;

    while ((face = free_faces_take(list)) != NULL) {
        PyTypeObject *type = Py_TYPE(face);

        PyObject_GC_Del(face);
        Py_DECREF(type);
    }
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

static void
spare_contexts_drop(struct spare_contexts *list)
{
    while (list->count)
        Py_XDECREF(spare_contexts_take(list));
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
static void leave_all(struct thread_record *t);

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
        leave_all(t);
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
    tell_gone(t);
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
            tell_gone(t);
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
    if (state->notes_times)
        tell_times(t);
    tell_callers(t);
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

/* --- the life of a strand ----------------------------------------------- */

static void
link_started(struct strand **list, struct strand *s)
{
    s->next = *list;
    s->link = list;
    if (s->next)
        s->next->link = &s->next;
    *list = s;
}

static void
unlink_started(struct strand *s)
{
    CO_ASSERT(*s->link == s);
    if (CO_UNLIKELY(s->thread->to_look_at == s))
        s->thread->to_look_at = s->next;
    *s->link = s->next;
    if (s->next)
        s->next->link = s->link;
}

bool
strand_call_hold(struct strand_call *call, struct strand *s,
                 const struct strand_args *args)
{
    Py_ssize_t n = args->nargs;
    PyObject **held = call->few + 1;

    if (args->names)
        n += PyTuple_GET_SIZE(args->names);
    call->strand = s;
    call->args = *args;
    call->many = NULL;
    if (CO_UNLIKELY(n > STRAND_FEW)) {
        held = call->many = PyMem_New(PyObject *, n);
        if (!held) {
            PyErr_NoMemory();
            return false;
        }
    }
    for (Py_ssize_t i = 0; i < n; i++)
        held[i] = Py_NewRef(args->args[i]);
    call->args.args = s->args = held;
    s->nargs = n;
    Py_XINCREF(call->args.names);
    return true;
}

void
strand_call_drop(struct strand_call *call)
{
    Py_ssize_t n = call->strand->nargs;

    call->strand->nargs = 0; /* a finalizer may switch */
    for (Py_ssize_t i = 0; i < n; i++)
        Py_DECREF(call->args.args[i]);
    PyMem_Free(call->many);
    Py_XDECREF(call->args.names);
}

void
strand_renew_trace(struct strand *s)
{
    PyThreadState *ts = s->thread->ts;
    PyObject *hook = tstate_trace_hook(ts);

    if (!hook)
        tstate_share_trace(ts, &s->caller->slice);
    else if (hook != s->trace_hook)
        tstate_begin_trace(ts);
    Py_XSETREF(s->trace_hook, hook);
}

PyObject *
strand_call_make(struct strand_call *call, PyObject *fn)
{
    size_t nargsf = (size_t)call->args.nargs;
    PyObject *result;

    if (tstate_is_followed(call->strand->thread->ts))
        strand_begins_followed(call->strand);
    if (!call->many)
        nargsf |= PY_VECTORCALL_ARGUMENTS_OFFSET;
    result = PyObject_Vectorcall(fn, call->args.args, nargsf, call->args.names);
    strand_call_drop(call);
    return result;
}

/* `fn` is held by the face. */
__attribute__((noinline)) static PyObject *
call_with_args(const struct strand_start *start)
{
    struct strand_call call;

    if (!strand_call_hold(&call, start->strand, &start->args))
        return NULL;
    return strand_call_make(&call, start->fn);
}

static inline PyObject *
call(const struct strand_start *start)
{
    vectorcallfunc vectorcall = PyVectorcall_Function(start->fn);

    if (CO_UNLIKELY(start->args.nargs || !vectorcall))
        return call_with_args(start);
    if (tstate_is_followed(start->strand->thread->ts))
        strand_begins_followed(start->strand);
    return vectorcall(start->fn, NULL, 0, NULL);
}

/* No Python code runs any more: what is left of the strand is released by
 * whoever comes next, in strand_release(). */
_Noreturn void
strand_leave(struct strand *s, struct strand *to, void *value)
{
    struct thread_record *t = s->thread;

    CO_ASSERT(t->current == s && !PyErr_Occurred());
    CO_ASSERT(to->thread == t && to != s && !to->finished);
    CO_ASSERT(tstate_is_unwound(t->ts, &s->slice, &s->root));
    CO_ASSERT(!s->slice.trace);
    s->slice.context = t->ts->context;
    s->finished = true;
    t->current = to;
    t->switches++;
    tstate_load(t->ts, &to->slice);
    ctx_leave(&s->ctx, &to->ctx, value, ARCH_READ_CONTROL);
}

/* CPython 3.11 and 3.12 lose an exception that passes through a frame if there
 * is no memory for what that needs to be kept; in calls of its own it says the
 * same of it. */
__attribute__((cold, noinline)) static PyObject *
fail(struct strand *s)
{
    PyObject *value;

    if (CO_UNLIKELY(!PyErr_Occurred()))
        PyErr_SetString(PyExc_SystemError,
                        "a call returned NULL without setting an exception");
    value = s->ops->fails(s->face);
    if (!value)
        error_take(&s->thread->error);
    return value;
}

/* The last that runs in the chain: result is NULL if an exception is set. What
 * the caller gets. */
static inline PyObject *
ended(struct strand *s, PyObject *result)
{
    Py_CLEAR(*strand_callable(s->face));
    return CO_LIKELY(result != NULL) ? result : fail(s);
}

/* The bottom of the stack. */
void
strand_main(void *value)
{
    struct strand_start *start = value;
    struct strand *s = start->strand;
    PyObject *result;

    STRAND_ARRIVE(s);
    result = ended(s, call(start));
    strand_leave(s, s->caller, result);
}

void
strand_main_told(void *value)
{
    struct strand_start *start = value;
    struct strand *s = start->strand;
    PyObject *result = NULL;
    struct strand_call call;

    STRAND_ARRIVE(s);
    /* Who is told may switch, and then the arguments are gone. */
    if (strand_call_hold(&call, s, &start->args)) {
        PyObject *fn = start->fn;

        tell_begins(s);
        if (strand_tidy_alone(s, strand_litter(s)))
            result = strand_call_make(&call, fn);
        else
            strand_call_drop(&call);
    }
    result = ended(s, result);
    strand_leave(s, s->caller, result);
}

void
strand_prime(struct thread_record *t, struct strand *to, bool hangs)
{
    struct strand *from = t->current;

    tstate_save(t->ts, &from->slice);
    strand_load_fresh(t, to, hangs);
    tstate_save(t->ts, &to->slice);
    tstate_load(t->ts, &from->slice);
    ctx_inherit(&to->ctx, &from->ctx, ARCH_READ_CONTROL);
}

void
strand_arrive_slow(struct strand *here)
{
    unsigned rest = here->slice.rest;

    here->slice.rest = rest & (TSTATE_REST_TOLD | TSTATE_REST_UNTOLD);
    if (rest & TSTATE_REST_TRACE) {
        tstate_resume_trace(here->thread->ts, &here->slice);
        strand_traced_arrives(here);
    }
    if (rest & TSTATE_REST_CXX)
        cxx_return(here);
    if (rest & TSTATE_REST_TOLD)
        tell_arrived(here);
}

PyObject *
strand_tidy_slow(struct strand *here, PyObject *litter, PyObject *value)
{
    struct error saved;

    error_take(&saved);
    Py_DECREF(litter);
    error_restore(&saved);
    return tell_now(here, value);
}

bool
strand_tidy_alone(struct strand *here, PyObject *litter)
{
    PyObject *none = strand_tidy_litter(here, litter, Py_NewRef(Py_None));

    Py_XDECREF(none);
    return none != NULL;
}

/* A thread gets a context when something first asks for one. */
PyObject *
strand_context_slow(struct thread_record *t)
{
    PyObject *copy = PyContext_CopyCurrent();

    if (!copy)
        return NULL;
    Py_DECREF(copy);
    return Py_NewRef(t->ts->context);
}

struct strand *
strand_create(struct thread_record *t, PyObject *face,
              const struct face_ops *ops, ctx_entry *entry)
{
    struct pool *pool = blocks_current();
    enum co_status status;
    struct strand *s;

    s = (struct strand *)pool_get(pool, &status);
    if (CO_UNLIKELY(!s))
        return blocks_raise(t->state, pool, status);
    s->thread = t;
    s->caller = NULL;
    s->face = face;
    s->ops = ops;
    s->pool = pool;
    s->nargs = 0;
    s->trace_hook = NULL;
    s->finished = false;
    s->dropped = false;
    s->slice.context = NULL;
    s->slice.depth = 0;
    ctx_make(&s->ctx, s->block.low, block_stack_top(&s->block), entry);
    link_started(&t->started, s);
    return s;
}

/* It has ended, or is given up, while it waited to be unwound: somebody got
 * hold of it once more. */
static void
leave_dropped(struct strand *s)
{
    struct strand **link = &s->thread->dropped;

    while (*link != s)
        link = &(*link)->next_queued;
    *link = s->next_queued;
    s->dropped = false;
}

void
strand_release(struct strand *s)
{
    PyObject *face = s->dropped ? s->face : NULL;
    PyObject *context = s->slice.context;
    PyObject *exception = s->root.exc.exc_value;
    PyObject *hook = s->trace_hook, *trace = s->slice.trace_arg;
    PyObject *locals = tstate_end(&s->root);
    struct thread_record *t = s->thread;
    struct pool *pool = s->pool;

    CO_ASSERT(s->finished && t->current != s);
    unlink_started(s);
    if (CO_UNLIKELY(face != NULL))
        leave_dropped(s);
    ctx_gone(&s->ctx);
    pool_put(pool, &s->block);
    if (CO_UNLIKELY(pool != blocks_current()))
        blocks_collect();
    Py_XDECREF(locals);
    Py_XDECREF(exception);
    if (context)
        spare_contexts_keep(&t->spare_contexts, context);
    Py_XDECREF(hook);
    Py_XDECREF(trace);
    Py_XDECREF(face);
}

int
strand_traverse(struct strand *s, PyObject *const *stack_end, visitproc visit,
                void *arg)
{
    for (Py_ssize_t i = 0; i < s->nargs; i++)
        Py_VISIT(s->args[i]);
    return tstate_traverse(&s->slice, &s->root, stack_end, visit, arg);
}

/* --- parking ------------------------------------------------------------ */

enum { MAX_PARKED = 16 };

bool
strand_park(struct strand *s)
{
    struct thread_record *t = s->thread;

    CO_ASSERT(t->current == s && !PyErr_Occurred());
    CO_ASSERT(tstate_is_unwound(t->ts, &s->slice, &s->root));
    if (t->parked_count >= MAX_PARKED || s->pool != blocks_current())
        return false;
    if (CO_UNLIKELY(s->dropped))
        return false; /* it waits in another list, with its face */
    s->face = NULL;
    s->next_queued = t->parked;
    t->parked = s;
    t->parked_count++;
    return true;
}

static struct strand *
take_parked(struct thread_record *t)
{
    struct strand *s = t->parked;

    t->parked = s->next_queued;
    t->parked_count--;
    return s;
}

static void
dismiss(struct thread_record *t, struct strand *s)
{
    PyObject *litter;

    s->caller = t->current;
    (void)strand_switch(t, s, (PyObject *)s);
    litter = strand_litter(t->current);
    strand_release(s);
    if (!strand_tidy_alone(t->current, litter))
        PyErr_WriteUnraisable(NULL);
}

struct strand *
strand_unpark(struct thread_record *t, PyObject *face)
{
    while (t->parked) {
        struct strand *s = take_parked(t);

        if (CO_UNLIKELY(s->pool != blocks_current())) {
            dismiss(t, s);
            continue;
        }
        if (CO_UNLIKELY(s->trace_hook && !s->slice.trace))
            Py_CLEAR(s->trace_hook); /* its trace function was taken away */
        /* What its last piece of work has set there is not the next one's. */
        ctx_inherit(&s->ctx, &t->current->ctx, ARCH_READ_CONTROL);
        s->face = face; /* only now: with one it counts as suspended */
        return s;
    }
    return NULL;
}

void
strand_trim(struct thread_record *t)
{
    while (t->parked)
        dismiss(t, take_parked(t));
    free_faces_drop(&t->free_coroutines);
    free_faces_drop(&t->free_bridges);
    spare_contexts_drop(&t->spare_contexts);
}

/* --- code that tools have changed -------------------------------------------
 */

/* At each switch, so that who has many suspended does not wait for all of them
 * when a tool comes or goes. */
enum { RENEW_AT_ONCE = 64 };
static const uint64_t never = UINT64_MAX;

static bool
is_renewing(const struct thread_record *t)
{
    return t->instrumentation == never;
}

static void
renew(struct tstate_renewal *r, struct strand *s)
{
    struct thread_record *t = s->thread;

    if (s != t->current && !s->finished)
        tstate_renew(r, t->ts, &s->slice);
}

/* It was only us who changed it. Where it matters all the same, who goes on is
 * renewed each time. */
static void
rename_version(const struct thread_record *mine, uint64_t old)
{
    uint64_t version = tstate_instrumentation(mine->ts);
    struct thread_record *t = atomic_load(&thread_records);

    if (version == old || TSTATE_INSISTS_ON_VERSION)
        return;
    for (; t; t = t->next_made) {
        if (!t->ts || t->interp != mine->interp)
            continue;
        if (t->instrumentation == old)
            t->instrumentation = version;
        if (t->renewing == old)
            t->renewing = version;
    }
}

void
strand_renew(struct thread_record *t, struct strand *to)
{
    uint64_t version = tstate_instrumentation(t->ts);
    struct tstate_renewal r = {NULL, 0, false};

    if (version == t->instrumentation)
        return; /* there are only flags */
    strand_look_for_tools(t);
    if (!is_renewing(t) || version != t->renewing) {
        t->instrumentation = never;
        t->renewing = version;
        t->to_look_at = t->started;
    }
    renew(&r, &t->own);
    for (struct strand *s = to; s; s = s->caller)
        renew(&r, s);
    for (int n = 0; t->to_look_at && n < RENEW_AT_ONCE; n++) {
        renew(&r, t->to_look_at);
        t->to_look_at = t->to_look_at->next;
    }
    if (!t->to_look_at && !TSTATE_INSISTS_ON_VERSION)
        t->instrumentation = version;
    tstate_renewal_end(&r);
    for (struct strand *s = to; s; s = s->caller)
        if (s != t->current)
            tstate_confirm(t->ts, &s->slice, version);
    rename_version(t, version);
}

/* --- memory that suspended chains don't use ------------------------------- */

/* Its pages are touched again when it goes as deep again. */
static void
discard_unused(struct strand *s)
{
    char *sp = s == s->thread->current ? NULL : strand_stack_pointer(s);

    if (sp)
        arena_discard_below(&s->pool->arena, &s->block, sp);
}

/* No thread of this interpreter switches meanwhile: we have the GIL. */
void
strand_discard_unused(void)
{
    const PyInterpreterState *interp = PyInterpreterState_Get();
    struct thread_record *t = atomic_load(&thread_records);
    struct strand *s;

    for (; t; t = t->next_made) {
        if (!t->ts || t->interp != interp)
            continue;
        for (s = t->started; s; s = s->next)
            discard_unused(s);
        for (s = t->passed; s; s = s->next)
            discard_unused(s);
    }
}

/* In one go: a system call takes up to a microsecond even where there is
 * nothing to give back, and who waits for this must not notice. */
enum { LOOK_AT = 512 };

void
strand_look(void)
{
    struct thread_record *t = thread_record_last;
    struct strand *s;

    if (!t || t->ts != tstate_get() || is_renewing(t))
        return;
    s = t->to_look_at ? t->to_look_at : t->started;
    for (int n = 0; s && n < LOOK_AT; s = s->next, n++)
        discard_unused(s);
    t->to_look_at = s;
}

/* --- unwinding ---------------------------------------------------------- */

void
strand_abandon(struct strand *s)
{
    PyObject *face = s->face;

    unlink_started(s);
    /* A fork may leave one that is running in a thread which is gone. */
    tstate_detach(&s->root);
    s->ops->forget(face);
    if (s->dropped) {
        leave_dropped(s);
        Py_DECREF(face);
    }
}

bool
strand_is_left(const struct strand *s)
{
    const struct thread_record *t = s->thread;

    return !s->ops->unwound_at_end &&
           (t->ends || tstate_is_being_cleared(t->ts));
}

/* Nobody can let it go on, or follow its frames to others', from here on. */
static void
leave(struct strand *s)
{
    tstate_detach(&s->root);
    s->stack_end = s->ops->stack_end ? s->ops->stack_end(s) : NULL;
    s->ops->forget(s->face);
}

/* What C code holds on the stack is not known, but for what is ours. */
static void
free_left(struct strand *s)
{
    PyObject *entered = s->caller ? s->face : NULL;
    PyObject *const *args = s->args;
    Py_ssize_t nargs = s->nargs;
    struct error saved;

    error_take(&saved);
    s->nargs = 0;
    tstate_free(&s->slice, &s->root, s->stack_end);
    for (Py_ssize_t i = 0; i < nargs; i++)
        Py_DECREF(args[i]);
    s->finished = true;
    strand_release(s);
    Py_XDECREF(entered); /* by who had entered it */
    error_restore(&saved);
}

void
strand_take_back(struct strand *s)
{
    struct strand *left = NULL;
    struct strand *top = s->ops->top ? s->ops->top(s->face) : s;

    for (struct strand *o = top, *next; o; o = next) {
        next = o == s ? NULL : o->caller;
        leave(o);
        unlink_started(o);
        link_started(&left, o);
    }
    while (left)
        free_left(left);
}

void
strand_give_up(struct strand *s)
{
    if (s->thread->ends)
        strand_take_back(s);
    else
        strand_abandon(s);
}

/* First all are dead, so that what they held, when it is freed, finds none that
 * could go on; and none that stands in this list any more. */
static void
leave_all(struct thread_record *t)
{
    struct strand *left = NULL, *s;

    strand_trim(t); /* parked ones are no face's */
    while ((s = t->started) != NULL) {
        leave(s);
        unlink_started(s);
        link_started(&left, s);
    }
    while ((s = left) != NULL)
        free_left(s);
}

void
strand_drop(struct strand *s)
{
    CO_ASSERT(!s->dropped);
    s->dropped = true;
    s->next_queued = s->thread->dropped;
    s->thread->dropped = s;
}

void
strand_unwind_dropped(struct thread_record *t)
{
    struct strand *s;

    while ((s = t->dropped) != NULL) {
        PyObject *face = s->face;

        t->dropped = s->next_queued;
        s->dropped = false;
        if (strand_is_left(s))
            strand_take_back(s);
        else
            s->ops->unwind(face);
        Py_DECREF(face);
    }
}

/* A face without references is one that CPython puts off freeing: it takes the
 * stack for full. From 3.14 on that may last, on a foreign stack of which it
 * has not been told. */
static bool
can_unwind(const struct strand *s)
{
    return s->ops->unwound_at_end && s->ops->is_suspended(s) &&
           Py_REFCNT(s->face) > 0;
}

static void
unwind(struct strand *s)
{
    PyObject *face = Py_NewRef(s->face);

    s->ops->unwind(face);
    Py_DECREF(face);
}

/* A `finally` block may start others, and theirs again: for a program that
 * never stops doing so this must be the end. */
enum { MOST_STARTED_MEANWHILE = 1000 * 1000 };

static void
warn_of_endless_starts(void)
{
    if (PyErr_WarnEx(PyExc_RuntimeWarning,
                     "coroutines that end keep starting others, which are "
                     "suspended: those left are not ended; start none in "
                     "`finally` blocks",
                     1) < 0)
        PyErr_WriteUnraisable(NULL);
}

static void
put_back_passed(struct thread_record *t)
{
    struct strand *s;

    while ((s = t->passed) != NULL) {
        unlink_started(s);
        link_started(&t->started, s);
    }
}

/* Those that can't be unwound are put aside, not to be looked at again for each
 * of the others: there may be many of both. But what runs meanwhile may suspend
 * them, so there is another round.
 *
 * A face that is unwound leaves the list for good: it finishes or is
 * abandoned. */
void
strand_unwind_all(struct thread_record *t)
{
    Py_ssize_t left = MOST_STARTED_MEANWHILE;
    bool again = true, ended = t->ends;
    struct strand *s;

    for (s = t->started; s; s = s->next)
        left++;
    t->ends = true;
    strand_unwind_dropped(t);
    while (again && left > 0) {
        again = false;
        while ((s = t->started) != NULL && left > 0) {
            if (can_unwind(s)) {
                unwind(s);
                again = true;
                left--;
            } else {
                unlink_started(s);
                link_started(&t->passed, s);
            }
        }
        put_back_passed(t);
    }
    t->ends = ended;
    if (left <= 0)
        warn_of_endless_starts();
}
