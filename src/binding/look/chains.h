/* SPDX-License-Identifier: MIT
 *
 * All chains of calls of a process, as far as copool knows them: what runs and
 * who waits for it, and what is suspended, in all threads and interpreters.
 * Found by reading memory alone (see peek.h), so that it may be called in a
 * signal handler, whatever the process is in the middle of; what others change
 * meanwhile may be missing or be told as it is in the middle of the change.
 *
 * Thread rule: none is needed. With the GIL of the only interpreter all is
 * exact.
 */
#ifndef COPOOL_LOOK_CHAINS_H
#define COPOOL_LOOK_CHAINS_H

#include "look/peek.h"
#include "strand/strand.h"

/* In the order in which they are shown. */
enum chain_state { CHAIN_RUNNING, CHAIN_WAITING, CHAIN_SUSPENDED };

enum {
    CHAIN_THREAD = 0, /* beside the kinds of faces */
    CHAIN_MOST = 100, /* places of a stack that are told */
};

struct chain_thread {
    struct chain_thread *next; /* in the order in which they are found */
    const struct word *name;   /* or NULL */
    unsigned long ident;
    uint64_t native_id, switches;
};

struct chain {
    int kind;
    enum chain_state state;
    const struct chain_thread *thread; /* NULL if it is in none */
    const struct place *entered;       /* from where, or NULL */
    const struct word *maker;          /* or NULL */
    uint64_t rested; /* nanoseconds for which it has been suspended; only valid
                        if has_rested */
    bool has_rested;
    bool is_deeper; /* than what is told */
    size_t depth;
    const struct place *const *stack; /* innermost first */
    uintptr_t face;
};

struct chains {
    struct peek *peek;
    uintptr_t ts_here; /* whose running chain is shown without its innermost
                          frame, or 0 */
    void (*visit)(const struct chain *chain, void *arg);
    void *arg;
    /* What is found. */
    struct chain_thread *threads, **last_thread;
    size_t thread_count, unread;
    /* Only valid while it is at work. */
    struct things seen;
    struct chain chain;
    const struct place *stack[CHAIN_MOST];
    uint64_t now;
    uintptr_t bridge_type;
};

/* Calls visit() for each chain. */
void chains_walk(struct chains *chains);

/* What the chain is called, or NULL. */
const struct word *chain_name(struct peek *peek, const struct chain *chain);

/* Where a task of asyncio's has its name, in bytes; 0 if that is not known.
 * Told by who makes such tasks. */
extern size_t chain_task_name;

#endif
