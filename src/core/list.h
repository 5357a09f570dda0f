/* SPDX-License-Identifier: MIT
 *
 * Lists of blocks, linked through the blocks themselves: a thread's own, which
 * counts its length, and one that threads share.
 *
 * The shared list has the two operations that the QEMU patch "coroutine:
 * rewrite pool to avoid mutex" rests on: push one, take all. Never pop one:
 * between reading the head and swapping it for head->next, another thread
 * could take the head, and push it back with a different next behind it (the
 * ABA problem). Whoever takes everything owns every node it sees.
 */
#ifndef COPOOL_LIST_H
#define COPOOL_LIST_H

#include <stdatomic.h>
#include <stddef.h>

#include "block.h"

/* Used by one thread, or under a lock. The length may be read by any. */
struct list {
    struct block *head;
    _Atomic(size_t) length;
};

static inline size_t
list_length(const struct list *list)
{
    return atomic_load_explicit(&list->length, memory_order_relaxed);
}

/* Only the owner writes, so that a plain addition will do. */
static inline void
list_set_length(struct list *list, size_t length)
{
    atomic_store_explicit(&list->length, length, memory_order_relaxed);
}

static inline void
list_push(struct list *list, struct block *block)
{
    block->next = list->head;
    list->head = block;
    list_set_length(list, list_length(list) + 1);
}

/* NULL if empty. */
static inline struct block *
list_pop(struct list *list)
{
    struct block *block = list->head;

    if (CO_LIKELY(block != NULL)) {
        list->head = block->next;
        list_set_length(list, list_length(list) - 1);
    }
    return block;
}

/* Moves all of `from` to the empty list `to`. */
static inline void
list_move(struct list *to, struct list *from)
{
    to->head = from->head;
    list_set_length(to, list_length(from));
    from->head = NULL;
    list_set_length(from, 0);
}

struct shared_list {
    _Atomic(struct block *) head;
};

/* Returns how many times another thread came between. The release here pairs
 * with the acquire in shared_list_take_all(): who takes the block sees what
 * its last user wrote to it. */
static inline unsigned
shared_list_push(struct shared_list *list, struct block *block)
{
    struct block *head =
        atomic_load_explicit(&list->head, memory_order_relaxed);
    unsigned retries = 0;

    for (;;) {
        block->next = head;
        if (atomic_compare_exchange_weak_explicit(&list->head, &head, block,
                                                  memory_order_release,
                                                  memory_order_relaxed))
            return retries;
        retries++;
    }
}

/* The whole chain, newest first; NULL if empty. */
static inline struct block *
shared_list_take_all(struct shared_list *list)
{
    return atomic_exchange_explicit(&list->head, NULL, memory_order_acquire);
}

#endif
