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

#include "tstate.h"

#include "block.h"
#include "check.h"
#include "ctx.h"
#include "pool.h"

struct thread_record;
struct module_state;

/* What a strand's face must be able to do besides switching. */
struct face_ops {
    /* Ends the chain of a suspended face by raising the exit exception in it,
     * or abandons it. Runs Python code; keeps a set exception. */
    void (*unwind)(PyObject *face);
    /* Its strand is no more: the face must count as finished. */
    void (*forget)(PyObject *face);
};

/* The block's record: in the hot page, beside the top of the stack. */
struct strand {
    struct block block; /* must be first; unused in a thread's own strand */
    struct ctx ctx;     /* only valid when not running, like the slice */
    struct tstate_slice slice;
    struct tstate_root root;
    struct thread_record *thread;
    struct strand *caller; /* who is switched to when it ends; NULL while it
                              is suspended */
    PyObject *face;        /* borrowed; NULL for a thread's own strand */
    const struct face_ops *ops;
    struct pool *pool;
    PyObject *const *args; /* that its first call holds, for the collector */
    Py_ssize_t nargs;
    struct strand *next, **link; /* among those started in this thread */
    struct strand *next_dropped; /* only valid in thread->dropped */
    bool finished;
};

/* An exception on its way from one strand to another. */
struct error {
    PyObject *type, *value, *traceback;
};

struct thread_record {
    PyThreadState *ts; /* NULL when the thread state is no more */
    struct strand own;
    struct strand *current;
    struct strand *started; /* and not finished */
    struct strand *dropped; /* by other threads; to be unwound by this one */
    struct module_state *state;       /* of the thread's interpreter */
    struct thread_record *next_spare; /* only valid when it is not in use */
    struct error error;   /* only valid during a switch that passes NULL */
    PyObject *free_faces; /* finished Coroutine objects, linked by `fn` */
    unsigned free_count;
    unsigned long ident; /* threading.get_ident() */
};

extern CO_THREAD_LOCAL struct thread_record *thread_record_last;

/* For the thread state `ts`, made if need be. NULL with an exception set. */
struct thread_record *thread_record_search(PyThreadState *ts);

/* The current thread's record. NULL with an exception set if there is no
 * memory for it. */
static inline struct thread_record *
thread_record_get(void)
{
    PyThreadState *ts = tstate_get();
    struct thread_record *t = thread_record_last;

    if (CO_LIKELY(t && t->ts == ts))
        return t;
    return thread_record_search(ts);
}

static inline bool
strand_is_own(const struct strand *strand)
{
    return strand == &strand->thread->own;
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

/* A strand in a block from the process-wide pool, to be started in `context`,
 * to which it steals the reference. Runs no Python code unless it fails, with
 * PoolExhausted or MemoryError. */
struct strand *strand_create(struct thread_record *t, PyObject *face,
                             const struct face_ops *ops, PyObject *context);

/* Takes the exception that is set / sets the one that was taken. */
static inline void
error_take(struct error *error)
{
    PyErr_Fetch(&error->type, &error->value, &error->traceback);
}

static inline void
error_restore(struct error *error)
{
    PyErr_Restore(error->type, error->value, error->traceback);
    error->type = error->value = error->traceback = NULL;
}

/* The steps before the stacks are switched and after, from here to there. No
 * Python code runs and nothing is allocated between them. */
static inline struct strand *
strand_depart(struct thread_record *t, struct strand *to)
{
    struct strand *from = t->current;

    CO_ASSERT(!PyErr_Occurred());
    CO_ASSERT(to->thread == t && to != from && !to->finished);
    tstate_save(t->ts, &from->slice);
    t->current = to;
    return from;
}

static inline void *
strand_arrive(struct thread_record *t, struct strand *from, void *value)
{
    CO_ASSERT(t->current == from);
    if (CO_UNLIKELY(!value))
        error_restore(&t->error);
    return value;
}

/* Stops the running strand, goes on in `to`, which gets `value`, and returns
 * what the running strand gets when it is switched to again: a reference, or
 * NULL with an exception set. Steals value; NULL passes on t->error. */
static inline PyObject *
strand_switch(struct thread_record *t, struct strand *to, PyObject *value)
{
    struct strand *from = strand_depart(t, to);

    tstate_load(t->ts, &to->slice);
    return strand_arrive(t, from, ctx_switch(&from->ctx, &to->ctx, value));
}

/* What a new strand is to call. Only valid until the first switch. */
struct strand_start {
    struct strand *strand;
    PyObject *fn;
    PyObject *const *args;
    Py_ssize_t nargs;
    int budget; /* calls through C that the stack holds */
};

/* Starts the strand: it calls start->fn with the arguments. When the function
 * returns, strand->finished is set and strand->caller is switched to with the
 * result; then strand_release() is due. */
static inline PyObject *
strand_begin(struct thread_record *t, struct strand_start *start)
{
    struct strand *to = start->strand, *from = strand_depart(t, to);
    const struct geometry *g = &to->pool->arena.geometry;

    tstate_begin(t->ts, &to->slice, &to->root, to->block.data,
                 block_data_size(g, &to->block), start->budget);
    return strand_arrive(t, from, ctx_begin(&from->ctx, &to->ctx, start));
}

/* Visits what a suspended strand owns. */
int strand_traverse(struct strand *strand, visitproc visit, void *arg);

/* Gives the block of a finished strand back. May run Python code (a context
 * that nobody else holds is freed); keeps a set exception. */
void strand_release(struct strand *strand);

/* Queues the strand, whose face was dropped by another thread, for its own
 * thread, which calls `unwind` for its face when it next uses copool or ends.
 * Steals the reference to the face. */
void strand_drop(struct strand *strand);

/* Called where thread->dropped is not NULL. Runs Python code. */
void strand_unwind_dropped(struct thread_record *t);

/* Unwinds all suspended strands of the thread. Runs Python code. */
void strand_unwind_all(struct thread_record *t);

/* For a strand that can't be unwound any more (its thread is gone, or it caught
 * the exit and yielded): its face forgets it. The block stays mapped and is not
 * reused, since frames in it may still be referred to. */
void strand_abandon(struct strand *strand);

#endif
