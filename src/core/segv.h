/* SPDX-License-Identifier: MIT
 *
 * SIGSEGV: a say in it before the process ends, so that an overflow can be told
 * from other faults. What handled the signal before still does, and finds the
 * fault as it would have without us.
 *
 * Thread rule: segv_watch() and segv_unwatch() by one thread at a time, the
 * others by any.
 */
#ifndef COPOOL_SEGV_H
#define COPOOL_SEGV_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the address, which could not be accessed, is one that it knows; if so
 * it has told. Called in the handler, in the thread that faulted: it may only
 * do what is safe there, and read what that thread does not change. */
typedef bool segv_report(const void *address);

/* Puts a handler in front of what is in force. At the first SIGSEGV it calls
 * the report and steps aside for good: puts back what was in force and returns,
 * so that the instruction faults again and the kernel does as if we had never
 * been there, with the same siginfo, registers, stack and mask. A signal that
 * was sent rather than caused is sent again as it was, and so is one that the
 * kernel raised for want of room on the stack for the frame of another.
 *
 * Called again it comes to the front again. Should what is in front of it then
 * have it for its predecessor, the fault goes to what was in force when it was
 * first called. False if refused. */
bool segv_watch(segv_report *report);

/* Takes the handler back or, if another one is in front, makes it one that only
 * passes signals on. */
void segv_unwatch(void);

/* Gives the calling thread a stack for signal handlers, which is freed when the
 * thread ends, unless it has one: a handler can't run on a stack that is full.
 * False if there is no memory for it. */
bool segv_stack(void);

/* Writes to standard error, as a handler may. */
void segv_say(const char *text, size_t length);

#endif
