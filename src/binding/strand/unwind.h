/* SPDX-License-Identifier: MIT
 *
 * Chains that are to end: by raising the exit in them, or by freeing what they
 * hold.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_STRAND_UNWIND_H
#define COPOOL_STRAND_UNWIND_H

#include "strand/record.h"

/* Called where thread->dropped is not NULL. Runs Python code. */
void strand_unwind_dropped(struct thread_record *t);

/* Queues the strand, whose face was dropped by another thread, for its own
 * thread, which calls `unwind` for its face when it next uses copool or ends.
 * Steals the reference to the face. */
void strand_drop(struct strand *strand);

/* Unwinds the suspended strands of the thread whose faces are unwound at the
 * end. Runs Python code. */
void strand_unwind_all(struct thread_record *t);

/* Whether a suspended strand is not unwound, because its thread is ending or
 * the process exits, and its face is none that is unwound then. */
bool strand_is_left(const struct strand *strand);

/* Frees a suspended strand, whose thread is ending, without running it: its
 * face forgets it, what its frames own is dropped, the block goes back to the
 * pool. May run Python code, which finds the face finished; keeps a set
 * exception. */
void strand_take_back(struct strand *strand);

/* The one or the other for a suspended strand that has caught the exit. */
void strand_give_up(struct strand *strand);

/* For a strand that can't be unwound any more (its thread is gone, or it caught
 * the exit and yielded) in a thread that goes on: its face forgets it. The
 * block stays mapped and is not reused, since frames in it may still be
 * referred to, and C code may have left a pointer to its stack in what lives
 * on. */
void strand_abandon(struct strand *strand);

/* strand_take_back() of all that a thread, which is ending, has started. */
void strand_leave_all(struct thread_record *t);

#endif
