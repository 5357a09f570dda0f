/* SPDX-License-Identifier: MIT
 *
 * The policy `release`: the patch "coroutine: rewrite pool to avoid mutex" (P.
 * Bonzini, QEMU, 2014) as it stands. Finished blocks go onto a list that all
 * threads share; a thread takes blocks from a list of its own and, when that
 * is empty and the shared one holds more than a batch, takes all of the shared
 * one at once.
 *
 * release_pool_size may differ from the true length: a push may come between
 * the store of zero and the exchange, or between another push and its
 * increment. It is a heuristic that decides only when to steal and when to
 * destroy. The exact counts are those of blocks created and finished.
 */
#include "pool.h"

static unsigned
pool_size(struct pool *pool)
{
    return atomic_load_explicit(&pool->release_pool_size, memory_order_relaxed);
}

/* The slow path, and so the place to make what empties alloc_pool when the
 * thread exits. Returns the thread's part with a non-empty alloc_pool, or NULL
 * if there is nothing to steal. */
static struct pool_local *
steal(struct pool *pool)
{
    struct pool_local *local = pool_local_get(pool);

    if (!local)
        return NULL;
    atomic_store_explicit(&pool->release_pool_size, 0, memory_order_relaxed);
    local->alloc_pool = shared_list_take_all(&pool->release_pool);
    return local->alloc_pool ? local : NULL;
}

static struct block *
release_get(struct pool *pool, enum co_status *status)
{
    struct pool_local *local = pool_local_find(pool);
    struct block *block;

    if (CO_UNLIKELY(!local || !local->alloc_pool)) {
        struct pool_local *stolen = NULL;

        if (pool_size(pool) > pool->batch)
            stolen = steal(pool);
        if (!stolen) {
            block = pool_get_fresh(pool, local, status);
            if (block)
                return block;
            /* Rather than fail, take less than the patch would, whatever the
             * size says. */
            stolen = steal(pool);
            if (!stolen)
                return NULL;
        }
        local = stolen;
    }
    block = local->alloc_pool;
    local->alloc_pool = block->next;
    pool_count(&local->created);
    pool_count(&local->reused);
    return block;
}

static void
release_put(struct pool *pool, struct block *block)
{
    struct pool_local *local = pool_local_find(pool);
    unsigned retries;

    if (local)
        pool_count(&local->finished);
    else
        pool_count_shared(&pool->finished, 1);

    if (pool_size(pool) >= 2 * pool->batch) {
        arena_give(&pool->arena, block);
        return;
    }
    retries = shared_list_push(&pool->release_pool, block);
    atomic_fetch_add_explicit(&pool->release_pool_size, 1,
                              memory_order_relaxed);
    if (CO_UNLIKELY(retries))
        pool_count_shared(&pool->contended, retries);
}

/* As in the patch, a thread's blocks are not kept for others. */
static void
release_drain(struct pool *pool, struct pool_local *local)
{
    struct block *chain = local->alloc_pool;

    local->alloc_pool = NULL;
    pool_destroy_chain(pool, chain);
}

static size_t
release_trim(struct pool *pool, struct pool_local *local)
{
    struct block *chain;
    size_t n = 0;

    if (local) {
        n = pool_chain_length(local->alloc_pool);
        release_drain(pool, local);
    }
    atomic_store_explicit(&pool->release_pool_size, 0, memory_order_relaxed);
    chain = shared_list_take_all(&pool->release_pool);
    return n + pool_destroy_chain(pool, chain);
}

static size_t
release_idle(struct pool *pool)
{
    return pool_size(pool);
}

static size_t
release_walk(struct pool *pool)
{
    return pool_chain_length(
        atomic_load_explicit(&pool->release_pool.head, memory_order_acquire));
}

static size_t
release_walk_local(struct pool_local *local)
{
    return pool_chain_length(local->alloc_pool);
}

const struct pool_policy pool_policy_release = {
    .get = release_get,
    .put = release_put,
    .drain = release_drain,
    .trim = release_trim,
    .adjust = pool_adjust_nothing, /* the policy adapts by itself */
    .idle_shared = release_idle,
    .walk_shared = release_walk,
    .walk_local = release_walk_local,
};
