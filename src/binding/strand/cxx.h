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
#ifndef COPOOL_CXX_H
#define COPOOL_CXX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "os.h"

struct strand;
struct thread_record;

/* As in the Itanium C++ ABI. */
struct cxx_words {
    void *caught; /* the innermost; it leads to the others */
    unsigned uncaught;
};

/* A part of a thread record. */
struct cxx_thread {
    /* Eight bytes: while they are all zero a switch has nothing to do here.
     * They tell of a load while no runtime is known. Then they lie in the
     * thread's words, from the third byte on, so that one comparison looks at
     * both: no exception lies in the lowest 64 KiB of memory, and there are
     * never 65,536 on their way. */
    const void *watched;
    struct cxx_words *words; /* NULL while it is not known where they are */
    uint64_t loads;          /* loads_count() at the last look */
    bool wanders;        /* the thread state has been used in several threads */
    _Atomic(bool) looks; /* at what it shares with threads of other
                            interpreters */
};

/* For a new record. */
void cxx_start(struct thread_record *t);

/* The current thread has not used this record before. */
void cxx_adopt(struct thread_record *t);

/* A record that is not used any more. */
void cxx_end(struct thread_record *t);

typedef uint64_t cxx_unaligned __attribute__((aligned(1), may_alias));

/* Whether cxx_leave() must be called before the running strand is left. */
static inline bool
cxx_is_due(const struct cxx_thread *cxx)
{
    return CO_UNLIKELY(*(const volatile cxx_unaligned *)cxx->watched != 0);
}

/* Keeps the thread's words in the strand, if it has any, and clears them. Runs
 * no Python code. */
__attribute__((cold)) void cxx_leave(struct strand *s);

/* Gives them back to the thread. */
__attribute__((cold)) void cxx_return(struct strand *s);

#endif
