/* SPDX-License-Identifier: MIT */
#include "tell/teller.h"

#include "strand/entry.h"

bool tell_hangs_greenlets;

bool
tell_call(PyObject *callback, const char *event, PyObject *origin,
          PyObject *target)
{
    PyThreadState *ts = tstate_get();
    PyObject *result;

    PyThreadState_EnterTracing(ts);
    result = PyObject_CallFunction(callback, "s(OO)", event, origin, target);
    PyThreadState_LeaveTracing(ts);
    Py_XDECREF(result);
    return result != NULL;
}

static void
mark(struct strand *list)
{
    for (; list; list = list->next)
        list->slice.rest |= TSTATE_REST_TOLD;
}

bool
tell_make(struct thread_record *t)
{
    if (!t->teller)
        t->teller = PyMem_Calloc(1, sizeof *t->teller);
    return t->teller != NULL;
}

/* The marks go when they are seen and there is nothing to tell. */
bool
tell_begin(struct thread_record *t, unsigned what)
{
    struct teller *teller;

    if (!tell_make(t))
        return false;
    teller = t->teller;
    if (!teller->what) {
        teller->last = t->current;
        teller->face = t->current->face;
        t->own.slice.rest |= TSTATE_REST_TOLD;
        mark(t->started);
        mark(t->passed);
    }
    teller->what |= what;
    t->entry = strand_main_told;
    return true;
}

void
tell_end(struct thread_record *t, unsigned what)
{
    if (!t->teller)
        return;
    t->teller->what &= ~what;
    if (!t->teller->what)
        t->entry = strand_main;
}

static void
forget_times(struct strand *list)
{
    for (; list; list = list->next)
        list->since = 0;
}

void
tell_times(struct thread_record *t)
{
    if (t->teller && t->teller->what & TELL_TIMES)
        return;
    forget_times(t->started);
    forget_times(t->passed);
    (void)tell_begin(t, TELL_TIMES);
}

bool
tell_followers(struct thread_record *t)
{
    return tell_begin(t, TELL_FOLLOWERS);
}

void
tell_followers_no_more(struct thread_record *t)
{
    tell_end(t, TELL_FOLLOWERS);
}

void
tell_callers(struct thread_record *t)
{
    if (tell_hangs_greenlets)
        (void)tell_begin(t, TELL_HANG);
}
