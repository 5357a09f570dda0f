/* SPDX-License-Identifier: MIT
 *
 * The C++ exceptions of a chain: those that its `catch` blocks hold, and how
 * many unwind it. A runtime of C++ keeps both for each thread, in two words,
 * and its ABI says where. A strand that is left keeps its own; what goes on
 * finds those that it had, and what starts has none.
 *
 * No runtime is loaded for this: one may come at any time, by the import of an
 * extension module for instance, and is noticed before the next switch.
 *
 * Thread rule: the GIL; the record is the current thread's.
 */
#ifndef COPOOL_STRAND_CXX_H
#define COPOOL_STRAND_CXX_H

#include "strand/record.h"

/* For a new record. */
void cxx_start(struct thread_record *t);

/* The current thread has not used this record before. */
void cxx_adopt(struct thread_record *t);

/* A record that is not used any more. */
void cxx_end(struct thread_record *t);

/* Keeps the thread's words in the strand, if it has any, and clears them. Runs
 * no Python code. */
__attribute__((cold)) void cxx_leave(struct strand *s);

/* Gives them back to the thread. */
__attribute__((cold)) void cxx_return(struct strand *s);

#endif
