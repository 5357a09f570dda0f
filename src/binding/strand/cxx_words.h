/* SPDX-License-Identifier: MIT
 *
 * What a strand and a thread have of C++ exceptions: see cxx.h.
 */
#ifndef COPOOL_STRAND_CXX_WORDS_H
#define COPOOL_STRAND_CXX_WORDS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "os.h"

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

typedef uint64_t cxx_unaligned __attribute__((aligned(1), may_alias));

/* Whether cxx_leave() must be called before the running strand is left. */
static inline bool
cxx_is_due(const struct cxx_thread *cxx)
{
    return CO_UNLIKELY(*(const volatile cxx_unaligned *)cxx->watched != 0);
}

#endif
