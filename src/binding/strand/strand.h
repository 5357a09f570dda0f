/* SPDX-License-Identifier: MIT
 *
 * A strand: a chain of Python calls on a block of its own. The faces of copool
 * (Coroutine, and others) are thin over it: they decide who is switched to,
 * when, and with what; a strand knows how.
 *
 * What passes from strand to strand is one reference, or NULL for an exception
 * that the thread record carries. Every thread state has a record, with a
 * strand for the thread's own chain.
 *
 * Thread rule: all functions need the GIL. A strand is switched to only in the
 * thread that started it.
 */
#ifndef COPOOL_STRAND_H
#define COPOOL_STRAND_H

#include "cpython/context.h"
#include "cpython/renew.h"
#include "cpython/trace.h"

#include "block.h"
#include "check.h"
#include "ctx.h"
#include "strand/cxx.h"
#include "python/error.h"
#include "pool.h"

struct module_state;
struct outlook;
struct strand;
struct thread_record;

/* What a face is. Readers from outside know the numbers. */
enum face_kind { FACE_COROUTINE = 1, FACE_GREENLET = 2, FACE_BRIDGE = 3 };

/* Where one is that has a caller. Readers from outside know the numbers. */
enum face_state { CREATED, ENTERED, SUSPENDED, FINISHED };

/* What a strand's face must be able to do besides switching. */
struct face_ops {
    enum face_kind kind;
    /* Whether the chain can be unwound: it is neither running nor waiting for
     * another strand to come back to it. */
    bool (*is_suspended)(const struct strand *strand);
    /* Ends the chain of a suspended face by raising the exit exception in it.
     * One that has caught that and is suspended again is given up, but for a
     * greenlet. Runs Python code; keeps a set exception. */
    void (*unwind)(PyObject *face);
    /* The chain, which is the running one, has ended with the exception that is
     * set: what its caller gets instead, a new reference, or NULL to pass the
     * exception on. What the face drops here is dropped in the chain's context.
     * May run Python code. NULL for a face that has an entry of its own. */
    PyObject *(*fails)(PyObject *face);
    /* Its strand is no more: the face must count as finished. */
    void (*forget)(PyObject *face);
    /* The end of the arguments of the call in which the strand of a suspended
     * face is, as in tstate_free(), or NULL. May itself be NULL. */
    PyObject *const *(*stack_end)(const struct strand *strand);
    /* Whether suspended faces are unwound when the thread ends or the process
     * exits. Else they are never run again. */
    bool unwound_at_end;
    /* If a suspended face may have entered coroutines, which wait with it: what
     * they wait for and who will let them go on. Else NULL. */
    const char *why_suspended;
    /* What a running face calls, a borrowed reference, or NULL. Called in a
     * signal handler. */
    PyObject *(*callee)(PyObject *face);
    /* The strand that goes on when a suspended face does: its own, or the last
     * of those that are entered from it, which wait with it. NULL if it is
     * always its own. */
    struct strand *(*top)(PyObject *face);
};

/* The block's record: in the hot page, beside the top of the stack. What a
 * switch reads and writes lies together, from the second cache line on: in
 * a crowd each line is fetched from memory. */
struct strand {
    struct block block; /* must be first; unused in a thread's own strand */
    struct pool *pool;
    struct ctx ctx; /* only valid when not running, like the slice */
    struct thread_record *thread;
    struct strand *caller; /* who entered it and is switched to when it yields
                              or ends; NULL while it is suspended, and for a
                              face that chooses whom to switch to */
    const struct face_ops *ops;
    bool finished;
    bool dropped; /* it is in thread->dropped, which owns the face */
    struct tstate_slice slice;
    struct tstate_root root;
    PyObject *face;        /* borrowed; NULL for a thread's own strand and when
                              parked */
    struct cxx_words cxx;  /* only valid if the slice's rest says so */
    PyObject *const *args; /* that its first call holds, for the collector */
    Py_ssize_t nargs;
    struct strand *next, **link; /* in thread->started or thread->passed */
    struct strand *next_queued;  /* in thread->dropped or thread->parked */
    uint64_t section;            /* only valid for one without a caller: see
                                    thread_record.section */
    PyObject *told_from; /* only valid if the slice's rest says so: the face of
                            whom control came from */
    uint64_t since;      /* nanoseconds of CLOCK_MONOTONIC at which it was left;
                            only valid if times are noted */
    PyObject *const *stack_end; /* only valid when it is left for good */
    PyObject *trace_hook; /* threading.settrace()'s that has given a strand
                             that is parked its trace function, or NULL */
};

/* Faces of one type that a thread keeps to be reused at once: untracked, and
 * with their reference to the type. None in builds that look for mistakes,
 * where memory that is freed should be seen to be free. */
#if CO_CHECK || defined(Py_REF_DEBUG)
enum { STRAND_MAX_FREE = 0 };
#else
enum { STRAND_MAX_FREE = 256 };
#endif

struct free_faces {
    PyTypeObject *type; /* NULL when the record is not in use */
    PyObject *first;    /* linked by the first field after the head */
    unsigned count;
};

static inline PyObject **
free_faces_link(PyObject *face)
{
    return (PyObject **)(face + 1);
}

/* A face with one reference, for PyObject_GC_Track(), or NULL. */
static inline PyObject *
free_faces_take(struct free_faces *list)
{
    PyObject *face = list->first;

    if (CO_LIKELY(face != NULL)) {
        list->first = *free_faces_link(face);
        list->count--;
        Py_SET_REFCNT(face, 1);
    }
    return face;
}

/* False if there are enough. The finalizer of a face is called once only: one
 * that has been called must not come here. */
static inline bool
free_faces_keep(struct free_faces *list, PyObject *face)
{
    if (list->count == STRAND_MAX_FREE)
        return false;
    *free_faces_link(face) = list->first;
    list->first = face;
    list->count++;
    return true;
}

/* Contexts that a thread keeps for its coroutines: to fill one with what
 * another has in it is cheaper than CPython's copies. The collector shows them
 * to whoever asks it for all objects, so that each must be like any other, with
 * no values. */
#if CO_CHECK || defined(Py_REF_DEBUG)
enum { STRAND_MAX_CONTEXTS = 0 };
#else
enum { STRAND_MAX_CONTEXTS = 16 };
#endif

struct spare_contexts {
    PyObject *no_values; /* NULL when the record is not in use */
    PyObject *contexts[STRAND_MAX_CONTEXTS + 1];
    unsigned count;
};

/* One to be filled, a new reference, or NULL. */
static inline PyObject *
spare_contexts_take(struct spare_contexts *list)
{
    PyObject *context;

    if (CO_UNLIKELY(list->count == 0))
        return NULL;
    context = list->contexts[--list->count];
    if (CO_LIKELY(tstate_context_is_alone(context)))
        return context;
    Py_DECREF(context);
    return NULL;
}

/* Steals the reference to a context that has been left for good. May run Python
 * code. */
static inline void
spare_contexts_keep(struct spare_contexts *list, PyObject *context)
{
    if (CO_LIKELY(tstate_context_is_alone(context) && list->no_values &&
                  list->count < STRAND_MAX_CONTEXTS)) {
        list->contexts[list->count++] = context;
        context =
            tstate_context_swap_values(context, Py_NewRef(list->no_values));
    }
    Py_DECREF(context);
}

/* What a face keeps for a thread, at the beginning of a structure of its own.
 */
struct thread_extra {
    /* The thread has ended, or this process is the child of a fork that has it
     * not: frees the structure. The strands are gone. May run Python code. */
    void (*gone)(struct thread_record *t);
};

/* How far ahead of a switch memory is asked for what comes then: in turns, of
 * those that are entered after a long time. See outlook.h. */
enum { OUTLOOK_AHEAD = 2 };

struct thread_record {
    PyThreadState
        *ts; /* NULL when the thread state is no more. Must be first */
    struct thread_record *next_made; /* in thread_records */
    /* From here on it is cleared when it is used again. */
    struct strand own;
    struct strand *current;
    uint64_t switches; /* of all threads that have had the record; another
                          thread may read it */
    uint64_t switches_before; /* of those that have had it before */
    /* Of faces that have a strand: those that were entered last. */
    struct outlook *entered[OUTLOOK_AHEAD];
    struct cxx_thread cxx;
    struct strand *started;    /* and not finished */
    struct strand *passed;     /* the same, only used by strand_unwind_all() */
    struct strand *to_look_at; /* by strand_look() next; one of those, or NULL
                                  for the first. By strand_renew() while that
                                  has not been through them */
    uint64_t instrumentation;  /* that all code of suspended strands is up to;
                                  or, while it is not, none that there is */
    uint64_t renewing;         /* that strand_renew() brings it up to */
    struct strand *dropped;    /* by other threads; to be unwound by this one */
    struct strand *parked;     /* and ready for another face */
    unsigned parked_count;
    struct module_state *state;       /* of the thread's interpreter */
    const PyInterpreterState *interp; /* the same as the thread state's, which
                                         may be gone: before 3.13 what runs very
                                         late in a thread's end gets a record
                                         that nobody ends */
    struct thread_record *next_spare; /* only valid when it is not in use */
    bool collecting;    /* the garbage collector works in this thread */
    bool ends;          /* or the process does: all are being unwound */
    struct error error; /* only valid during a switch that passes NULL */
    struct free_faces free_coroutines, free_bridges;
    struct spare_contexts spare_contexts;
    Py_tracefunc profile_seen; /* a profile function, or NULL: see follow.c */
    unsigned long ident;       /* threading.get_ident() */
    char name[48];             /* the thread's, when the record was made,
                                  in UTF-8, or "" */
    struct thread_extra *greenlets; /* NULL until the thread uses any */
    struct teller *teller;          /* NULL until it is told of switches */
    ctx_entry *entry;               /* of strands that do one call */

    /* A section is a call on the thread's own stack; each has a number, and
     * what may run in it bears that or a later one: what began since, in
     * sections that were within it. 0 when there is none. */
    struct strand *occupant; /* of the thread's stack: who has called it last */
    uint64_t section, sections;
};

/* Whether a strand, or one from which it is entered below `up_to`, has the
 * thread's stack under it: then they may not be suspended, since what comes
 * next may need that. */
static inline bool
strand_occupies_thread(const struct strand *s, const struct strand *up_to)
{
    const struct strand *occupant = s->thread->occupant;

    for (; s != up_to; s = s->caller)
        if (s == occupant)
            return true;
    return false;
}

/* Whether the address is on the stack of the strand's block. */
static inline bool
strand_has_on_stack(const struct strand *s, const char *address)
{
    return address >= s->block.low && address < (const char *)&s->block;
}

/* Of a strand that is not running, unless that is on the thread's stack: NULL
 * then. */
static inline char *
strand_stack_pointer(const struct strand *s)
{
    char *sp = ctx_stack_pointer(&s->ctx);

    return strand_has_on_stack(s, sp) ? sp : NULL;
}

extern CO_THREAD_LOCAL struct thread_record *thread_record_last;

/* All that were ever made, newest first. They are never freed, so that a signal
 * handler may look through them. */
extern _Atomic(struct thread_record *) thread_records;

/* Called where thread->dropped is not NULL. Runs Python code. */
void strand_unwind_dropped(struct thread_record *t);

/* The current thread's record. NULL without an exception if it has none, with
 * one if there is no memory to find out. */
struct thread_record *thread_record_peek(void);

/* Whether it is the current thread's: a thread state that has ended may have
 * been at the address where the current one is. For finalizers. */
bool strand_is_here(const struct strand *s);

/* For the thread state `ts`, made if need be. NULL with an exception set. */
struct thread_record *thread_record_search(PyThreadState *ts);

/* The current thread's record. NULL with an exception set if there is no
 * memory for it, or if the thread is ending. */
static inline struct thread_record *
thread_record_get(void)
{
    PyThreadState *ts = tstate_get();
    struct thread_record *t = thread_record_last;

    /* It may be the record that a thread of another interpreter uses now. */
    if (CO_LIKELY(t && __atomic_load_n(&t->ts, __ATOMIC_RELAXED) == ts))
        return t;
    return thread_record_search(ts);
}

bool thread_record_is_late(void);

/* Sets *t to the same; or to NULL in a thread that is ending and can have none
 * any more. For what only asks, or makes what may begin in another thread.
 * False with an exception set if there is no memory. */
static inline bool
thread_record_try(struct thread_record **t)
{
    *t = thread_record_get();
    return CO_LIKELY(*t != NULL) || thread_record_is_late();
}

/* The current thread's record after what other threads left for it to do, which
 * may run Python code. NULL with an exception set. For functions that are about
 * to switch. */
static inline struct thread_record *
thread_record_enter(void)
{
    struct thread_record *t = thread_record_get();

    if (CO_UNLIKELY(t && t->dropped))
        strand_unwind_dropped(t);
    return t;
}

PyObject *strand_context_slow(struct thread_record *t);

/* The context of the running strand: a new reference, or NULL with an exception
 * set. May run Python code. */
static inline PyObject *
strand_context(struct thread_record *t)
{
    if (CO_UNLIKELY(!t->ts->context))
        return strand_context_slow(t);
    return Py_NewRef(t->ts->context);
}

/* *copy gets a copy of that context: a new reference, or NULL if there is
 * nothing in it, since CPython makes an empty one for a chain that needs one.
 * False with an exception set. May run Python code. */
static inline bool
strand_copy_context(struct thread_record *t, PyObject **copy)
{
    PyObject *context = t->ts->context, *values;

    *copy = NULL;
    if (!context || tstate_context_is_empty(context))
        return true;
    *copy = spare_contexts_take(&t->spare_contexts);
    if (CO_UNLIKELY(!*copy)) {
        *copy = PyContext_Copy(context);
        return *copy != NULL;
    }
    values = Py_NewRef(tstate_context_values(context));
    Py_DECREF(tstate_context_swap_values(*copy, values));
    return true;
}

/* A strand in a block from the process-wide pool, to be started at `entry` in
 * slice.context, which is NULL yet. Runs no Python code unless it fails, with
 * PoolExhausted. */
struct strand *strand_create(struct thread_record *t, PyObject *face,
                             const struct face_ops *ops, ctx_entry *entry);

/* Called before the running strand is left, and when one begins its call, while
 * the thread has a trace or a profile function. The latter may run Python code.
 */
__attribute__((cold)) void strand_followed(struct thread_record *t);
__attribute__((cold)) void strand_begins_followed(struct strand *s);

/* After a switch to one that had a trace function when it was left, and has it
 * again; in its slice is that of another. Runs no Python code. */
__attribute__((cold)) void strand_traced_arrives(struct strand *here);

/* A part of the first one, for when a tool may have begun. */
__attribute__((cold)) void strand_look_for_tools(struct thread_record *t);

/* The steps before the stacks are switched and after, from here to there. No
 * Python code runs and nothing is allocated between them. */
static inline struct strand *
strand_depart(struct thread_record *t, struct strand *to)
{
    struct strand *from = t->current;

    CO_ASSERT(!PyErr_Occurred());
    CO_ASSERT(to->thread == t && to != from && !to->finished);
    if (cxx_is_due(&t->cxx))
        cxx_leave(from);
    if (tstate_is_followed(t->ts))
        strand_followed(t);
    tstate_save(t->ts, &from->slice);
    t->current = to;
    t->switches++;
    return from;
}

/* What the chain seldom has, and had when it was left. */
__attribute__((cold)) void strand_arrive_slow(struct strand *here);

/* Finds the thread by the strand: what is not needed is not kept over the jump,
 * which changes all registers. */
static inline void *
strand_arrive(struct strand *from, void *value)
{
    CO_ASSERT(from->thread->current == from);
    if (CO_UNLIKELY(from->slice.rest != 0))
        strand_arrive_slow(from);
    if (CO_UNLIKELY(!value))
        error_restore(&from->thread->error);
    return value;
}

/* What the switch to `here` has left to be freed, or NULL: where something has
 * to run that may switch again before the faces are consistent. */
static inline PyObject *
strand_litter(struct strand *here)
{
    PyObject *litter = here->slice.trace_arg;

    here->slice.trace_arg = NULL;
    return litter;
}

PyObject *strand_tidy_slow(struct strand *here, PyObject *litter,
                           PyObject *value);

/* Frees that, then, and tells of the switch whom wants to be told. May run
 * Python code. What was passed, or NULL with an exception set, becomes what
 * this returns, so that the latter can be another exception. */
static inline PyObject *
strand_tidy_litter(struct strand *here, PyObject *litter, PyObject *value)
{
    if (CO_UNLIKELY(litter != NULL))
        return strand_tidy_slow(here, litter, value);
    return value;
}

/* The same where no value is passed: false with an exception set. */
bool strand_tidy_alone(struct strand *here, PyObject *litter);

/* Both at once, where nothing runs in between. */
static inline PyObject *
strand_tidy(struct strand *here, PyObject *value)
{
    if (CO_UNLIKELY(here->slice.trace_arg != NULL))
        return strand_tidy_slow(here, strand_litter(here), value);
    return value;
}

/* Stops the running strand, goes on in `to`, which gets `value`, and returns
 * what the running strand gets when it is switched to again: a reference, or
 * NULL with an exception set. Steals value; NULL passes on t->error. Calls for
 * strand_tidy(). */
static inline PyObject *
strand_switch(struct thread_record *t, struct strand *to, PyObject *value)
{
    struct strand *from = strand_depart(t, to);

    tstate_load(t->ts, &to->slice);
    return strand_arrive(from, ctx_switch(&from->ctx, &to->ctx, value));
}

/* Brings code up to date that `to`, which is suspended, goes on in, and that of
 * some others. Runs no Python code. */
__attribute__((cold)) void strand_renew(struct thread_record *t,
                                        struct strand *to);

/* Called before control goes to what is suspended and not just waits for who is
 * entered: those that wait hang from the chain that runs, and CPython does so
 * with all that do. */
static inline void
strand_expect(struct thread_record *t, struct strand *to)
{
    if (CO_UNLIKELY(tstate_is_instrumented_anew(t->ts, t->instrumentation)))
        strand_renew(t, to);
}

/* strand_switch() to one that is suspended. */
static inline PyObject *
strand_resume(struct thread_record *t, struct strand *to, PyObject *value)
{
    strand_expect(t, to);
    return strand_switch(t, to, value);
}

/* What a function is called with, as in a vectorcall. */
struct strand_args {
    PyObject *const *args;
    Py_ssize_t nargs; /* by position */
    PyObject *names;  /* of those that follow, a tuple, or NULL */
};

/* What a new strand is to call. Only valid until the first switch. */
struct strand_start {
    struct strand *strand;
    PyObject *fn;
    struct strand_args args;
};

/* How a chain is being ended by force, if it is: by who gets an exception that
 * passes the exit, or by nobody, so that it is reported. */
enum strand_ending { NOT_ENDING, CLOSED, DROPPED };

/* What a face calls whose strand begins in strand_main(), an owned reference:
 * it must be its first field. The strand drops it, in its own context. */
static inline PyObject **
strand_callable(PyObject *face)
{
    return (PyObject **)(face + 1);
}

/* The entry of a strand whose first switch passes a struct strand_start. It
 * calls start->fn; strand->caller gets what that returns. The other one is for
 * threads that are told of switches. */
ctx_entry strand_main, strand_main_told;

/* Loads what a strand starts with into the thread state. Its frames are
 * followed by those that its root hangs from if it hangs. */
static inline void
strand_load_fresh(struct thread_record *t, struct strand *to, bool hangs)
{
    const struct geometry *g = &to->pool->arena.geometry;
    const struct tstate_space space = {
        .low = to->block.low,
        .top = block_stack_top(&to->block),
        .budget = to->pool->options.user,
        .data = to->block.data,
        .data_size = block_data_size(g, &to->block),
        .hangs = hangs,
    };

    tstate_begin(t->ts, &to->slice, &to->root, &space);
}

/* The first switch to a strand, whose entry gets `value`. Returns as
 * strand_switch() does. */
static inline PyObject *
strand_begin(struct thread_record *t, struct strand *to, void *value,
             bool hangs)
{
    struct strand *from = strand_depart(t, to);

    strand_load_fresh(t, to, hangs);
    return strand_arrive(from, ctx_begin(&from->ctx, &to->ctx, value));
}

/* Makes a new strand one that can be switched to like a suspended one: its
 * entry gets the value. For a strand that ends and starts another. */
void strand_prime(struct thread_record *t, struct strand *to, bool hangs);

/* For entries: a strand's first steps, and its last. The latter switches to
 * `to` for good, with `value` as in strand_switch(); whoever is there calls
 * strand_release(). */
#define STRAND_ARRIVE(strand)                                                  \
    do {                                                                       \
        ARCH_OUTERMOST_FRAME();                                                \
        san_after_switch(&(strand)->ctx.san);                                  \
    } while (0)
_Noreturn void strand_leave(struct strand *strand, struct strand *to,
                            void *value);

/* For a strand that is about to begin a piece of work which is a part of what
 * the running one does: it is as deep in calls, so that recursion which goes
 * through many stacks has an end too. */
static inline void
strand_nest(struct thread_record *t, struct strand *s)
{
    s->slice.depth = tstate_depth(t->ts, &t->current->slice);
}

/* For an entry that does one piece of work after another: keeps the running
 * strand for the next face, unless enough are kept. If so, the entry switches
 * to whoever waits for it. When that comes back, strand->face is the next one
 * or, if it must leave, NULL. */
bool strand_park(struct strand *strand);

/* A parked strand, for that face, or NULL. May run Python code. */
struct strand *strand_unpark(struct thread_record *t, PyObject *face);

/* Lets the parked strands of the thread end, and frees the faces that it keeps
 * for reuse. May run Python code. */
void strand_trim(struct thread_record *t);

/* Whether the threads of the interpreter keep faces to be reused at once, whose
 * makers then can't be noted. */
void strand_keep_faces(bool keep);

/* Gives back the pages below the stack pointers of all suspended strands of the
 * interpreter. */
void strand_discard_unused(void);

/* The same for some of the current thread, in turn: to be called now and then.
 * Runs no Python code. */
void strand_look(void);

/* Arguments that a strand owns while it makes its first call: they belonged to
 * its starter, who goes on at our first switch. */
enum { STRAND_FEW = 4 };

struct strand_call {
    struct strand *strand;
    struct strand_args args;
    PyObject *few[1 + STRAND_FEW]; /* the first is for the callee's use */
    PyObject **many;               /* if there are more: from PyMem_Malloc() */
};

/* Takes references to the arguments; false with an exception set. Runs no
 * Python code. */
bool strand_call_hold(struct strand_call *call, struct strand *strand,
                      const struct strand_args *args);

/* tstate_begin_trace() for a strand that may have been parked. A tool that
 * traces gets one trace function for each strand, not for each piece of work.
 */
void strand_renew_trace(struct strand *strand);

/* Calls fn with them and drops them. */
PyObject *strand_call_make(struct strand_call *call, PyObject *fn);

/* Drops them without a call. May run Python code. */
void strand_call_drop(struct strand_call *call);

/* Visits what a suspended strand owns; stack_end as in tstate_traverse(). */
int strand_traverse(struct strand *strand, PyObject *const *stack_end,
                    visitproc visit, void *arg);

/* Gives the block of a finished strand back. May run Python code (a context
 * that nobody else holds is freed); keeps a set exception. */
void strand_release(struct strand *strand);

/* tstate_hide_limit() for what runs in each thread of this interpreter. */
void strand_hide_limits(bool hide);

/* Queues the strand, whose face was dropped by another thread, for its own
 * thread, which calls `unwind` for its face when it next uses copool or ends.
 * Steals the reference to the face. */
void strand_drop(struct strand *strand);

/* Unwinds the suspended strands of the thread whose faces are unwound at the
 * end. Runs Python code. */
void strand_unwind_all(struct thread_record *t);

/* Whether a suspended strand is not unwound, because its thread is ending or
 * the process exits, and its face is none that is unwound then. */
bool strand_is_left(const struct strand *strand);

/* Frees a suspended strand, whose thread is ending, without running it: its
 * face forgets it, what its frames own is dropped, the block goes back to the
 * pool. May run Python code, which finds the face finished; keeps a set
 * exception. */
void strand_take_back(struct strand *strand);

/* The one or the other for a suspended strand that has caught the exit. */
void strand_give_up(struct strand *strand);

/* For a strand that can't be unwound any more (its thread is gone, or it caught
 * the exit and yielded) in a thread that goes on: its face forgets it. The
 * block stays mapped and is not reused, since frames in it may still be
 * referred to, and C code may have left a pointer to its stack in what lives
 * on. */
void strand_abandon(struct strand *strand);

#endif
