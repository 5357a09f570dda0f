/* SPDX-License-Identifier: MIT
 *
 * What is done whenever a face that has a caller is entered, and when it has
 * been left.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_FACE_ENTER_H
#define COPOOL_FACE_ENTER_H

#include "strand/strand.h"

/* Like a generator's frame, the chain sees the exception that its caller
 * handles as the one that is being handled, and its frames are followed by its
 * caller's. */
__attribute__((always_inline)) static inline void
face_hang(struct thread_record *t, struct strand *s)
{
    s->caller = t->current;
    s->root.exc.previous_item = t->ts->exc_info;
    tstate_hang(t->ts, &s->root);
}

__attribute__((always_inline)) static inline void
face_cut(struct strand *s)
{
    s->caller = NULL;
    s->root.exc.previous_item = NULL;
    tstate_cut(s->thread->ts, &s->root);
}

#endif
