/* SPDX-License-Identifier: MIT */
#include "strand/park.h"

#include "strand/strand.h"

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
