/* SPDX-License-Identifier: MIT
 *
 * The chains of a dump, equal ones as one.
 *
 * Thread rule: none is needed; a dump belongs to whoever makes it.
 */
#ifndef COPOOL_LOOK_GROUPS_H
#define COPOOL_LOOK_GROUPS_H

#include "look/chains.h"
#include "raw/text.h"

struct dump_options {
    bool json;
    size_t limit;        /* groups to be shown; SIZE_MAX for all */
    uint64_t older_than; /* nanoseconds for which they have been suspended */
    const char *age;     /* the same as it is to be shown, or NULL for all */
    uintptr_t ts_here;   /* as in struct chains */
};

enum { FEW_NAMES = 3, FEW_MAKERS = 8 };

struct group {
    struct thing thing;
    struct group *next;
    int kind;
    enum chain_state state;
    const struct place *entered;
    const struct place *const *stack;
    size_t depth;
    bool is_deeper;
    /* Of those that are in it. */
    size_t count;
    const struct chain_thread *thread, *last_thread;
    size_t threads;
    const struct word *names[FEW_NAMES];
    unsigned name_count;
    bool has_more_names;
    struct {
        const struct word *maker;
        size_t count;
    } makers[FEW_MAKERS];
    bool has_rested;
    uint64_t newest, oldest;
};

struct dump {
    const struct dump_options *options;
    struct text *text;
    struct peek *peek;
    struct chains chains;
    struct things groups;
    struct group *first, **last;
    size_t group_count, total, wanted; /* wanted: those that are old enough */
};

/* Puts a chain into its group: for chains_walk(), whose argument is the dump.
 */
void dump_visit(const struct chain *chain, void *dump);

/* Largest first, else as they were found. */
void dump_sort(struct dump *dump);

#endif
