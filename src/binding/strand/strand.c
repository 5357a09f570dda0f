/* SPDX-License-Identifier: MIT */
#include "strand/strand.h"

#include "cpython/frames.h"
#include "strand/hooks.h"
#include "strand/list.h"

void
strand_followed(struct thread_record *t)
{
    strand_hooks->look_for_tools(t);
    if (!tstate_is_traced(t->ts))
        return;
    tstate_save_trace(t->ts, &t->current->slice);
    strand_hooks->leaves_traced(t);
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
        strand_hooks->arrives_traced(here);
    }
    if (rest & TSTATE_REST_CXX)
        cxx_return(here);
    if (rest & TSTATE_REST_TOLD)
        strand_hooks->arrived(here);
}

PyObject *
strand_tidy_slow(struct strand *here, PyObject *litter, PyObject *value)
{
    struct error saved;

    error_take(&saved);
    Py_DECREF(litter);
    error_restore(&saved);
    return strand_hooks->tidy(here, value);
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
    strand_link(&t->started, s);
    return s;
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
    strand_unlink(s);
    if (CO_UNLIKELY(face != NULL))
        strand_leave_dropped(s);
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
