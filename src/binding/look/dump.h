/* SPDX-License-Identifier: MIT
 *
 * A dump: all chains of calls of the process as text or JSON, equal ones once.
 * docs/debugging.md has the formats. May be made in a signal handler.
 *
 * Thread rule: none is needed; see chains.h for what that means.
 */
#ifndef COPOOL_DUMP_H
#define COPOOL_DUMP_H

#include "look/chains.h"
#include "raw/text.h"

struct dump_options {
    bool json;
    size_t limit;        /* groups to be shown; SIZE_MAX for all */
    uint64_t older_than; /* nanoseconds for which they have been suspended */
    const char *age;     /* the same as it is to be shown, or NULL for all */
    uintptr_t ts_here;   /* as in struct chains */
};

/* False if there is no memory. If there was too little for all of it, the text
 * is_cut. */
bool dump_write(struct text *text, const struct dump_options *options);

/* Fills in what a dump says of the interpreter. */
void dump_know(void);

#endif
