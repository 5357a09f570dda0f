/* SPDX-License-Identifier: MIT
 *
 * The policy `mutex`: one list under a lock, which keeps up to max_size blocks.
 * This is what the patch "coroutine: rewrite pool to avoid mutex" replaced;
 * docs/design.md has the table from its hunks to the functions here and in
 * pool_release.c. The starting max_size is the option `batch`.
 */
#include "pool.h"

static struct block *
mutex_get(struct pool *pool, enum co_status *status)
{
    struct block *block;

    pool_lock(pool);
    block = list_pop(&pool->idle);
    if (block) {
        pool_count(&pool->created);
        pool_count(&pool->reused);
    }
    pool_unlock(pool);
    if (block)
        return block;

    block = arena_take(&pool->arena, status);
    if (block) {
        pool_lock(pool);
        pool_count(&pool->created);
        pool_unlock(pool);
    }
    return block;
}

static void
mutex_put(struct pool *pool, struct block *block)
{
    pool_lock(pool);
    pool_count(&pool->finished);
    if (list_length(&pool->idle) < pool->max_size) {
        list_push(&pool->idle, block);
        pool_unlock(pool);
        return;
    }
    pool_unlock(pool);
    arena_give(&pool->arena, block);
}

/* Cuts the list down to `length` blocks; returns what is too many. */
static struct block *
cut_locked(struct pool *pool, size_t length)
{
    struct block *chain = NULL;

    while (list_length(&pool->idle) > length) {
        struct block *block = list_pop(&pool->idle);

        block->next = chain;
        chain = block;
    }
    return chain;
}

static enum co_status
mutex_adjust(struct pool *pool, int n)
{
    enum co_status status = CO_BAD_OPTION;
    struct block *chain = NULL;

    pool_lock(pool);
    /* Callers must not take away more than they added. */
    if (n >= 0 || pool->max_size - pool->batch >= -(size_t)n) {
        pool->max_size += (size_t)n;
        chain = cut_locked(pool, pool->max_size);
        status = CO_OK;
    }
    pool_unlock(pool);
    pool_destroy_chain(pool, chain);
    return status;
}

static size_t
mutex_trim(struct pool *pool, struct pool_local *local)
{
    struct block *chain;

    (void)local;
    pool_lock(pool);
    chain = cut_locked(pool, 0);
    pool_unlock(pool);
    return pool_destroy_chain(pool, chain);
}

static size_t
mutex_idle(struct pool *pool)
{
    return list_length(&pool->idle);
}

static size_t
mutex_walk(struct pool *pool)
{
    size_t length = pool_chain_length(pool->idle.head);

    return length == list_length(&pool->idle) ? length : SIZE_MAX;
}

const struct pool_policy pool_policy_mutex = {
    .get = mutex_get,
    .put = mutex_put,
    .drain = pool_drain_nothing,
    .trim = mutex_trim,
    .adjust = mutex_adjust,
    .idle_shared = mutex_idle,
    .walk_shared = mutex_walk,
    .walk_local = pool_no_local,
};
