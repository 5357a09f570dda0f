/* SPDX-License-Identifier: MIT
 *
 * Tools that follow calls keep a stack of their own for each thread, by what
 * the interpreter tells them of calls and returns. A switch is neither. Those
 * that can be told of one are told here, as greenlet tells settrace()'s
 * function:
 *
 *   memray    is noticed by its profile function, without anybody's doing
 *   profile() has a function of ours called, for each thread that it has seen
 *
 * Thread rule: all functions need the GIL and are for the current thread.
 */
#ifndef COPOOL_FOLLOW_H
#define COPOOL_FOLLOW_H

#include "strand/strand.h"

/* A part of struct teller. */
struct followers {
    PyObject *memray;     /* its function to be told by, or NULL */
    PyObject *place;      /* whose calls it has, see follow.c, or NULL */
    PyObject *own_place;  /* the thread's own chain's */
    Py_tracefunc profile; /* by which it was noticed */
    PyObject *profiler;   /* profile()'s function to be told by, or NULL */
    PyObject *relayed;    /* what it has called at events, a tuple, or NULL */
};

/* Tells them. Runs Python code; keeps a set exception. */
void follow_tell(struct strand *here, const char *event, PyObject *origin,
                 PyObject *target);

/* They are told no more. May run Python code. */
void follow_end(struct followers *followers);

/* Adds its types and functions to the module; -1 with an exception set. */
int follow_init(PyObject *module);

#endif
