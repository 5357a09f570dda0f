/* SPDX-License-Identifier: MIT
 *
 * Who wants to be told of each switch of a thread: settrace()'s function, and
 * what is noted for dumps. While nobody does, this costs switches nothing. Else
 * every strand of the thread bears a mark, by which a switch to it comes here:
 * in strand_arrive() for what runs no Python code, and in strand_tidy() for the
 * rest (see strand/hooks.h). A strand that begins looks by itself.
 *
 * The events are those of greenlet.settrace(): the callback gets "switch" or
 * "throw" and (origin, target), in the target, before that goes on. What it
 * raises ends tracing and is raised in the target.
 *
 * Thread rule: all functions need the GIL, and are for the current thread
 * unless it says so.
 */
#ifndef COPOOL_TELL_TELL_H
#define COPOOL_TELL_TELL_H

#include "strand/record.h"

/* For a strand that begins, in a thread that has a teller. Runs no Python code;
 * to be followed by strand_tidy(). */
void tell_begins(struct strand *here);

/* Adds its functions to the module; -1 with an exception set. */
int tell_init(PyObject *module);

#endif
