/* SPDX-License-Identifier: MIT
 *
 * The policy `none`: map a block for each coroutine and unmap it behind it,
 * which is QEMU without CONFIG_COROUTINE_POOL. The yardstick for the others.
 */
#include "pool.h"

static struct block *
none_get(struct pool *pool, enum co_status *status)
{
    return pool_get_fresh(pool, NULL, status);
}

static void
none_put(struct pool *pool, struct block *block)
{
    pool_count_shared(&pool->finished, 1);
    arena_give(&pool->arena, block);
}

static size_t
none_trim(struct pool *pool, struct pool_local *local)
{
    (void)pool, (void)local;
    return 0;
}

static size_t
none_shared(struct pool *pool)
{
    (void)pool;
    return 0;
}

const struct pool_policy pool_policy_none = {
    .get = none_get,
    .put = none_put,
    .drain = pool_drain_nothing,
    .trim = none_trim,
    .adjust = pool_adjust_nothing,
    .idle_shared = none_shared,
    .walk_shared = none_shared,
    .walk_local = pool_no_local,
};
