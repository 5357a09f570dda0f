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
#ifndef COPOOL_TELL_FOLLOW_H
#define COPOOL_TELL_FOLLOW_H

#include "tell/teller.h"

/* Tells them. Runs Python code; keeps a set exception. */
void follow_tell(struct strand *here, const char *event, PyObject *origin,
                 PyObject *target);

/* They are told no more. May run Python code. */
void follow_end(struct followers *followers);

/* Notices one that has begun. Runs no Python code. */
void follow_look_for_tools(struct thread_record *t);

#endif
