/* SPDX-License-Identifier: MIT
 *
 * Errors of greenlets that can't be switched to.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_GREENLET_ERROR_H
#define COPOOL_GREENLET_ERROR_H

#include "greenlet/thread.h"

/* For one whose thread is no more. */
void greenlet_raise_exited(PyGreenlet *self);

/* For one of another thread. */
void greenlet_raise_foreign(struct thread_record *t, PyGreenlet *self,
                            struct thread_record *home);

/* While on_thread_stack() has the thread's stack. */
void greenlet_raise_occupied(PyGreenlet *self);

#endif
