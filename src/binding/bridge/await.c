/* SPDX-License-Identifier: MIT
 *
 * await_(): waiting at any depth of a Bridge's call.
 *
 * Thread rule: all functions need the GIL.
 */
#include "bridge/protocol.h"

#include "cpython/frames.h"
#include "cpython/objects.h"
#include "process/state.h"
#include "python/iterator.h"
#include "strand/thread.h"

/* The strand of the innermost Bridge that control is in, or NULL. */
static struct strand *
innermost(const struct thread_record *t)
{
    struct strand *s = t->current;

    while (s && !bridge_is(s))
        s = s->caller;
    return s;
}

/* An awaitable that nobody will await need not be complained about too. */
static void
close_unstarted(struct thread_record *t, PyObject *awaitable)
{
    const char *name = Py_TYPE(awaitable)->tp_name;
    bool unstarted = false;
    struct error error;

    error_take(&error);
    if (PyCoro_CheckExact(awaitable)) {
        PyObject *suspended = PyObject_GetAttrString(awaitable, "cr_suspended");
        PyObject *frame =
            suspended ? PyObject_GetAttrString(awaitable, "cr_frame") : NULL;

        unstarted = suspended == Py_False && frame && frame != Py_None;
        Py_XDECREF(suspended);
        Py_XDECREF(frame);
    } else if (Py_IS_TYPE(awaitable, t->state->bridge_type)) {
        unstarted = ((Bridge *)awaitable)->state == CREATED;
    } else {
        unstarted = strcmp(name, "async_generator_asend") == 0 ||
                    strcmp(name, "async_generator_athrow") == 0;
    }
    if (unstarted)
        Py_XDECREF(PyObject_CallMethod(awaitable, "close", NULL));
    PyErr_Clear(); /* it can't be closed while it is running */
    error_restore(&error);
}

static PyObject *
raise_outside(struct thread_record *t, PyObject *awaitable)
{
    const struct strand *s = t->current;

    while (s->caller)
        s = s->caller;
    PyErr_SetString(
        t->state->coroutine_error,
        s == &t->own
            ? "await_() where no task can wait for it: call the function that "
              "comes to it with `await copool.aio.run_sync(function, ...)`, or "
              "run the program with copool.aio.run(main()), so that it works "
              "below every `async def`"
            : "await_() inside a greenlet, which no task waits for: call the "
              "function that comes to it with `await "
              "copool.aio.run_sync(function, ...)` instead, or run the program "
              "with copool.aio.run(main()); below SQLAlchemy's "
              "greenlet_spawn() use its own await_()");
    close_unstarted(t, awaitable);
    return NULL;
}

/* What `await` would drive: a new reference. */
static PyObject *
awaitable_iter(PyObject *awaitable)
{
    const PyAsyncMethods *async = Py_TYPE(awaitable)->tp_as_async;
    PyObject *it;

    if (PyCoro_CheckExact(awaitable)) {
        if (CO_UNLIKELY(tstate_is_awaited(awaitable))) {
            PyErr_SetString(PyExc_RuntimeError,
                            "coroutine is being awaited already");
            return NULL;
        }
        return Py_NewRef(awaitable);
    }
    if (PyGen_CheckExact(awaitable) && tstate_is_awaitable(awaitable))
        return Py_NewRef(awaitable);
    if (CO_UNLIKELY(!async || !async->am_await)) {
        PyErr_Format(PyExc_TypeError,
                     "await_() needs an awaitable, not %.200s; pass the "
                     "coroutine that a call returns, not the function",
                     Py_TYPE(awaitable)->tp_name);
        return NULL;
    }
    it = async->am_await(awaitable);
    if (it && CO_UNLIKELY(!PyIter_Check(it) || PyCoro_CheckExact(it))) {
        PyErr_Format(PyExc_TypeError,
                     "__await__() of %.200s returned %.200s instead of an "
                     "iterator",
                     Py_TYPE(awaitable)->tp_name, Py_TYPE(it)->tp_name);
        Py_CLEAR(it);
    }
    return it;
}

/* Whether asyncio's current task has begun below the Bridge that has this
 * strand: eagerly, without one of its own. It has a context of its own then.
 * *unknown is set if there is no memory to find out. */
static bool
task_is_inside(struct thread_record *t, struct strand *s, bool *unknown)
{
    PyObject *name = PyUnicode_FromString("asyncio.tasks");
    PyObject *tasks = name ? PyImport_GetModule(name) : NULL;
    PyObject *task =
        tasks ? PyObject_CallMethod(tasks, "current_task", NULL) : NULL;
    PyObject *coroutine = task && task != Py_None
                              ? PyObject_CallMethod(task, "get_coro", NULL)
                              : NULL;
    bool inside = coroutine && PyCoro_CheckExact(coroutine) &&
                  tstate_runs_in(t->ts, coroutine, &s->root);

    *unknown = PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_MemoryError);
    PyErr_Clear(); /* no loop is running */
    Py_XDECREF(name);
    Py_XDECREF(tasks);
    Py_XDECREF(task);
    Py_XDECREF(coroutine);
    return inside;
}

/* Whether something runs in a Context.run() of its own below the Bridge that
 * has this strand, as a task's steps do. Contexts of coroutines are none. */
static bool
has_run_inside(const struct thread_record *t, const struct strand *s)
{
    const PyObject *drivers = s->caller->slice.context, *context;
    const struct strand *at = t->current;

    for (context = t->ts->context;; context = at->slice.context) {
        if (CO_UNLIKELY(context != drivers) && context &&
            tstate_context_is_entered(context))
            return true;
        if (at == s)
            return false;
        at = at->caller;
    }
}

static const char no_memory[] = "there is no memory to find out";
static const char being_closed[] =
    "its task is being closed, and nobody would let it go on";

/* Each block that ends may try once. One that tries more often goes round in a
 * loop that catches everything, and is left as it is. */
enum { MOST_REFUSALS = 100 };

static bool
is_beyond_closing(const Bridge *self)
{
    return self->refusals >= MOST_REFUSALS;
}

/* Why the running chain can't be suspended, or NULL. */
static const char *
obstacle(struct thread_record *t, struct strand *s)
{
    bool unknown = false;

    if (CO_UNLIKELY(!s))
        return "the task that it was called in has gone on without it";
    if (CO_UNLIKELY(!tstate_is_running(t->ts, &t->current->root)))
        return "a greenlet of another library is running, whose stack is a "
               "part of this one; put copool's in its place, with "
               "copool.greenlet.install()";
    if (CO_UNLIKELY(has_run_inside(t, s)) && task_is_inside(t, s, &unknown))
        return "its task has begun inside a step of another one, which would "
               "be suspended in the middle; make such a task of "
               "copool.aio.bridge(coroutine), or with loop.create_task() in a "
               "loop that copool.aio.install() was called for last";
    if (CO_UNLIKELY(unknown))
        return no_memory;
    if (CO_UNLIKELY(t->occupant != NULL) &&
        strand_occupies_thread(t->current, s->caller))
        return "it runs on the thread's own stack, which others need "
               "meanwhile; what copool.on_thread_stack() has called must "
               "return first";
    if (CO_UNLIKELY(((Bridge *)s->face)->ending != NOT_ENDING))
        return is_beyond_closing((Bridge *)s->face) ? NULL : being_closed;
    if (CO_UNLIKELY(((Bridge *)s->face)->atomic > 0))
        return "it is in a block of copool.aio.atomic()";
    if (CO_UNLIKELY(t->collecting) && !((Bridge *)s->face)->collecting)
        return "the garbage collector has called this finalizer, and nothing "
               "could be collected until it goes on";
    return NULL;
}

/* Hands what an awaitable yields, which it steals, to whoever drives the
 * innermost Bridge, and takes what that sends, or NULL with the exception that
 * it throws. False with an exception set if it can't. */
static bool
wait_for(struct thread_record *t, PyObject *it, PyObject *const *stack_end,
         PyObject **value)
{
    struct strand *s = innermost(t), *caller;
    const char *reason = obstacle(t, s);
    Bridge *self;

    if (CO_UNLIKELY(reason != NULL)) {
        if (reason == being_closed)
            ((Bridge *)s->face)->refusals++;
        Py_CLEAR(*value);
        if (iterator_call(it, "close", NULL, value) < 0)
            PyErr_WriteUnraisable(it);
        Py_CLEAR(*value);
        PyErr_Format(reason == no_memory ? PyExc_MemoryError
                                         : t->state->coroutine_error,
                     "await_() can't wait here: %s", reason);
        return false;
    }
    self = (Bridge *)s->face;
    caller = s->caller;
    s->caller = NULL;
    self->top = t->current;
    self->awaited = it;
    self->stack_end = stack_end;
    tstate_show_wait(&self->shown, t->ts, &s->root, it);
    *value = strand_switch(t, caller, *value);
    *value = strand_tidy(t->current, *value);
    return true;
}

static PyObject *
core_await(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    struct thread_record *t = thread_record_enter();
    PyObject *it, *sent, *result = NULL;
    PySendResult outcome;

    if (CO_UNLIKELY(!t))
        return NULL;
    if (CO_UNLIKELY(nargs != 1)) {
        PyErr_Format(PyExc_TypeError,
                     "await_() takes one argument, the awaitable (%zd given); "
                     "asyncio.gather() waits for several",
                     nargs);
        return NULL;
    }
    if (CO_UNLIKELY(!innermost(t)))
        return raise_outside(t, args[0]);
    it = awaitable_iter(args[0]);
    if (CO_UNLIKELY(!it))
        return NULL;
    sent = Py_NewRef(Py_None);
    for (;;) {
        if (CO_LIKELY(sent != NULL)) {
            outcome = PyIter_Send(it, sent, &result);
            Py_DECREF(sent);
        } else {
            outcome = iterator_throw(it, error_take_raised(), &result);
        }
        if (CO_LIKELY(outcome != PYGEN_NEXT))
            break;
        sent = result;
        if (CO_UNLIKELY(!wait_for(t, it, args + nargs, &sent))) {
            result = NULL;
            break;
        }
    }
    Py_DECREF(it);
    return result;
}

/* The Bridge in which await_() must not wait until core_release() gets it, or
 * None if it can't anyway. */
static PyObject *
core_hold(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct thread_record *t;
    struct strand *s;

    if (!thread_record_try(&t))
        return NULL;
    s = t ? innermost(t) : NULL;
    if (!s)
        Py_RETURN_NONE;
    ((Bridge *)s->face)->atomic++;
    return Py_NewRef(s->face);
}

static PyObject *
core_release(PyObject *module, PyObject *held)
{
    const struct module_state *state = PyModule_GetState(module);

    if (Py_IS_TYPE(held, state->bridge_type))
        ((Bridge *)held)->atomic--;
    Py_RETURN_NONE;
}

static PyObject *
core_can_await(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct thread_record *t;
    struct strand *s;

    if (!thread_record_try(&t))
        return NULL;
    s = t ? innermost(t) : NULL;
    return PyBool_FromLong(s && !obstacle(t, s));
}

/* --- functions of the module -------------------------------------------- */

static PyMethodDef functions[] = {
    {"await_", _PyCFunction_CAST(core_await), METH_FASTCALL,
     PyDoc_STR("await_($module, awaitable, /)\n--\n\n"
               "Wait for awaitable in a plain function; return its result.\n\n"
               "Works below run_sync() and below every task of run().")},
    {"can_await", core_can_await, METH_NOARGS,
     PyDoc_STR("can_await($module, /)\n--\n\n"
               "Whether await_() could wait here.")},
    {"_hold", core_hold, METH_NOARGS, NULL},
    {"_release", core_release, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

int
bridge_await_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
