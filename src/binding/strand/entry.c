/* SPDX-License-Identifier: MIT */
#include "strand/entry.h"

#include "strand/hooks.h"

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

__attribute__((cold, noinline)) static void
begins_followed(struct strand *s)
{
    strand_hooks->begins_followed(s);
}

PyObject *
strand_call_make(struct strand_call *call, PyObject *fn)
{
    size_t nargsf = (size_t)call->args.nargs;
    PyObject *result;

    if (tstate_is_followed(call->strand->thread->ts))
        begins_followed(call->strand);
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
        begins_followed(start->strand);
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

        strand_hooks->begins(s);
        if (strand_tidy_alone(s, strand_litter(s)))
            result = strand_call_make(&call, fn);
        else
            strand_call_drop(&call);
    }
    result = ended(s, result);
    strand_leave(s, s->caller, result);
}
