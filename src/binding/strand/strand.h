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
#ifndef COPOOL_STRAND_STRAND_H
#define COPOOL_STRAND_STRAND_H

#include "cpython/contexts.h"
#include "cpython/renew.h"
#include "cpython/trace.h"
#include "process/blocks.h"
#include "python/error.h"
#include "strand/cxx.h"
#include "strand/record.h"

#include "check.h"

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

/* Called before the running strand is left while the thread has a trace or a
 * profile function. Runs no Python code. */
__attribute__((cold)) void strand_followed(struct thread_record *t);

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

/* For a strand that is about to begin a piece of work which is a part of what
 * the running one does: it is as deep in calls, so that recursion which goes
 * through many stacks has an end too. */
static inline void
strand_nest(struct thread_record *t, struct strand *s)
{
    s->slice.depth = tstate_depth(t->ts, &t->current->slice);
}

/* Visits what a suspended strand owns; stack_end as in tstate_traverse(). */
int strand_traverse(struct strand *strand, PyObject *const *stack_end,
                    visitproc visit, void *arg);

/* Gives the block of a finished strand back. May run Python code (a context
 * that nobody else holds is freed); keeps a set exception. */
void strand_release(struct strand *strand);

#endif
