/* SPDX-License-Identifier: MIT */
#include "pool.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

/* Every pool, and every thread's part of each, are found from here. */
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pool *registry;

CO_THREAD_LOCAL struct pool_local *pool_local_last;

/* A thread's parts of all pools that it uses. */
static CO_THREAD_LOCAL struct {
    struct pool_local *locals;
    struct os_exit_hook hook;
} mine;

static const struct pool_policy *const policies[CO_POLICY_COUNT] = {
    [CO_POLICY_NONE] = &pool_policy_none,
    [CO_POLICY_MUTEX] = &pool_policy_mutex,
    [CO_POLICY_RELEASE] = &pool_policy_release,
    [CO_POLICY_MAGAZINE] = &pool_policy_magazine,
};

static uint64_t
load(_Atomic(uint64_t) *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

/* --- a thread's part ---------------------------------------------------- */

/* What a thread keeps no other can have, not even when the thread does nothing
 * any more. So all of them together may keep half of the cap, of which each new
 * one is promised a quarter of what the others have left, or two batches if
 * that is less; in the end single blocks, and then none. Under the registry
 * lock. */
static unsigned
promise_room(struct pool *pool)
{
    size_t batch = pool->room / 8;

    if (!batch)
        batch = pool->room / 2 ? 1 : 0;
    if (batch > pool->batch)
        batch = pool->batch;
    pool->room -= 2 * batch;
    return (unsigned)batch;
}

/* Its counts live on in the pool. Under the registry lock. */
static void
local_unlink(struct pool *pool, struct pool_local *local)
{
    pool->room += 2 * (size_t)local->batch;
    pool_count_shared(&pool->created, load(&local->created));
    pool_count_shared(&pool->reused, load(&local->reused));
    pool_count_shared(&pool->finished, load(&local->finished));
    *local->link_of_pool = local->next_of_pool;
    if (local->next_of_pool)
        local->next_of_pool->link_of_pool = local->link_of_pool;
}

static void
leave_all_pools(struct os_exit_hook *hook)
{
    struct pool_local *local;
    struct pool *pool;

    (void)hook;
    pool_local_last = NULL;
    while ((local = mine.locals) != NULL) {
        mine.locals = local->next_of_thread;
        pthread_mutex_lock(&registry_lock);
        pool = atomic_load_explicit(&local->pool, memory_order_relaxed);
        if (pool) {
            pool->policy->drain(pool, local);
            local_unlink(pool, local);
        }
        free(local);
        pthread_mutex_unlock(&registry_lock);
    }
}

/* Also frees those that belonged to pools which are no more. */
struct pool_local *
pool_local_search(struct pool *pool)
{
    struct pool_local **link = &mine.locals, *local;

    while ((local = *link) != NULL) {
        struct pool *of =
            atomic_load_explicit(&local->pool, memory_order_acquire);

        if (of == pool) {
            pool_local_last = local;
            return local;
        }
        if (!of) {
            *link = local->next_of_thread;
            if (pool_local_last == local)
                pool_local_last = NULL;
            free(local);
        } else {
            link = &local->next_of_thread;
        }
    }
    return NULL;
}

/* Under the lock, like its end, so that a fork() by another thread finds it
 * linked or not made. */
struct pool_local *
pool_local_make(struct pool *pool)
{
    struct pool_local *local;

    mine.hook.run = leave_all_pools;
    if (!os_at_thread_exit(&mine.hook))
        return NULL;
    pthread_mutex_lock(&registry_lock);
    local = calloc(1, sizeof *local);
    if (local) {
        atomic_init(&local->pool, pool);
        local->next_of_thread = mine.locals;
        mine.locals = local;
        local->batch = promise_room(pool);
        local->next_of_pool = pool->locals;
        local->link_of_pool = &pool->locals;
        if (local->next_of_pool)
            local->next_of_pool->link_of_pool = &local->next_of_pool;
        pool->locals = local;
    }
    pthread_mutex_unlock(&registry_lock);
    pool_local_last = local;
    return local;
}

static uint64_t
load_first(_Atomic(uint64_t) *count)
{
    return atomic_load_explicit(count, memory_order_acquire);
}

/* Blocks in use. Under the registry lock. Those that finished are counted
 * first: a block that comes and goes meanwhile makes the result too large
 * rather than negative. While other threads use the pool it may be negative all
 * the same, where a processor writes a beginning later than an end. */
static uint64_t
count_live(struct pool *pool)
{
    uint64_t finished = load_first(&pool->finished), created;
    struct pool_local *local;

    for (local = pool->locals; local; local = local->next_of_pool)
        finished += load_first(&local->finished);
    created = load(&pool->created);
    for (local = pool->locals; local; local = local->next_of_pool)
        created += load(&local->created);
    return created - finished;
}

/* --- for the policies --------------------------------------------------- */

struct block *
pool_get_fresh(struct pool *pool, struct pool_local *local,
               enum co_status *status)
{
    struct block *block = arena_take(&pool->arena, status);

    if (!block)
        return NULL;
    if (local)
        pool_count(&local->created);
    else
        pool_count_shared(&pool->created, 1);
    return block;
}

void
pool_lock(struct pool *pool)
{
    if (CO_UNLIKELY(atomic_load_explicit(&pool->held, memory_order_relaxed)))
        pool_count_shared(&pool->contended, 1);
    pthread_mutex_lock(&pool->lock);
    atomic_store_explicit(&pool->held, true, memory_order_relaxed);
}

void
pool_unlock(struct pool *pool)
{
    atomic_store_explicit(&pool->held, false, memory_order_relaxed);
    pthread_mutex_unlock(&pool->lock);
}

size_t
pool_destroy_chain(struct pool *pool, struct block *chain)
{
    struct block *next;
    size_t n = 0;

    for (; chain; chain = next, n++) {
        next = chain->next;
        arena_give(&pool->arena, chain);
    }
    return n;
}

size_t
pool_chain_length(const struct block *chain)
{
    size_t n = 0;

    for (; chain; chain = chain->next)
        n++;
    return n;
}

void
pool_drain_nothing(struct pool *pool, struct pool_local *local)
{
    (void)pool, (void)local;
}

enum co_status
pool_adjust_nothing(struct pool *pool, int n)
{
    (void)pool, (void)n;
    return CO_OK;
}

size_t
pool_no_local(struct pool_local *local)
{
    (void)local;
    return 0;
}

/* --- fork --------------------------------------------------------------- */

/* The child must find no lock held by a thread that it doesn't have. */
static void
before_fork(void)
{
    struct pool *pool;

    pthread_mutex_lock(&registry_lock);
    for (pool = registry; pool; pool = pool->next) {
        pthread_mutex_lock(&pool->lock);
        pthread_mutex_lock(&pool->arena.lock);
    }
}

static void
after_fork(void)
{
    struct pool *pool;

    for (pool = registry; pool; pool = pool->next) {
        pthread_mutex_unlock(&pool->arena.lock);
        pthread_mutex_unlock(&pool->lock);
    }
    pthread_mutex_unlock(&registry_lock);
}

/* Other threads' lists may have been in the middle of a change: their blocks
 * are left alone, and counted as lost. */
static void
after_fork_in_child(void)
{
    struct pool *pool;
    struct pool_local *local, *next;

    for (pool = registry; pool; pool = pool->next) {
        uint64_t known;

        for (local = pool->locals; local; local = next) {
            struct pool_local *own = mine.locals;

            next = local->next_of_pool;
            while (own && own != local)
                own = own->next_of_thread;
            if (own)
                continue;
            local_unlink(pool, local);
            free(local);
        }
        known = count_live(pool) + pool->policy->walk_shared(pool);
        for (local = pool->locals; local; local = local->next_of_pool)
            known += pool->policy->walk_local(local);
        pool->lost = pool->arena.out - known;
    }
    after_fork();
}

/* --- the pool ----------------------------------------------------------- */

/* Those above do not take this lock, so that a fork() may copy it while it is
 * held: it is only for the first to come here, and left alone for good by who
 * comes later, in a child above all. */
bool
pool_surround_fork(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static _Atomic(bool) done;

    if (atomic_load_explicit(&done, memory_order_acquire))
        return true;
    pthread_mutex_lock(&lock);
    if (!done)
        done = os_around_fork(before_fork, after_fork, after_fork_in_child);
    pthread_mutex_unlock(&lock);
    return done;
}

void
co_pool_options_init(struct co_pool_options *options)
{
    *options = (struct co_pool_options){
        .policy = CO_POLICY_MAGAZINE,
        .guard = CO_GUARD_AUTO,
        .stack_size = 256 * 1024,
        .guard_size = 1024 * 1024, /* the kernel's own for a thread's stack */
        .batch = 64,
        .max_idle = 4096,
        .idle_ms = 250,
        /* With two and a half pages each they would fill the memory: a page,
         * as much of page tables, and what belongs to them. */
        .max_blocks = os_memory() / os_page_size() * 2 / 5,
    };
}

/* Mappings that are left for the rest of the process. */
enum { OTHER_MAPPINGS = 5000 };

static enum co_status
resolve(struct co_pool_options *o)
{
    size_t cap;

    if ((unsigned)o->policy >= CO_POLICY_COUNT ||
        (unsigned)o->guard >= CO_GUARD_COUNT || o->batch < 1 ||
        o->batch > 4096 || o->max_blocks < 1 ||
        (o->record_size && o->record_size < DEFAULT_RECORD))
        return CO_BAD_OPTION;
    o->guard = os_resolve_guard(o->guard);
    if (o->guard == CO_GUARD_COUNT)
        return CO_UNSUPPORTED;
    if (o->guard == CO_GUARD_MPROTECT) {
        size_t mappings = os_max_mappings();

        cap = mappings > OTHER_MAPPINGS ? (mappings - OTHER_MAPPINGS) / 2 : 1;
        if (o->max_blocks > cap)
            o->max_blocks = cap;
    }
    /* What threads keep to themselves counts against the cap: let it be a
     * small part for each. */
    cap = o->max_blocks / 16;
    if (o->batch > cap)
        o->batch = cap ? (unsigned)cap : 1;
    /* Only whole batches go to the store. */
    if (o->policy == CO_POLICY_MAGAZINE && o->max_idle &&
        o->batch > o->max_idle)
        o->batch = (unsigned)o->max_idle;
    if (!o->record_size)
        o->record_size = DEFAULT_RECORD;
    return CO_OK;
}

enum co_status
co_pool_create(const struct co_pool_options *options, co_pool **result)
{
    struct co_pool_options o = *options;
    enum co_status status = resolve(&o);
    struct pool *pool;

    if (status != CO_OK)
        return status;
    if (!pool_surround_fork())
        return CO_NO_MEMORY;
    pool = aligned_alloc(alignof(struct pool), sizeof *pool);
    if (!pool)
        return CO_NO_MEMORY;
    memset(pool, 0, sizeof *pool);
    status = arena_init(
        &pool->arena, &(struct arena_options){
                          .stack_size = o.stack_size,
                          .record_size = o.record_size,
                          .data_size = o.data_size,
                          .guard = o.guard,
                          .guard_size = o.guard_size,
                          .max_blocks = o.max_blocks,
                          .first_slab = o.policy == CO_POLICY_NONE ? 1 : 64,
                          .last_slab = o.policy == CO_POLICY_NONE ? 1 : 1 << 11,
                          .keep_empty = o.policy != CO_POLICY_NONE,
                      });
    if (status != CO_OK)
        goto no_arena;
    status = CO_NO_MEMORY;
    if (pthread_mutex_init(&pool->lock, NULL) != 0)
        goto no_lock;
    pool->policy = policies[o.policy];
    pool->options = o;
    pool->batch = o.batch;
    pool->max_size = o.batch;
    pool->room = o.max_blocks / 2;

    pthread_mutex_lock(&registry_lock);
    pool->next = registry;
    registry = pool;
    pthread_mutex_unlock(&registry_lock);
    *result = pool;
    return CO_OK;

no_lock:
    arena_fini(&pool->arena);
no_arena:
    free(pool);
    return status;
}

enum co_status
co_pool_destroy(co_pool *pool)
{
    struct pool **link = &registry;
    struct pool_local *local, *next;

    pthread_mutex_lock(&registry_lock);
    if (count_live(pool)) {
        pthread_mutex_unlock(&registry_lock);
        return CO_IN_USE;
    }
    while (*link != pool)
        link = &(*link)->next;
    *link = pool->next;
    /* Their threads free them, when they next look for a pool or exit; which
     * may be at once. The release pairs with the acquire there. */
    for (local = pool->locals; local; local = next) {
        next = local->next_of_pool;
        atomic_store_explicit(&local->pool, NULL, memory_order_release);
    }
    pthread_mutex_unlock(&registry_lock);

    arena_fini(&pool->arena);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
    return CO_OK;
}

enum co_status
co_pool_adjust(co_pool *pool, int n)
{
    return pool->policy->adjust(pool, n);
}

size_t
co_pool_trim(co_pool *pool)
{
    size_t n = pool->policy->trim(pool, pool_local_find(pool));

    arena_trim(&pool->arena);
    CO_ASSERT_SLOW(arena_check(&pool->arena));
    return n;
}

void
co_pool_stats(co_pool *pool, struct co_pool_stats *s)
{
    struct pool_local *local;
    struct arena *arena = &pool->arena;
    size_t out, lost;
    int64_t live;

    memset(s, 0, sizeof *s);
    pthread_mutex_lock(&registry_lock);
    live = (int64_t)count_live(pool);
    s->reused = load(&pool->reused);
    for (local = pool->locals; local; local = local->next_of_pool)
        s->reused += load(&local->reused);
    s->created = load(&pool->created);
    for (local = pool->locals; local; local = local->next_of_pool)
        s->created += load(&local->created);
    lost = pool->lost;
    pthread_mutex_unlock(&registry_lock);

    pthread_mutex_lock(&arena->lock);
    out = arena->out;
    s->vacant = arena->vacant;
    s->peak = arena->peak;
    s->slabs = arena->slab_count;
    s->mapped_bytes = arena->mapped_bytes;
    s->discards = arena->discards;
    pthread_mutex_unlock(&arena->lock);

    /* The counts were not read at one moment, and the release policy's is a
     * heuristic by design: what can't be is cut off. */
    out -= lost;
    if (live < 0)
        live = 0;
    s->live = (size_t)live < out ? (size_t)live : out;
    out -= s->live;
    s->idle_shared = pool->policy->idle_shared(pool);
    if (s->idle_shared > out)
        s->idle_shared = out;
    s->idle_local = out - s->idle_shared;
    s->contended = load(&pool->contended);
    s->lost = lost;
    s->max_blocks = pool->options.max_blocks;
    s->guard = pool->options.guard;
}

bool
co_pool_check(co_pool *pool)
{
    struct pool_local *local;
    size_t idle, n;
    bool ok;

    pthread_mutex_lock(&registry_lock);
    pool_lock(pool);
    idle = pool->policy->walk_shared(pool);
    pool_unlock(pool);
    ok = idle != SIZE_MAX;
    for (local = pool->locals; local; local = local->next_of_pool) {
        n = pool->policy->walk_local(local);
        ok = ok && n != SIZE_MAX && pool_local_is_of(local, pool) &&
             *local->link_of_pool == local;
        idle += n;
    }
    ok = ok && pool->arena.out == count_live(pool) + idle + pool->lost;
    pthread_mutex_unlock(&registry_lock);
    return ok && arena_check(&pool->arena);
}
