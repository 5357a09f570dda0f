/* SPDX-License-Identifier: MIT
 *
 * The pool decides which block to hand out. pool.c holds what all policies
 * share: a thread's part of a pool, statistics, the end of a thread, fork. Each
 * policy has a file, pool_<name>.c, and is reached through one table, so that
 * all of them pay the same for being exchangeable.
 *
 * Lock order: a lock that a client holds while it calls functions of pools, the
 * registry in pool.c, a pool's lock, its arena's lock.
 */
#ifndef COPOOL_POOL_H
#define COPOOL_POOL_H

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "block.h"
#include "list.h"

struct pool;

/* What one thread keeps of one pool. Only that thread changes it; counts are
 * atomic so that others may read them at any time. */
struct pool_local {
    /* NULL when the pool has been destroyed, which another thread may do. */
    _Atomic(struct pool *) pool;
    struct pool_local *next_of_thread;
    struct pool_local *next_of_pool, **link_of_pool;
    _Atomic(uint64_t) created, reused, finished;
    struct block *alloc_pool; /* release */

    /* magazine: at most a batch of the thread's own size in each list. Until
     * `finished` is put_until, `loaded` has room for one more, and there is
     * nothing else to do. */
    struct list loaded, previous;
    uint64_t put_until;
    unsigned batch; /* 0 for a thread that may keep nothing */
    /* What was seen of the pool's counts, and whether `previous` has changed
     * since. */
    unsigned intervals, reclaims;
    bool previous_changed;
    uint64_t next_look; /* by os_clock_ms(): when to call pool->look */
};

struct pool_policy {
    /* On failure NULL and the reason. */
    struct block *(*get)(struct pool *pool, enum co_status *status);
    void (*put)(struct pool *pool, struct block *block);
    /* Empties the thread's part: its blocks go where others can take them. */
    void (*drain)(struct pool *pool, struct pool_local *local);
    /* Gives all that is idle, in the calling thread and shared, back to the
     * arena; returns how many blocks that were. */
    size_t (*trim)(struct pool *pool, struct pool_local *local);
    enum co_status (*adjust)(struct pool *pool, int n);
    /* By counts; and by walking, under the pool's lock, or SIZE_MAX if a count
     * is wrong. */
    size_t (*idle_shared)(struct pool *pool);
    size_t (*walk_shared)(struct pool *pool);
    size_t (*walk_local)(struct pool_local *local);
};

extern const struct pool_policy pool_policy_none, pool_policy_mutex,
    pool_policy_release, pool_policy_magazine;

/* Batches that lie in a magazine policy's store: a stack of them, linked
 * through each batch's first block. */
struct store {
    struct block *top;
    size_t blocks; /* in all of them */
};

struct pool {
    const struct pool_policy *policy;
    unsigned batch;
    struct co_pool_options options; /* as resolved */
    struct arena arena;
    /* Called every options.idle_ms, without a lock and in the thread, by who
     * gives a block back: to see to the memory of blocks that are in use. By
     * the magazine policy only; or NULL. */
    void (*look)(void);
    struct pool *next;         /* in the registry */
    struct pool_local *locals; /* of all threads; under the registry lock */
    size_t lost;               /* likewise */
    size_t room; /* likewise: what threads to come may keep to themselves */

    /* What threads did that have no pool_local, or have none any more. */
    _Atomic(uint64_t) created, reused, finished;
    _Atomic(uint64_t) contended;

    /* mutex, magazine */
    alignas(64) pthread_mutex_t lock;
    _Atomic(bool) held; /* for the count of contended: a trylock costs more */
    struct list idle;   /* mutex */
    size_t max_size;
    struct store warm, cold; /* magazine */
    _Atomic(size_t) stored;  /* blocks in both; changed under the lock */

    /* magazine, changed under the lock: what the store has not needed lately.
     * Time is cut into intervals from when a batch leaves a thread until there
     * is nothing in the store. */
    size_t least_stored;     /* in this interval */
    _Atomic(uint64_t) since; /* when it began, by os_clock_ms(); 0 for none */
    _Atomic(unsigned) intervals, reclaims; /* those that have ended; of these,
                                              those that gave blocks back */

    /* release: on a line of its own, every thread writes here */
    alignas(64) struct shared_list release_pool;
    _Atomic(unsigned) release_pool_size;
};

/* A block, of unspecified contents but for its struct block; the caller owns
 * it until pool_put(). NULL and the reason when the pool is at its cap or
 * memory is out. Any thread. */
static inline struct block *
pool_get(struct pool *pool, enum co_status *status)
{
    return pool->policy->get(pool, status);
}

/* Takes the block back; its stack must not be in use. Any thread. */
static inline void
pool_put(struct pool *pool, struct block *block)
{
    pool->policy->put(pool, block);
}

/* From now on every fork() finds the locks of all pools in order. The first
 * co_pool_create() does it by itself; but handlers that take a client's lock
 * ahead of a fork() must be registered after this, since what was registered
 * last runs first, and that lock comes first. False if out of memory. */
bool pool_surround_fork(void);

/* --- for the policies --------------------------------------------------- */

extern CO_THREAD_LOCAL struct pool_local *pool_local_last;

struct pool_local *pool_local_search(struct pool *pool);
struct pool_local *pool_local_make(struct pool *pool);

/* In the thread that `local` belongs to. */
static inline bool
pool_local_is_of(struct pool_local *local, const struct pool *pool)
{
    return atomic_load_explicit(&local->pool, memory_order_relaxed) == pool;
}

/* The calling thread's part of the pool; NULL if it has none yet. */
static inline struct pool_local *
pool_local_find(struct pool *pool)
{
    struct pool_local *local = pool_local_last;

    if (CO_LIKELY(local && pool_local_is_of(local, pool)))
        return local;
    return pool_local_search(pool);
}

/* The same, but made if need be, together with what empties it when the
 * thread exits. NULL if out of memory. */
static inline struct pool_local *
pool_local_get(struct pool *pool)
{
    struct pool_local *local = pool_local_find(pool);

    return CO_LIKELY(local != NULL) ? local : pool_local_make(pool);
}

/* For counts that one thread writes. */
static inline void
pool_count(_Atomic(uint64_t) *count)
{
    atomic_store_explicit(count,
                          atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static inline void
pool_count_shared(_Atomic(uint64_t) *count, uint64_t n)
{
    atomic_fetch_add_explicit(count, n, memory_order_relaxed);
}

/* A fresh block from the arena, counted as created in `local` or, if that is
 * NULL, in the pool. */
struct block *pool_get_fresh(struct pool *pool, struct pool_local *local,
                             enum co_status *status);

void pool_lock(struct pool *pool);
void pool_unlock(struct pool *pool);

/* Gives a chain of blocks to the arena; returns its length. */
size_t pool_destroy_chain(struct pool *pool, struct block *chain);

size_t pool_chain_length(const struct block *chain);

/* Entries of the table for policies that have nothing to do there. */
void pool_drain_nothing(struct pool *pool, struct pool_local *local);
enum co_status pool_adjust_nothing(struct pool *pool, int n);
size_t pool_no_local(struct pool_local *local);

#endif
