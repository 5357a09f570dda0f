/* SPDX-License-Identifier: MIT
 *
 * Who wants to be told of switches of a thread, and what for: set, and no more.
 *
 * Thread rule: all functions need the GIL, and are for the current thread
 * unless it says so.
 */
#ifndef COPOOL_TELL_TELLER_H
#define COPOOL_TELL_TELLER_H

#include "strand/record.h"

/* A part of struct teller. */
struct followers {
    PyObject *memray;     /* its function to be told by, or NULL */
    PyObject *place;      /* whose calls it has, see follow.c, or NULL */
    PyObject *own_place;  /* the thread's own chain's */
    Py_tracefunc profile; /* by which it was noticed */
    PyObject *profiler;   /* profile()'s function to be told by, or NULL */
    PyObject *relayed;    /* what it has called at events, a tuple, or NULL */
};

enum {
    TELL_TRACE = 1, /* teller->trace is called */
    TELL_TIMES = 2, /* strand->since is set */
    TELL_HANG = 4, /* greenlets' frames are followed by those of who was left */
    TELL_FOLLOWERS = 8,
};

/* What a thread has that has ever been told of switches. */
struct teller {
    unsigned what;       /* of the above */
    struct strand *last; /* who has arrived last, and so is running */
    PyObject *face;      /* its, borrowed: it may be parked by then */
    PyObject *trace;     /* settrace()'s, or NULL */
    bool telling;        /* it is being called */
    struct followers followers;
};

/* Whether the frames of greenlets that begin can be followed by those of who
 * has switched to them. */
extern bool tell_hangs_greenlets;

/* Lets the thread have a teller: false without memory, without an exception. */
bool tell_make(struct thread_record *t);

/* The same, and has it tell its followers, or no more. Runs no Python code. */
bool tell_followers(struct thread_record *t);
void tell_followers_no_more(struct thread_record *t);

/* Has the thread told, for what is given, or no more. False without memory. */
bool tell_begin(struct thread_record *t, unsigned what);
void tell_end(struct thread_record *t, unsigned what);

/* Lets times be noted in that thread, which may be another one. Without memory
 * they are not. */
void tell_times(struct thread_record *t);

/* The same for greenlets' callers, if these are wanted. */
void tell_callers(struct thread_record *t);

/* Calls callback(event, (origin, target)), untraced. False with an exception
 * set. */
bool tell_call(PyObject *callback, const char *event, PyObject *origin,
               PyObject *target);

#endif
