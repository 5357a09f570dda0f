/* SPDX-License-Identifier: MIT
 *
 * What each policy keeps, hands out and gives back. One thread, or several of
 * which only one runs at a time, so that every count is exact. Each test of a
 * policy runs with batches of 2 and of 64.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "test.h"

enum { MOST = 2048, WARM = 1024 };

static unsigned batch;
static co_pool *pool;
static struct block *held[MOST];
static struct turns turns = TURNS_INIT;

static struct co_pool_options
options_of(enum co_policy policy)
{
    struct co_pool_options options;

    co_pool_options_init(&options);
    options.policy = policy;
    options.batch = batch;
    options.guard = CO_GUARD_NONE;
    options.stack_size = 64 * 1024;
    options.idle_ms = 0;
    return options;
}

static void
begin_with(const struct co_pool_options *options)
{
    REQUIRE(co_pool_create(options, &pool) == CO_OK);
    memset(held, 0, sizeof held);
    turns.now = 0;
}

static void
begin(enum co_policy policy)
{
    struct co_pool_options options = options_of(policy);

    begin_with(&options);
}

static void
end(void)
{
    EXPECT_DESTROY(pool);
}

/* Blocks into held[from] and behind. */
static void
take(unsigned from, unsigned n)
{
    unsigned i;

    for (i = from; i < from + n; i++)
        held[i] = test_get(pool);
}

/* Those blocks back, in the order in which they were taken. */
static void
give(unsigned from, unsigned n)
{
    unsigned i;

    for (i = from; i < from + n; i++)
        pool_put(pool, held[i]);
}

/* Where held[] has the block; -1 for a block that is new to it. */
static int
which(const struct block *block)
{
    int i;

    for (i = 0; i < MOST && held[i]; i++)
        if (held[i] == block)
            return i;
    return -1;
}

static enum co_status
refused(void)
{
    enum co_status status = CO_OK;

    EXPECT(pool_get(pool, &status) == NULL);
    return status;
}

static void
expect_counts(int line, size_t live, size_t local, size_t shared, size_t vacant)
{
    struct co_pool_stats s = test_stats(pool);

    if (s.live != live || s.idle_local != local || s.idle_shared != shared ||
        s.vacant != vacant)
        test_failed(__FILE__, line,
                    "live, local, shared, vacant are %zu %zu %zu %zu, "
                    "expected %zu %zu %zu %zu",
                    s.live, s.idle_local, s.idle_shared, s.vacant, live, local,
                    shared, vacant);
    if (!co_pool_check(pool))
        test_failed(__FILE__, line, "a list and its count disagree");
}

/* Live, idle in threads, idle in the shared part, vacant. */
#define EXPECT_COUNTS(live, local, shared, vacant)                             \
    expect_counts(__LINE__, live, local, shared, vacant)

static void
expect_handed_out(int line, uint64_t created, uint64_t reused)
{
    struct co_pool_stats s = test_stats(pool);

    test_expect_eq(__FILE__, line, "created", (long long)s.created,
                   (long long)created);
    test_expect_eq(__FILE__, line, "reused", (long long)s.reused,
                   (long long)reused);
}

#define EXPECT_HANDED_OUT(created, reused)                                     \
    expect_handed_out(__LINE__, created, reused)

/* --- none --------------------------------------------------------------- */

static bool
is_mapped(const char *page)
{
    unsigned char in;

    return mincore((void *)page, os_page_size(), &in) == 0 || errno != ENOMEM;
}

static void
none_maps_and_unmaps_each(void)
{
    size_t each;
    char *page;

    begin(CO_POLICY_NONE);
    EXPECT_EQ(test_stats(pool).slabs, 0);
    take(0, 1);
    each = test_stats(pool).mapped_bytes;
    EXPECT(each >= 64 * 1024);
    take(1, 2);
    EXPECT_EQ(test_stats(pool).slabs, 3);
    EXPECT_EQ(test_stats(pool).mapped_bytes, 3 * each);
    EXPECT_COUNTS(3, 0, 0, 0);

    page = held[1]->low;
    EXPECT(is_mapped(page));
    give(1, 1);
    EXPECT(!is_mapped(page));
    EXPECT_COUNTS(2, 0, 0, 0);
    EXPECT_EQ(test_stats(pool).slabs, 2);

    give(0, 1);
    give(2, 1);
    EXPECT_COUNTS(0, 0, 0, 0);
    EXPECT_EQ(test_stats(pool).slabs, 0);
    EXPECT_EQ(test_stats(pool).mapped_bytes, 0);
    EXPECT_EQ(test_stats(pool).peak, 3);
    EXPECT_HANDED_OUT(3, 0);
    EXPECT_EQ(co_pool_adjust(pool, 5), CO_OK);
    EXPECT_EQ(co_pool_adjust(pool, -9), CO_OK);
    EXPECT_EQ(co_pool_trim(pool), 0);
    EXPECT_COUNTS(0, 0, 0, 0);
    end();
}

/* --- mutex -------------------------------------------------------------- */

static void
mutex_hands_out_the_newest(void)
{
    begin(CO_POLICY_MUTEX);
    take(0, 2);
    EXPECT_COUNTS(2, 0, 0, 0);
    give(0, 2);
    EXPECT_COUNTS(0, 0, 2, 0);
    EXPECT_EQ(which(test_get(pool)), 1);
    EXPECT_COUNTS(1, 0, 1, 0);
    EXPECT_EQ(which(test_get(pool)), 0);
    EXPECT_COUNTS(2, 0, 0, 0);
    EXPECT_HANDED_OUT(4, 2);
    give(0, 2);
    end();
}

static void
mutex_keeps_up_to_its_size(void)
{
    begin(CO_POLICY_MUTEX);
    take(0, 2 * batch + 1);
    give(0, batch);
    EXPECT_COUNTS(batch + 1, 0, batch, 0);
    give(batch, 1);
    EXPECT_COUNTS(batch, 0, batch, 1);
    give(batch + 1, batch);
    EXPECT_COUNTS(0, 0, batch, batch + 1);
    /* Those that were kept are the ones that came first. */
    EXPECT_EQ(which(test_get(pool)), batch - 1);
    EXPECT_COUNTS(1, 0, batch - 1, batch + 1);
    give(batch - 1, 1);
    end();
}

static void
mutex_adjust_moves_the_size(void)
{
    begin(CO_POLICY_MUTEX);
    EXPECT_EQ(co_pool_adjust(pool, 3), CO_OK);
    take(0, batch + 5);
    give(0, batch + 5);
    EXPECT_COUNTS(0, 0, batch + 3, 2);
    EXPECT_EQ(co_pool_adjust(pool, -1), CO_OK);
    EXPECT_COUNTS(0, 0, batch + 2, 3);

    /* More than was added: nothing happens. */
    EXPECT_EQ(co_pool_adjust(pool, -3), CO_BAD_OPTION);
    EXPECT_EQ(co_pool_adjust(pool, INT_MIN), CO_BAD_OPTION);
    EXPECT_COUNTS(0, 0, batch + 2, 3);
    EXPECT_EQ(co_pool_adjust(pool, 0), CO_OK);
    EXPECT_COUNTS(0, 0, batch + 2, 3);

    EXPECT_EQ(co_pool_adjust(pool, -2), CO_OK);
    EXPECT_COUNTS(0, 0, batch, 5);
    EXPECT_EQ(co_pool_adjust(pool, -1), CO_BAD_OPTION);
    EXPECT_COUNTS(0, 0, batch, 5);

    take(0, batch + 2);
    give(0, batch + 2);
    EXPECT_COUNTS(0, 0, batch, 5);
    end();
}

static void
mutex_trim_empties_the_list(void)
{
    begin(CO_POLICY_MUTEX);
    take(0, batch); /* no more than the first slab has */
    give(1, batch - 1);
    EXPECT_EQ(co_pool_trim(pool), batch - 1);
    EXPECT_COUNTS(1, 0, 0, batch - 1);
    give(0, 1);
    EXPECT_EQ(co_pool_trim(pool), 1);
    EXPECT_COUNTS(0, 0, 0, 0);
    EXPECT_EQ(test_stats(pool).slabs, 0);
    EXPECT_EQ(co_pool_trim(pool), 0);
    take(0, 1);
    give(0, 1);
    EXPECT_COUNTS(0, 0, 1, 0);
    end();
}

static void
mutex_taker_in_other_thread(void)
{
    EXPECT_EQ(which(test_get(pool)), 1);
    EXPECT_COUNTS(1, 0, 1, 0);
    give(1, 1);
}

static void
mutex_serves_all_threads_from_one_list(void)
{
    begin(CO_POLICY_MUTEX);
    take(0, 2);
    give(0, 2);
    test_thread(mutex_taker_in_other_thread);
    EXPECT_COUNTS(0, 0, 2, 0);
    EXPECT_HANDED_OUT(3, 1);
    end();
}

/* --- release ------------------------------------------------------------ */

static void
release_steals_only_above_a_batch(void)
{
    begin(CO_POLICY_RELEASE);
    take(0, batch + 1);
    give(0, batch);
    EXPECT_COUNTS(1, 0, batch, 0);
    held[batch + 1] = test_get(pool);
    EXPECT_COUNTS(2, 0, batch, 0);
    EXPECT_HANDED_OUT(batch + 2, 0);

    /* One more is enough; it is the newest, and all others come along. */
    give(batch, 1);
    EXPECT_COUNTS(1, 0, batch + 1, 0);
    EXPECT_EQ(which(test_get(pool)), batch);
    EXPECT_COUNTS(2, batch, 0, 0);
    EXPECT_HANDED_OUT(batch + 3, 1);
    EXPECT_EQ(pool->release_pool_size, 0);
    give(batch, 2);
    end();
}

static void
release_puts_go_to_the_shared_list(void)
{
    unsigned i;

    begin(CO_POLICY_RELEASE);
    take(0, batch + 1);
    give(0, batch + 1);
    EXPECT_EQ(which(test_get(pool)), batch);
    EXPECT_COUNTS(1, batch, 0, 0);
    give(batch, 1);
    EXPECT_COUNTS(0, batch, 1, 0);
    /* The thread's own come first, to the last of them. */
    for (i = 0; i < batch; i++)
        EXPECT_EQ(which(test_get(pool)), batch - 1 - i);
    EXPECT_COUNTS(batch, 0, 1, 0);
    give(0, batch);
    EXPECT_COUNTS(0, 0, batch + 1, 0);
    end();
}

static void
release_destroys_above_two_batches(void)
{
    begin(CO_POLICY_RELEASE);
    take(0, 2 * batch + 3);
    give(0, 2 * batch);
    EXPECT_COUNTS(3, 0, 2 * batch, 0);
    give(2 * batch, 3);
    EXPECT_COUNTS(0, 0, 2 * batch, 3);
    EXPECT_EQ(test_stats(pool).discards, 3);
    /* With the list in the thread there is room again. */
    EXPECT_EQ(which(test_get(pool)), 2 * batch - 1);
    EXPECT_COUNTS(1, 2 * batch - 1, 0, 3);
    give(2 * batch - 1, 1);
    EXPECT_COUNTS(0, 2 * batch - 1, 1, 3);
    end();
}

/* As two threads that push and take at once may leave it. */
static void
release_tolerates_a_size_too_high(void)
{
    begin(CO_POLICY_RELEASE);
    take(0, 2);
    give(0, 1);
    pool->release_pool_size = 10 * batch;
    EXPECT(co_pool_check(pool));
    give(1, 1); /* destroyed */
    EXPECT_COUNTS(0, 0, 1, 1);
    EXPECT_EQ(which(test_get(pool)), 0); /* stolen early */
    EXPECT_EQ(pool->release_pool_size, 0);
    EXPECT_COUNTS(1, 0, 0, 1);

    /* And with nothing in the list at all. */
    pool->release_pool_size = 10 * batch;
    held[1] = test_get(pool);
    EXPECT_EQ(pool->release_pool_size, 0);
    EXPECT_COUNTS(2, 0, 0, 0);
    give(0, 2);
    EXPECT_COUNTS(0, 0, 2, 0);
    end();
}

static void
release_tolerates_a_size_too_low(void)
{
    begin(CO_POLICY_RELEASE);
    take(0, 2 * batch + 1);
    give(0, 2 * batch);
    pool->release_pool_size = 0;
    EXPECT(co_pool_check(pool));
    held[2 * batch + 1] = test_get(pool); /* not stolen, though it could be */
    EXPECT_HANDED_OUT(2 * batch + 2, 0);
    EXPECT(co_pool_check(pool));
    give(2 * batch, 2); /* not destroyed, though it should be */
    EXPECT_EQ(pool->release_pool_size, 2);
    EXPECT(co_pool_check(pool));
    /* What is taken is always all. */
    pool->release_pool_size = batch + 1;
    EXPECT_EQ(which(test_get(pool)), 2 * batch + 1);
    EXPECT_COUNTS(1, 2 * batch + 1, 0, 0);
    give(2 * batch + 1, 1);
    pool->release_pool_size = 0;
    EXPECT_EQ(co_pool_trim(pool), 2 * batch + 2);
    EXPECT_COUNTS(0, 0, 0, 0);
    end();
}

static void
begin_release_at_cap(void)
{
    struct co_pool_options options = options_of(CO_POLICY_RELEASE);

    options.max_blocks = 16 * batch;
    begin_with(&options);
    take(0, 16 * batch);
    EXPECT_EQ(refused(), CO_AT_CAP);
    EXPECT_COUNTS(16 * batch, 0, 0, 0);
}

static void
release_takes_the_rest_rather_than_fail(void)
{
    begin_release_at_cap();
    give(0, 1);
    EXPECT_EQ(which(test_get(pool)), 0);
    give(0, batch);
    EXPECT_COUNTS(15 * batch, 0, batch, 0);
    EXPECT_EQ(which(test_get(pool)), batch - 1);
    EXPECT_COUNTS(15 * batch + 1, batch - 1, 0, 0);
    take(0, batch - 1);
    EXPECT_EQ(refused(), CO_AT_CAP);
    EXPECT_COUNTS(16 * batch, 0, 0, 0);
    EXPECT_EQ(test_stats(pool).peak, 16 * batch);
    give(0, 16 * batch);
    end();
}

/* The size is a heuristic: it must not make a thread fail. */
static void
release_takes_the_rest_whatever_the_size_says(void)
{
    enum co_status status = CO_OK;
    struct block *block;

    begin_release_at_cap();
    give(0, 1);
    pool->release_pool_size = 0;
    block = pool_get(pool, &status);
    EXPECT(block != NULL && which(block) == 0);
    if (block)
        pool_put(pool, block);
    give(1, 16 * batch - 1);
    end();
}

static void
release_ignores_adjust(void)
{
    begin(CO_POLICY_RELEASE);
    EXPECT_EQ(co_pool_adjust(pool, (int)batch), CO_OK);
    take(0, 2 * batch + 1);
    give(0, 2 * batch + 1);
    EXPECT_COUNTS(0, 0, 2 * batch, 1);
    EXPECT_EQ(co_pool_adjust(pool, -5 * (int)batch), CO_OK);
    EXPECT_COUNTS(0, 0, 2 * batch, 1);
    end();
}

static void
release_trim_empties_both_lists(void)
{
    begin(CO_POLICY_RELEASE);
    take(0, batch + 1);
    give(0, batch + 1);
    EXPECT_EQ(which(test_get(pool)), batch);
    give(batch, 1);
    EXPECT_COUNTS(0, batch, 1, 0);
    EXPECT_EQ(co_pool_trim(pool), batch + 1);
    EXPECT_COUNTS(0, 0, 0, 0);
    EXPECT_EQ(test_stats(pool).slabs, 0);
    EXPECT_EQ(co_pool_trim(pool), 0);
    end();
}

/*  turn   maker                   finisher
 *  0      gets batch + 1
 *  1                              puts them: shared
 *  2      gets one: steals all
 *  3                              gets one: none to steal, a fresh one
 *  4      exits: its own go to the arena */
static void
release_maker_or_finisher(unsigned index)
{
    if (index == 0) {
        turn_wait(&turns, 0);
        take(0, batch + 1);
        EXPECT_COUNTS(batch + 1, 0, 0, 0);
        turn_next(&turns);
        turn_wait(&turns, 2);
        EXPECT_EQ(which(test_get(pool)), batch);
        EXPECT_COUNTS(1, batch, 0, 0);
        turn_next(&turns);
        turn_wait(&turns, 4);
        EXPECT_COUNTS(1, batch, 1, 0);
        return;
    }
    turn_wait(&turns, 1);
    give(0, batch + 1);
    EXPECT_COUNTS(0, 0, batch + 1, 0);
    turn_next(&turns);
    turn_wait(&turns, 3);
    held[batch + 1] = test_get(pool);
    EXPECT_HANDED_OUT(batch + 3, 1);
    EXPECT_COUNTS(2, batch, 0, 0);
    give(batch + 1, 1);
    EXPECT_COUNTS(1, batch, 1, 0);
    turn_next(&turns);
}

static void
release_moves_all_from_finisher_to_maker(void)
{
    begin(CO_POLICY_RELEASE);
    test_threads(2, release_maker_or_finisher);
    EXPECT_COUNTS(1, 0, 1, batch);
    give(batch, 1);
    EXPECT_COUNTS(0, 0, 2, batch);
    end();
}

/* --- magazine ----------------------------------------------------------- */

static void
magazine_hands_out_the_newest(void)
{
    unsigned i, n = 2 * batch;

    begin(CO_POLICY_MAGAZINE);
    take(0, n);
    EXPECT_COUNTS(n, 0, 0, 0);
    give(0, n);
    EXPECT_COUNTS(0, n, 0, 0);
    for (i = 0; i < n; i++)
        EXPECT_EQ(which(test_get(pool)), n - 1 - i);
    EXPECT_COUNTS(n, 0, 0, 0);
    EXPECT_HANDED_OUT(2 * n, n);
    give(0, n);
    end();
}

static void
magazine_keeps_two_batches_in_a_thread(void)
{
    begin(CO_POLICY_MAGAZINE);
    take(0, 5 * batch);
    give(0, 2 * batch);
    EXPECT_COUNTS(3 * batch, 2 * batch, 0, 0);
    /* One above: a full batch leaves. */
    give(2 * batch, 1);
    EXPECT_COUNTS(3 * batch - 1, batch + 1, batch, 0);
    give(2 * batch + 1, 3 * batch - 1);
    EXPECT_COUNTS(0, 2 * batch, 3 * batch, 0);
    EXPECT_EQ(pool->warm.blocks, 3 * batch);
    EXPECT_EQ(pool->cold.blocks, 0);
    EXPECT_EQ(test_stats(pool).discards, 0);

    /* And back: the thread's own first, then a batch at a time. */
    take(0, 2 * batch);
    EXPECT_COUNTS(2 * batch, 0, 3 * batch, 0);
    take(2 * batch, 1);
    EXPECT_COUNTS(2 * batch + 1, batch - 1, 2 * batch, 0);
    take(2 * batch + 1, 3 * batch - 1);
    EXPECT_COUNTS(5 * batch, 0, 0, 0);
    EXPECT_HANDED_OUT(10 * batch, 5 * batch);
    EXPECT_EQ(test_stats(pool).peak, 5 * batch);
    give(0, 5 * batch);
    end();
}

/* Back and forth at the edge of a batch: the store is left alone. */
static void
magazine_does_not_thrash_at_the_edge(void)
{
    unsigned i;

    begin(CO_POLICY_MAGAZINE);
    take(0, 3 * batch);
    give(0, 2 * batch + 1);
    EXPECT_COUNTS(batch - 1, batch + 1, batch, 0);
    for (i = 0; i < 10; i++) {
        take(0, 2);
        EXPECT_COUNTS(batch + 1, batch - 1, batch, 0);
        give(0, 2);
        EXPECT_COUNTS(batch - 1, batch + 1, batch, 0);
    }
    give(2 * batch + 1, batch - 1);
    end();
}

/*  turn   maker                          finisher
 *  0      gets three batches
 *  1                                     puts them: two stay, one in store
 *  2      gets one: the batch in store
 *  3                                     exits: its two go to the store
 *  (then) exits: the rest of its batch too */
static void
magazine_maker_or_finisher(unsigned index)
{
    if (index == 0) {
        turn_wait(&turns, 0);
        take(0, 3 * batch);
        EXPECT_COUNTS(3 * batch, 0, 0, 0);
        turn_next(&turns);
        turn_wait(&turns, 2);
        /* The oldest batch left first; the newest of it is on top. */
        EXPECT_EQ(which(test_get(pool)), batch - 1);
        EXPECT_COUNTS(1, 3 * batch - 1, 0, 0);
        EXPECT_EQ(list_length(&pool_local_find(pool)->loaded), batch - 1);
        turn_next(&turns);
        return;
    }
    turn_wait(&turns, 1);
    give(0, 3 * batch);
    EXPECT_COUNTS(0, 2 * batch, batch, 0);
    turn_next(&turns);
    turn_wait(&turns, 3);
    EXPECT_EQ(list_length(&pool_local_find(pool)->loaded), batch);
    EXPECT_EQ(list_length(&pool_local_find(pool)->previous), batch);
}

static void
magazine_moves_batches_between_threads(void)
{
    begin(CO_POLICY_MAGAZINE);
    test_threads(2, magazine_maker_or_finisher);
    EXPECT_COUNTS(1, 0, 3 * batch - 1, 0);
    EXPECT_HANDED_OUT(3 * batch + 1, 1);
    EXPECT_EQ(pool->warm.blocks, 3 * batch - 1);
    give(batch - 1, 1);
    EXPECT_COUNTS(0, 1, 3 * batch - 1, 0);
    end();
}

static void
magazine_store_keeps_max_idle(void)
{
    struct co_pool_options options = options_of(CO_POLICY_MAGAZINE);

    options.max_idle = 4 * batch - 1; /* room for three batches */
    begin_with(&options);
    take(0, 10 * batch);
    give(0, 5 * batch);
    EXPECT_COUNTS(5 * batch, 2 * batch, 3 * batch, 0);
    give(5 * batch, 5 * batch);
    EXPECT_COUNTS(0, 2 * batch, 3 * batch, 5 * batch);
    EXPECT_EQ(test_stats(pool).discards, 5 * batch);
    EXPECT_EQ(co_pool_trim(pool), 5 * batch);
    EXPECT_COUNTS(0, 0, 0, 0);
    end();
}

/* The lowest page of a stack, as deep as a coroutine can go. */
static bool
is_deep_page_resident(const struct block *block)
{
    return test_resident(block->low, os_page_size()) != 0;
}

static void
magazine_cold_blocks_lose_their_deep_pages(void)
{
    unsigned n = WARM + 4 * batch, warm = 0, cold = 0, own = 0, near = 0, i;
    size_t page = os_page_size();

    begin(CO_POLICY_MAGAZINE);
    take(0, n);
    for (i = 0; i < n; i++) {
        held[i]->low[0] = 1;
        block_stack_top(held[i])[-1 - (int)page] = 1;
    }
    give(0, n);
    EXPECT_COUNTS(0, 2 * batch, n - 2 * batch, 0);
    EXPECT_EQ(pool->warm.blocks, WARM);
    EXPECT_EQ(pool->cold.blocks, 2 * batch);
    EXPECT_EQ(test_stats(pool).discards, 2 * batch);
    for (i = 0; i < n; i++) {
        bool deep = is_deep_page_resident(held[i]);

        warm += i < WARM && deep;
        cold += i >= WARM && i < n - 2 * batch && !deep;
        own += i >= n - 2 * batch && deep;
        near += test_resident(block_stack_top(held[i]) - 1 - page, 1) == 1;
    }
    EXPECT_EQ(warm, WARM);
    EXPECT_EQ(cold, 2 * batch);
    EXPECT_EQ(own, 2 * batch);
    EXPECT_EQ(near, n);

    /* All of them come back, the warm before the cold. */
    take(0, 3 * batch);
    EXPECT_EQ(pool->cold.blocks, 2 * batch);
    EXPECT_EQ(pool->warm.blocks + batch, WARM);
    take(3 * batch, n - 3 * batch);
    EXPECT_COUNTS(n, 0, 0, 0);
    EXPECT_HANDED_OUT(2 * n, n);
    give(0, n);
    EXPECT_COUNTS(0, 2 * batch, n - 2 * batch, 0);
    end();
}

static void
begin_timed(unsigned idle_ms)
{
    struct co_pool_options options = options_of(CO_POLICY_MAGAZINE);

    options.idle_ms = idle_ms;
    begin_with(&options);
}

static bool
has_intervals(void)
{
    return atomic_load(&pool->since) != 0;
}

/* One at a time until so many intervals have ended, or there are none. */
static void
use_a_little(unsigned intervals)
{
    uint64_t deadline = os_clock_ms() + 20000;
    unsigned last = atomic_load(&pool->intervals) + intervals;

    while (has_intervals() && atomic_load(&pool->intervals) < last) {
        pool_put(pool, test_get(pool));
        REQUIRE(os_clock_ms() < deadline);
    }
}

static bool
is_mapped_and_resident(char *page)
{
    unsigned char in = 0;

    return mincore(page, os_page_size(), &in) == 0 && in & 1;
}

static void
magazine_gives_back_what_a_crowd_left(void)
{
    static char *lows[MOST];
    unsigned n = WARM + 4 * batch, i;
    size_t stack = 0;

    begin_timed(1);
    take(0, n);
    for (i = 0; i < n; i++) {
        lows[i] = held[i]->low;
        lows[i][0] = 1;
    }
    give(5, n - 5);
    use_a_little(INT_MAX);
    EXPECT(!has_intervals());
    EXPECT_EQ(test_stats(pool).idle_shared, 0);
    EXPECT_EQ(list_length(&pool->locals->previous), 0);
    EXPECT(list_length(&pool->locals->loaded) <= batch);
    for (i = 5; i < n; i++)
        stack += is_mapped_and_resident(lows[i]);
    EXPECT_EQ(stack, 0);
    for (i = 0; i < 5; i++)
        stack += is_mapped_and_resident(lows[i]);
    EXPECT_EQ(stack, 5);
    give(0, 5);
    end();
}

/* Slabs that nobody uses are unmapped, even if the store took nothing. */
static void
magazine_unmaps_what_a_crowd_left(void)
{
    struct co_pool_options options = options_of(CO_POLICY_MAGAZINE);

    options.idle_ms = 1;
    options.max_idle = 0;
    begin_with(&options);
    take(0, MOST);
    EXPECT_EQ(test_stats(pool).slabs, 6);
    give(0, MOST);
    use_a_little(INT_MAX);
    EXPECT(!has_intervals());
    EXPECT(test_stats(pool).slabs <= 2);
    end();
}

static void
magazine_keeps_what_a_crowd_comes_back_for(void)
{
    unsigned n = WARM / 2, discards, i;
    uint64_t deadline = os_clock_ms() + 20000;

    begin_timed(200);
    for (i = 0; atomic_load(&pool->intervals) < 3; i++) {
        take(0, n);
        give(0, n);
        REQUIRE(os_clock_ms() < deadline);
    }
    EXPECT_HANDED_OUT((uint64_t)i * n, (uint64_t)(i - 1) * n);
    EXPECT_EQ(test_stats(pool).discards, 0);
    EXPECT(has_intervals());

    /* Half of them do not come back. */
    deadline = os_clock_ms() + 20000;
    for (i = atomic_load(&pool->intervals);
         atomic_load(&pool->intervals) < i + 3;) {
        take(0, n / 2);
        give(0, n / 2);
        REQUIRE(os_clock_ms() < deadline);
    }
    EXPECT(test_stats(pool).vacant > 0 || test_stats(pool).slabs < 4);
    EXPECT(pool->arena.out >= n / 2);
    discards = (unsigned)test_stats(pool).discards;
    use_a_little(0);
    EXPECT_EQ(test_stats(pool).discards, discards);
    end();
}

static void
magazine_trim_empties_all(void)
{
    unsigned n = WARM + 3 * batch;

    begin(CO_POLICY_MAGAZINE);
    take(0, n);
    give(0, n);
    EXPECT_COUNTS(0, 2 * batch, WARM + batch, 0);
    EXPECT_EQ(co_pool_trim(pool), n);
    EXPECT_COUNTS(0, 0, 0, 0);
    EXPECT_EQ(test_stats(pool).slabs, 0);
    EXPECT_EQ(co_pool_trim(pool), 0);

    /* With a live one its slab stays. */
    take(0, 3);
    give(1, 2);
    EXPECT_EQ(co_pool_trim(pool), 2);
    EXPECT_COUNTS(1, 0, 0, 2);
    EXPECT_EQ(test_stats(pool).slabs, 1);
    give(0, 1);
    end();
}

/* What a full store does not take is given back all the same. */
static void
magazine_trim_counts_what_no_store_took(void)
{
    struct co_pool_options options = options_of(CO_POLICY_MAGAZINE);

    options.max_idle = 0;
    begin_with(&options);
    take(0, 3 * batch);
    give(0, 3 * batch);
    EXPECT_COUNTS(0, 2 * batch, 0, batch);
    EXPECT_EQ(co_pool_trim(pool), 2 * batch);
    EXPECT_COUNTS(0, 0, 0, 0);
    end();
}

static void
magazine_ignores_adjust(void)
{
    begin(CO_POLICY_MAGAZINE);
    take(0, 3 * batch);
    give(0, 3 * batch);
    EXPECT_EQ(co_pool_adjust(pool, 7), CO_OK);
    EXPECT_EQ(co_pool_adjust(pool, -700), CO_OK);
    EXPECT_COUNTS(0, 2 * batch, batch, 0);
    end();
}

/* --- all of them -------------------------------------------------------- */

static void
cap_refuses_and_recovers(void)
{
    enum co_policy policy;

    for (policy = 0; policy < CO_POLICY_COUNT; policy++) {
        struct co_pool_options options = options_of(policy);

        options.max_blocks = 16 * batch;
        begin_with(&options);
        EXPECT_EQ(test_stats(pool).max_blocks, 16 * batch);
        take(0, 16 * batch);
        EXPECT_EQ(refused(), CO_AT_CAP);
        EXPECT_EQ(refused(), CO_AT_CAP);
        EXPECT_COUNTS(16 * batch, 0, 0, 0);
        EXPECT_HANDED_OUT(16 * batch, 0);
        give(7, 1);
        take(7, 1);
        EXPECT_EQ(refused(), CO_AT_CAP);
        give(0, 16 * batch);
        take(0, 16 * batch);
        EXPECT_EQ(refused(), CO_AT_CAP);
        EXPECT_EQ(test_stats(pool).peak, 16 * batch);
        give(0, 16 * batch);
        end();
    }
}

/* Each thread has had as large a crowd as there can be, and goes on living with
 * what it keeps of that; the last one comes when all others are idle. */
enum { IDLERS = 60 };

static size_t cap;

static void
idle_or_come_last(unsigned index)
{
    size_t n = 0;
    enum co_status status;
    struct block *block;
    static struct block *crowd[MOST];

    turn_wait(&turns, index);
    while (n < cap && (block = pool_get(pool, &status)) != NULL)
        crowd[n++] = block;
    EXPECT(n >= cap - cap / 2);
    EXPECT(co_pool_check(pool));
    while (n)
        pool_put(pool, crowd[--n]);
    EXPECT(test_stats(pool).idle_local <= cap / 2);
    EXPECT(co_pool_check(pool));
    turn_next(&turns);
    turn_wait(&turns, IDLERS);
}

static void
idle_threads_leave_half_of_the_cap(void)
{
    static const size_t caps[] = {1, 2, 3, 16, 100, MOST};
    size_t i;

    for (i = 0; i < sizeof caps / sizeof *caps; i++) {
        struct co_pool_options options = options_of(CO_POLICY_MAGAZINE);

        cap = options.max_blocks = caps[i];
        test_case("%zu blocks", cap);
        begin_with(&options);
        test_threads(IDLERS, idle_or_come_last);
        EXPECT_EQ(test_stats(pool).idle_local, 0);
        EXPECT_EQ(pool->room, cap / 2);
        end();
    }
}

static void
pool_with_live_blocks_is_in_use(void)
{
    enum co_policy policy;

    for (policy = 0; policy < CO_POLICY_COUNT; policy++) {
        begin(policy);
        take(0, 2);
        EXPECT_EQ(co_pool_destroy(pool), CO_IN_USE);
        give(0, 1);
        EXPECT_EQ(co_pool_destroy(pool), CO_IN_USE);
        EXPECT(co_pool_check(pool));
        take(0, 1);
        give(0, 2);
        end();
    }
}

/* Each thread's part is of one pool; the other pool's stays as it is. */
static void
two_pools_in_turn_keep_apart(void)
{
    enum co_policy policy;

    for (policy = 0; policy < CO_POLICY_COUNT; policy++) {
        struct co_pool_options options = options_of(policy);
        co_pool *other = NULL;
        unsigned i, wrong = 0;

        begin(policy);
        REQUIRE(co_pool_create(&options, &other) == CO_OK);
        for (i = 0; i < 3 * batch; i++) {
            struct block *mine = test_get(pool), *others = test_get(other);

            wrong += mine == others;
            held[i] = mine;
            pool_put(other, others);
        }
        EXPECT_EQ(wrong, 0);
        EXPECT_EQ(test_stats(other).created, 3 * batch);
        EXPECT_EQ(test_stats(other).peak,
                  policy == CO_POLICY_RELEASE ? batch + 1 : 1);
        EXPECT_EQ(test_stats(other).live, 0);
        EXPECT_COUNTS(3 * batch, 0, 0, 0);
        EXPECT_DESTROY(other);
        EXPECT_COUNTS(3 * batch, 0, 0, 0);
        give(0, 3 * batch);
        end();
    }
}

/* --- options ------------------------------------------------------------ */

static enum co_status
status_of(const struct co_pool_options *options)
{
    co_pool *untouched = (co_pool *)&batch, *result = untouched;
    enum co_status status = co_pool_create(options, &result);

    if (status == CO_OK)
        EXPECT_EQ(co_pool_destroy(result), CO_OK);
    else
        EXPECT(result == untouched);
    return status;
}

#define EXPECT_OPTION(name, value, expected)                                   \
    do {                                                                       \
        struct co_pool_options options = options_of(CO_POLICY_MAGAZINE);       \
                                                                               \
        options.name = (value);                                                \
        EXPECT_EQ(status_of(&options), expected);                              \
    } while (0)

static void
bad_options_make_no_pool(void)
{
    batch = 2;
    EXPECT_OPTION(batch, 1, CO_OK);
    EXPECT_OPTION(batch, 4096, CO_OK);
    EXPECT_OPTION(batch, 0, CO_BAD_OPTION);
    EXPECT_OPTION(batch, 4097, CO_BAD_OPTION);
    EXPECT_OPTION(max_blocks, 1, CO_OK);
    EXPECT_OPTION(max_blocks, 0, CO_BAD_OPTION);
    EXPECT_OPTION(max_idle, 0, CO_OK);
    EXPECT_OPTION(policy, CO_POLICY_COUNT, CO_BAD_OPTION);
    EXPECT_OPTION(policy, (enum co_policy)(-1), CO_BAD_OPTION);
    EXPECT_OPTION(guard, CO_GUARD_COUNT, CO_BAD_OPTION);
    EXPECT_OPTION(guard, (enum co_guard)(-1), CO_BAD_OPTION);
    EXPECT_OPTION(stack_size, 32 * 1024, CO_OK);
    EXPECT_OPTION(stack_size, 32 * 1024 - 1, CO_BAD_OPTION);
    EXPECT_OPTION(stack_size, 0, CO_BAD_OPTION);
    EXPECT_OPTION(stack_size, ((size_t)1 << 30) + 1, CO_BAD_OPTION);
    EXPECT_OPTION(stack_size, SIZE_MAX, CO_BAD_OPTION);
    EXPECT_OPTION(guard_size, 0, CO_OK); /* there are no guards */
    EXPECT_OPTION(data_size, SIZE_MAX, CO_BAD_OPTION);
    EXPECT_OPTION(record_size, DEFAULT_RECORD, CO_OK);
    EXPECT_OPTION(record_size, DEFAULT_RECORD - 16, CO_BAD_OPTION);
    EXPECT_OPTION(record_size, os_page_size(), CO_BAD_OPTION);
    EXPECT_OPTION(record_size, SIZE_MAX, CO_BAD_OPTION);
}

static void
guards_have_a_size(void)
{
    static const struct {
        size_t size;
        enum co_status status;
    } sizes[] = {{0, CO_BAD_OPTION},
                 {1, CO_OK},
                 {(size_t)64 << 20, CO_OK},
                 {((size_t)64 << 20) + 1, CO_BAD_OPTION},
                 {SIZE_MAX, CO_BAD_OPTION}};
    struct co_pool_options options;
    size_t i;

    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        batch = 2;
        options = options_of(CO_POLICY_MAGAZINE);
        options.guard = CO_GUARD_MPROTECT;
        options.guard_size = sizes[i].size;
        EXPECT_EQ(status_of(&options), sizes[i].status);
    }
}

/* What threads keep must be a small part of what there may be. */
static void
batch_is_at_most_a_sixteenth_of_the_cap(void)
{
    struct co_pool_options options;

    batch = 64;
    options = options_of(CO_POLICY_MAGAZINE);
    options.max_blocks = 32;
    begin_with(&options);
    EXPECT_EQ(pool->batch, 2);
    end();
    options.max_blocks = 1;
    begin_with(&options);
    EXPECT_EQ(pool->batch, 1);
    take(0, 1);
    EXPECT_EQ(refused(), CO_AT_CAP);
    give(0, 1);
    take(0, 1);
    EXPECT_HANDED_OUT(2, 1);
    give(0, 1);
    end();
}

/* A store that can't take a batch would take nothing. */
static void
batch_is_at_most_what_the_store_keeps(void)
{
    struct co_pool_options options;

    batch = 64;
    options = options_of(CO_POLICY_MAGAZINE);
    options.max_idle = 60;
    begin_with(&options);
    EXPECT_EQ(pool->batch, 60);
    take(0, 300);
    give(0, 300);
    EXPECT_COUNTS(0, 120, 60, 120);
    end();
    options.max_idle = 0; /* no store at all */
    begin_with(&options);
    EXPECT_EQ(pool->batch, 64);
    end();
    options.policy = CO_POLICY_MUTEX; /* which has none */
    options.max_idle = 60;
    begin_with(&options);
    EXPECT_EQ(pool->batch, 64);
    end();
}

/* However large a batch is, the one that goes to the store and comes back is
 * not stripped of its pages. */
static void
batch_of_any_size_stays_warm(void)
{
    static const unsigned sizes[] = {WARM, WARM + 1, 4096};
    static struct block *blocks[3 * 4096];
    unsigned n, i, j;

    for (i = 0; i < 3; i++) {
        batch = sizes[i];
        test_case("batch %u", batch);
        begin(CO_POLICY_MAGAZINE);
        n = 3 * batch;
        for (j = 0; j < 3 * n; j++)
            if (j / n % 2 == 0)
                blocks[j % n] = test_get(pool);
            else
                pool_put(pool, blocks[j % n]);
        for (j = 0; j < n; j++)
            pool_put(pool, blocks[j]);
        EXPECT_COUNTS(0, 2 * batch, batch, 0);
        EXPECT_HANDED_OUT(2 * n, n);
        EXPECT_EQ(test_stats(pool).discards, 0);
        end();
    }
}

static void
mprotect_guards_lower_the_cap(void)
{
    struct co_pool_options options;

    batch = 2;
    options = options_of(CO_POLICY_MAGAZINE);
    options.guard = CO_GUARD_MPROTECT;
    options.max_blocks = SIZE_MAX;
    begin_with(&options);
    EXPECT(test_stats(pool).max_blocks <= os_max_mappings() / 2);
    EXPECT(test_stats(pool).max_blocks >= 1);
    EXPECT_EQ(test_stats(pool).guard, CO_GUARD_MPROTECT);
    end();
}

/* --- a thread's part ---------------------------------------------------- */

/* The newest is the first in its thread's list. */
static unsigned
parts_of_this_thread(void)
{
    const struct pool_local *local = pool_local_last;
    unsigned n = 0;

    for (; local; local = local->next_of_thread)
        n++;
    return n;
}

static void
use_and_destroy_pools(void)
{
    unsigned i;

    for (i = 0; i < 10; i++) {
        begin(CO_POLICY_MAGAZINE);
        take(0, 1);
        EXPECT_EQ(parts_of_this_thread(), 1);
        give(0, 1);
        end();
        EXPECT(pool_local_last && !pool_local_last->pool);
    }
}

/* It can't be freed by who destroys the pool, who may be another thread. */
static void
part_of_a_destroyed_pool_is_freed_later(void)
{
    batch = 2;
    test_thread(use_and_destroy_pools);
}

static void
user_or_destroyer(unsigned index)
{
    if (index == 0) {
        turn_wait(&turns, 0);
        take(0, 5);
        give(0, 5);
        EXPECT_COUNTS(0, 3, 2, 0);
        turn_next(&turns);
        turn_wait(&turns, 2);
        EXPECT(!pool_local_last->pool);
        return;
    }
    turn_wait(&turns, 1);
    end();
    turn_next(&turns);
}

static void
pool_is_destroyed_under_an_idle_thread(void)
{
    batch = 2;
    begin(CO_POLICY_MAGAZINE);
    test_threads(2, user_or_destroyer);
}

/* --- the list ----------------------------------------------------------- */

#define FOR_BATCHED_TESTS(DO)                                                  \
    DO(none_maps_and_unmaps_each)                                              \
    DO(mutex_hands_out_the_newest)                                             \
    DO(mutex_keeps_up_to_its_size)                                             \
    DO(mutex_adjust_moves_the_size)                                            \
    DO(mutex_trim_empties_the_list)                                            \
    DO(mutex_serves_all_threads_from_one_list)                                 \
    DO(release_steals_only_above_a_batch)                                      \
    DO(release_puts_go_to_the_shared_list)                                     \
    DO(release_destroys_above_two_batches)                                     \
    DO(release_tolerates_a_size_too_high)                                      \
    DO(release_tolerates_a_size_too_low)                                       \
    DO(release_takes_the_rest_rather_than_fail)                                \
    DO(release_takes_the_rest_whatever_the_size_says)                          \
    DO(release_ignores_adjust)                                                 \
    DO(release_trim_empties_both_lists)                                        \
    DO(release_moves_all_from_finisher_to_maker)                               \
    DO(magazine_hands_out_the_newest)                                          \
    DO(magazine_keeps_two_batches_in_a_thread)                                 \
    DO(magazine_does_not_thrash_at_the_edge)                                   \
    DO(magazine_moves_batches_between_threads)                                 \
    DO(magazine_store_keeps_max_idle)                                          \
    DO(magazine_cold_blocks_lose_their_deep_pages)                             \
    DO(magazine_gives_back_what_a_crowd_left)                                  \
    DO(magazine_unmaps_what_a_crowd_left)                                      \
    DO(magazine_keeps_what_a_crowd_comes_back_for)                             \
    DO(magazine_trim_empties_all)                                              \
    DO(magazine_trim_counts_what_no_store_took)                                \
    DO(magazine_ignores_adjust)                                                \
    DO(cap_refuses_and_recovers)                                               \
    DO(idle_threads_leave_half_of_the_cap)                                     \
    DO(pool_with_live_blocks_is_in_use)                                        \
    DO(two_pools_in_turn_keep_apart)

#define DEFINE(name)                                                           \
    static void name##_2(void)                                                 \
    {                                                                          \
        batch = 2;                                                             \
        name();                                                                \
    }                                                                          \
    static void name##_64(void)                                                \
    {                                                                          \
        batch = 64;                                                            \
        name();                                                                \
    }
FOR_BATCHED_TESTS(DEFINE)

int
main(int argc, char **argv)
{
#define BOTH(name) TEST(name##_2), TEST(name##_64),
    static const struct test tests[] = {
        TEST(bad_options_make_no_pool),
        TEST(guards_have_a_size),
        TEST(batch_is_at_most_a_sixteenth_of_the_cap),
        TEST(batch_is_at_most_what_the_store_keeps),
        TEST(batch_of_any_size_stays_warm),
        TEST(mprotect_guards_lower_the_cap),
        TEST(part_of_a_destroyed_pool_is_freed_later),
        TEST(pool_is_destroyed_under_an_idle_thread),
        FOR_BATCHED_TESTS(BOTH) TESTS_END,
    };

    return test_main(tests, argc, argv);
}
