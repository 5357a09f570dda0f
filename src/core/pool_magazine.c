/* SPDX-License-Identifier: MIT
 *
 * The policy `magazine`, the default. A thread takes from and gives to a
 * magazine of its own, without atomic operations; only whole batches move
 * between threads, by way of a store under a lock. Two magazines a thread, so
 * that a thread at the edge of a batch does not go to the store each time
 * (J. Bonwick and J. Adams, "Magazines and Vmem", USENIX 2001; the bounds are
 * those that QEMU came to in 2024).
 *
 * What a thread keeps is lost to the others, so that near the cap its magazines
 * are smaller than a batch, down to nothing: then each block goes to the store,
 * and comes from there, by itself.
 *
 * The store keeps up to max_idle blocks. Its first batches stay warm, that is
 * as they were left, for flows in which one thread makes and another finishes
 * and for crowds of a thousand that come and go; further ones are in excess of
 * what flows, so the deep pages of their stacks are given back to the kernel.
 *
 * What the store did not need for a whole interval is given back too (the
 * article's working set). There is no thread or timer for that: an interval
 * ends when a coroutine finishes on the slow path, which is taken more often
 * while the store is not empty.
 */
#include "pool.h"

#include "check.h"

enum { WARM_BLOCKS = 1024 };

/* --- the store ---------------------------------------------------------- */

static void
store_push(struct store *store, struct block *batch)
{
    batch->next_batch = store->top;
    store->top = batch;
    store->blocks += batch->batch_length;
}

static struct block *
store_pop(struct store *store)
{
    struct block *batch = store->top;

    if (batch) {
        store->top = batch->next_batch;
        store->blocks -= batch->batch_length;
    }
    return batch;
}

static size_t
stored(struct pool *pool)
{
    return atomic_load_explicit(&pool->stored, memory_order_relaxed);
}

/* Under the lock. */
static void
set_stored(struct pool *pool, size_t n)
{
    atomic_store_explicit(&pool->stored, n, memory_order_relaxed);
    if (n < pool->least_stored)
        pool->least_stored = n;
}

static uint64_t
interval_begin(struct pool *pool)
{
    return atomic_load_explicit(&pool->since, memory_order_relaxed);
}

static void
set_interval_begin(struct pool *pool, uint64_t since)
{
    atomic_store_explicit(&pool->since, since, memory_order_relaxed);
}

/* What is more than so many goes back to where the batch came from. */
static void
cut_batch(struct store *store, struct block *batch, size_t most)
{
    struct block *last = batch, *rest;
    size_t n;

    if (batch->batch_length <= most)
        return;
    for (n = 1; n < most; n++)
        last = last->next;
    rest = last->next;
    last->next = NULL;
    rest->batch_length = batch->batch_length - most;
    batch->batch_length = most;
    store_push(store, rest);
}

/* The newest batch, at most so many blocks of it, or NULL. */
static struct block *
store_take(struct pool *pool, size_t most)
{
    struct store *store = &pool->warm;
    struct block *batch;

    if (!stored(pool)) /* a lock saved; a race costs a fresh block */
        return NULL;
    pool_lock(pool);
    if (!store->top)
        store = &pool->cold;
    batch = store_pop(store);
    if (batch) {
        cut_batch(store, batch, most);
        set_stored(pool, stored(pool) - batch->batch_length);
    }
    pool_unlock(pool);
    return batch;
}

/* Under the lock. */
static void
store_add(struct pool *pool, struct store *store, struct block *batch)
{
    store_push(store, batch);
    set_stored(pool, stored(pool) + batch->batch_length);
}

/* Under the lock. */
static void
begin_intervals(struct pool *pool)
{
    if (pool->options.idle_ms && !interval_begin(pool)) {
        pool->least_stored = 0;
        set_interval_begin(pool, os_clock_ms());
    }
}

static bool
store_has_room(struct pool *pool, const struct block *batch)
{
    return stored(pool) + batch->batch_length <= pool->options.max_idle;
}

/* The first batch in it however large it is, or none would ever be warm. */
static bool
warm_has_room(struct pool *pool, const struct block *batch)
{
    size_t blocks = pool->warm.blocks;

    return !blocks || blocks + batch->batch_length <= WARM_BLOCKS;
}

/* What stays warm is stored at once. The pages of what does not are given back
 * first and without the lock; until then it is counted nowhere, so that a
 * fork() meanwhile finds the counts right. */
static void
store_give_batch(struct pool *pool, struct block *batch)
{
    struct block *block;
    bool room, warm;

    pool_lock(pool);
    begin_intervals(pool);
    room = store_has_room(pool, batch);
    warm = room && warm_has_room(pool, batch);
    if (warm)
        store_add(pool, &pool->warm, batch);
    pool_unlock(pool);
    if (warm)
        return;
    if (room) {
        for (block = batch; block; block = block->next)
            arena_discard_deep(&pool->arena, block);
        pool_lock(pool);
        begin_intervals(pool); /* others may have emptied the store */
        room = store_has_room(pool, batch);
        if (room)
            store_add(pool, &pool->cold, batch);
        pool_unlock(pool);
    }
    if (!room)
        pool_destroy_chain(pool, batch);
}

/* Empties the list; returns what was in it. */
static struct block *
take_list(struct list *list)
{
    struct block *batch = list->head;

    if (batch)
        batch->batch_length = list_length(list);
    list->head = NULL;
    list_set_length(list, 0);
    return batch;
}

/* Empties the list into the store, or into the arena if the store is full. */
static void
store_give(struct pool *pool, struct list *list)
{
    struct block *batch = take_list(list);

    if (batch)
        store_give_batch(pool, batch);
}

/* --- giving back what is idle ------------------------------------------- */

/* Takes as many blocks as lay in the store all through the interval, which has
 * ended, in whole batches and the newest first; they need not be those that
 * did. Begins the next interval; there is none when nothing is left to watch.
 * Under the lock. */
static struct block *
take_idle(struct pool *pool, uint64_t now)
{
    struct block *idle = NULL, *batch;
    size_t n = pool->least_stored, left = n;

    for (;;) {
        struct store *store = pool->cold.top ? &pool->cold : &pool->warm;

        if (!store->top || store->top->batch_length > left)
            break;
        batch = store_pop(store);
        left -= batch->batch_length;
        batch->next_batch = idle;
        idle = batch;
    }
    set_stored(pool, stored(pool) - (n - left));
    pool->least_stored = stored(pool);
    set_interval_begin(pool, idle || stored(pool) ? now : 0);
    atomic_fetch_add_explicit(&pool->intervals, 1, memory_order_relaxed);
    if (idle)
        atomic_fetch_add_explicit(&pool->reclaims, 1, memory_order_relaxed);
    return idle;
}

/* Ends the interval if it is over. */
static void
reclaim(struct pool *pool)
{
    uint64_t since = interval_begin(pool), now = os_clock_ms();
    struct block *idle = NULL, *batch;

    if (!since || now < since + pool->options.idle_ms)
        return;
    pool_lock(pool);
    if (since == interval_begin(pool))
        idle = take_idle(pool, now);
    pool_unlock(pool);
    while ((batch = idle) != NULL) {
        idle = batch->next_batch;
        pool_destroy_chain(pool, batch);
    }
    arena_trim(&pool->arena);
}

/* The same for what the thread keeps, once in an interval: a magazine that was
 * not in use, and the deep pages in the other one if a crowd has gone. */
static void
reclaim_local(struct pool *pool, struct pool_local *local)
{
    unsigned intervals =
        atomic_load_explicit(&pool->intervals, memory_order_relaxed);
    unsigned reclaims =
        atomic_load_explicit(&pool->reclaims, memory_order_relaxed);
    struct block *block;

    if (local->intervals == intervals)
        return;
    local->intervals = intervals;
    if (!local->previous_changed)
        pool_destroy_chain(pool, take_list(&local->previous));
    local->previous_changed = false;
    if (local->reclaims != reclaims)
        for (block = local->loaded.head; block; block = block->next)
            arena_discard_deep(&pool->arena, block);
    local->reclaims = reclaims;
}

/* A thread comes by here at least once for each batch that it finishes. */
static void
look(struct pool *pool, struct pool_local *local)
{
    uint64_t now;

    if (!pool->look || !pool->options.idle_ms)
        return;
    now = os_clock_ms();
    if (now < local->next_look)
        return;
    local->next_look = now + pool->options.idle_ms;
    pool->look();
}

/* --- the magazines ------------------------------------------------------ */

/* How many finish until the clock is looked at, in an interval. */
enum { LOOK_AFTER = 8 };

/* To be called when `loaded` may have grown otherwise than by a put. */
static void
set_put_until(struct pool *pool, struct pool_local *local)
{
    size_t length = list_length(&local->loaded);
    size_t room = length < local->batch ? local->batch - length : 0;

    if (interval_begin(pool) && room > LOOK_AFTER)
        room = LOOK_AFTER;
    local->put_until =
        atomic_load_explicit(&local->finished, memory_order_relaxed) + room;
}

static struct block *
hand_out(struct pool_local *local)
{
    struct block *block = list_pop(&local->loaded);

    pool_count(&local->created);
    pool_count(&local->reused);
    return block;
}

/* Out of line, so that the fast path has no stack frame to set up. */
__attribute__((noinline)) static struct block *
get_slow(struct pool *pool, enum co_status *status)
{
    struct pool_local *local = pool_local_get(pool);
    struct block *batch;

    if (!local)
        return pool_get_fresh(pool, NULL, status);
    if (local->loaded.head)
        return hand_out(local);
    if (local->previous.head) {
        list_move(&local->loaded, &local->previous);
        local->previous_changed = true;
    } else {
        batch = store_take(pool, local->batch ? local->batch : 1);
        if (!batch)
            return pool_get_fresh(pool, local, status);
        local->loaded.head = batch;
        list_set_length(&local->loaded, batch->batch_length);
    }
    set_put_until(pool, local);
    return hand_out(local);
}

static struct block *
magazine_get(struct pool *pool, enum co_status *status)
{
    struct pool_local *local = pool_local_last;

    if (CO_LIKELY(local && pool_local_is_of(local, pool) && local->loaded.head))
        return hand_out(local);
    return get_slow(pool, status);
}

__attribute__((noinline)) static void
put_slow(struct pool *pool, struct block *block)
{
    struct pool_local *local = pool_local_get(pool);

    if (!local) {
        pool_count_shared(&pool->finished, 1);
        arena_give(&pool->arena, block);
        return;
    }
    if (list_length(&local->loaded) >= local->batch) {
        store_give(pool, &local->previous);
        list_move(&local->previous, &local->loaded);
        local->previous_changed = true;
    }
    pool_count(&local->finished);
    list_push(&local->loaded, block);
    if (!local->batch)
        store_give(pool, &local->loaded);
    if (interval_begin(pool)) {
        reclaim(pool);
        reclaim_local(pool, local);
    }
    look(pool, local);
    set_put_until(pool, local);
}

static void
magazine_put(struct pool *pool, struct block *block)
{
    struct pool_local *local = pool_local_last;

    if (CO_LIKELY(local && pool_local_is_of(local, pool))) {
        uint64_t finished =
            atomic_load_explicit(&local->finished, memory_order_relaxed);

        if (CO_LIKELY(finished < local->put_until)) {
            atomic_store_explicit(&local->finished, finished + 1,
                                  memory_order_relaxed);
            list_push(&local->loaded, block);
            return;
        }
    }
    put_slow(pool, block);
}

static void
magazine_drain(struct pool *pool, struct pool_local *local)
{
    store_give(pool, &local->loaded);
    store_give(pool, &local->previous);
}

static size_t
magazine_trim(struct pool *pool, struct pool_local *local)
{
    struct block *batch;
    size_t n = 0;

    if (local) {
        n += pool_destroy_chain(pool, take_list(&local->loaded));
        n += pool_destroy_chain(pool, take_list(&local->previous));
    }
    while ((batch = store_take(pool, SIZE_MAX)) != NULL)
        n += pool_destroy_chain(pool, batch);
    return n;
}

/* Whether the counts are right. */
static bool
walk_store(const struct store *store)
{
    const struct block *batch;
    size_t blocks = 0;

    for (batch = store->top; batch; batch = batch->next_batch) {
        size_t length = pool_chain_length(batch);

        if (length != batch->batch_length)
            return false;
        blocks += length;
    }
    return blocks == store->blocks;
}

static size_t
magazine_walk(struct pool *pool)
{
    size_t warm = pool->warm.blocks, blocks = warm + pool->cold.blocks;
    bool ok;

    ok = walk_store(&pool->warm) && walk_store(&pool->cold) &&
         (warm <= WARM_BLOCKS || warm <= pool->batch) &&
         blocks == stored(pool) &&
         (!blocks || !pool->options.idle_ms || interval_begin(pool));
    return ok ? blocks : SIZE_MAX;
}

static size_t
magazine_walk_local(struct pool_local *local)
{
    size_t loaded = pool_chain_length(local->loaded.head);
    size_t previous = pool_chain_length(local->previous.head);
    unsigned batch = local->batch;
    uint64_t finished = atomic_load(&local->finished);

    if (local->put_until > finished &&
        local->put_until - finished > batch - loaded)
        return SIZE_MAX;
    if (loaded != list_length(&local->loaded) ||
        previous != list_length(&local->previous) || loaded > batch ||
        previous > batch)
        return SIZE_MAX;
    return loaded + previous;
}

const struct pool_policy pool_policy_magazine = {
    .get = magazine_get,
    .put = magazine_put,
    .drain = magazine_drain,
    .trim = magazine_trim,
    .adjust = pool_adjust_nothing,
    .idle_shared = stored,
    .walk_shared = magazine_walk,
    .walk_local = magazine_walk_local,
};
