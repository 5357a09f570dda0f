/* SPDX-License-Identifier: MIT
 *
 * Who wants to be told of each switch of a thread: settrace()'s function, and
 * what is noted for dumps. While nobody does, this costs switches nothing. Else
 * every strand of the thread bears a mark, by which a switch to it comes here:
 * in strand_arrive() for what runs no Python code, and in strand_tidy() for the
 * rest. A strand that begins looks by itself.
 *
 * The events are those of greenlet.settrace(): the callback gets "switch" or
 * "throw" and (origin, target), in the target, before that goes on. What it
 * raises ends tracing and is raised in the target.
 *
 * Thread rule: all functions need the GIL, and are for the current thread
 * unless it says so.
 */
#ifndef COPOOL_TELL_H
#define COPOOL_TELL_H

#include "tell/follow.h"
#include "strand/strand.h"

/* What a thread has that has ever been told of switches. */
struct teller {
    unsigned what;       /* what for, see tell.c */
    struct strand *last; /* who has arrived last, and so is running */
    PyObject *face;      /* its, borrowed: it may be parked by then */
    PyObject *trace;     /* settrace()'s, or NULL */
    bool telling;        /* it is being called */
    struct followers followers;
};

/* Whether the frames of greenlets that begin can be followed by those of who
 * has switched to them. */
extern bool tell_hangs_greenlets;

/* After a switch to a marked strand. Runs no Python code. */
void tell_arrived(struct strand *here);

/* For a strand that begins, in a thread that has a teller. Runs no Python code;
 * to be followed by strand_tidy(). */
void tell_begins(struct strand *here);

/* What tell_arrived() has left to do. Runs Python code; value as in
 * strand_tidy(). */
PyObject *tell_now(struct strand *here, PyObject *value);

/* Lets times be noted in that thread, which may be another one. Without memory
 * they are not. */
void tell_times(struct thread_record *t);

/* The same for greenlets' callers, if these are wanted. */
void tell_callers(struct thread_record *t);

/* Lets the thread have a teller: false without memory, without an exception. */
bool tell_make(struct thread_record *t);

/* The same, and has it tell its followers, or no more. Runs no Python code. */
bool tell_followers(struct thread_record *t);
void tell_followers_no_more(struct thread_record *t);

/* The thread's strands are no more. May run Python code. */
void tell_gone(struct thread_record *t);

/* Calls callback(event, (origin, target)), untraced. False with an exception
 * set. */
bool tell_call(PyObject *callback, const char *event, PyObject *origin,
               PyObject *target);

/* Adds its functions to the module; -1 with an exception set. */
int tell_init(PyObject *module);

#endif
