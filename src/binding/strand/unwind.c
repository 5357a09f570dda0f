/* SPDX-License-Identifier: MIT */
#include "strand/unwind.h"

#include "cpython/frames.h"
#include "cpython/thread.h"
#include "strand/list.h"
#include "strand/park.h"
#include "strand/strand.h"

void
strand_abandon(struct strand *s)
{
    PyObject *face = s->face;

    strand_unlink(s);
    /* A fork may leave one that is running in a thread which is gone. */
    tstate_detach(&s->root);
    s->ops->forget(face);
    if (s->dropped) {
        strand_leave_dropped(s);
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
        strand_unlink(o);
        strand_link(&left, o);
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
void
strand_leave_all(struct thread_record *t)
{
    struct strand *left = NULL, *s;

    strand_trim(t); /* parked ones are no face's */
    while ((s = t->started) != NULL) {
        leave(s);
        strand_unlink(s);
        strand_link(&left, s);
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
        strand_unlink(s);
        strand_link(&t->started, s);
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
                strand_unlink(s);
                strand_link(&t->passed, s);
            }
        }
        put_back_passed(t);
    }
    t->ends = ended;
    if (left <= 0)
        warn_of_endless_starts();
}
