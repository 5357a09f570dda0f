/* SPDX-License-Identifier: MIT
 *
 * The policy `release`: the patch as it stands.
 */
#include <string.h>

#include "test.h"

enum { BATCH = 2, N = 8 };
static co_pool *pool;
static struct block *blocks[N];
static struct record events;

/* The number of a block by the order in which it was first got. */
static int
number(const struct block *block)
{
    int i;

    for (i = 0; i < N; i++)
        if (blocks[i] == block)
            return i;
    return -1;
}

static void
record_chain(const char *name, const struct block *chain)
{
    char text[64] = "";
    size_t n = 0;

    for (; chain && n < 60; chain = chain->next)
        n += (size_t)snprintf(text + n, sizeof text - n, "%d", number(chain));
    record(&events, "%s=%s", name, text);
}

/* "alloc=... release=... size=..." as the calling thread sees it. */
static void
record_lists(void)
{
    struct pool_local *local = pool_local_find(pool);

    record_chain("alloc", local ? local->alloc_pool : NULL);
    record_chain("release", pool->release_pool.head);
    record(&events, "size=%u", pool->release_pool_size);
}

static void
forget(void)
{
    memset(&events, 0, sizeof events);
}

static void
begin(void)
{
    size_t i;

    forget();
    pool = test_pool(CO_POLICY_RELEASE, BATCH);
    for (i = 0; i < N; i++)
        blocks[i] = test_get(pool);
}

static void
put(size_t first, size_t last)
{
    for (; first <= last; first++)
        pool_put(pool, blocks[first]);
}

static void
end(void)
{
    EXPECT_EQ(test_stats(pool).live, 0);
    EXPECT_DESTROY(pool);
}

static void
put_pushes_onto_the_shared_list(void)
{
    begin();
    put(0, 2);
    record_lists();
    EXPECT_RECORD(events, "alloc= release=210 size=3");
    put(3, 7);
    end();
}

static void
steals_only_above_a_batch(void)
{
    struct block *fresh;

    begin();
    put(0, 1);
    fresh = test_get(pool);
    EXPECT_EQ(number(fresh), -1);
    EXPECT_EQ(test_stats(pool).reused, 0);
    record_lists();
    EXPECT_RECORD(events, "alloc= release=10 size=2");
    put(2, 2);
    EXPECT_EQ(number(test_get(pool)), 2);
    EXPECT_EQ(test_stats(pool).reused, 1);
    pool_put(pool, fresh);
    put(2, 7);
    end();
}

/* What was taken at once is handed out, newest first, without a look at the
 * shared list. */
static void
steals_all_and_hands_out_newest_first(void)
{
    begin();
    put(0, 3);
    EXPECT_EQ(number(test_get(pool)), 3);
    record_lists();
    EXPECT_RECORD(events, "alloc=210 release= size=0");
    forget();
    put(4, 6);
    EXPECT_EQ(number(test_get(pool)), 2);
    EXPECT_EQ(number(test_get(pool)), 1);
    EXPECT_EQ(number(test_get(pool)), 0);
    record_lists();
    EXPECT_RECORD(events, "alloc= release=654 size=3");
    EXPECT_EQ(number(test_get(pool)), 6);
    put(0, 3);
    put(6, 7);
    end();
}

static void
keeps_two_batches_and_destroys_the_rest(void)
{
    begin();
    put(0, 7);
    record_lists();
    EXPECT_RECORD(events, "alloc= release=3210 size=4");
    EXPECT_EQ(test_stats(pool).vacant, 4);
    EXPECT_EQ(test_stats(pool).idle_shared, 4);
    end();
}

static void
batch_of_sixty_four_steals_at_sixty_five(void)
{
    struct block *many[200];
    size_t i;

    pool = test_pool(CO_POLICY_RELEASE, 64);
    for (i = 0; i < 200; i++)
        many[i] = test_get(pool);
    for (i = 0; i < 64; i++)
        pool_put(pool, many[i]);
    many[0] = test_get(pool);
    EXPECT_EQ(test_stats(pool).reused, 0);
    pool_put(pool, many[64]);
    EXPECT_EQ(pool->release_pool_size, 65);
    EXPECT(test_get(pool) == many[64]);
    EXPECT_EQ(pool->release_pool_size, 0);
    EXPECT_EQ(pool_chain_length(pool_local_find(pool)->alloc_pool), 64);
    pool_put(pool, many[0]);
    for (i = 64; i < 200; i++)
        pool_put(pool, many[i]);
    EXPECT_EQ(test_stats(pool).idle_shared, 128);
    EXPECT_EQ(test_stats(pool).idle_local, 64);
    EXPECT_EQ(test_stats(pool).vacant, 201 - 128 - 64);
    end();
}

/* --- the size that may be wrong ----------------------------------------- */

/*  thief                    other thread       release   size
 *  sees 3, more than 2                         210       3
 *  size = 0                                    210       0
 *                           put 3              3210      1
 *  takes all                                             1
 *
 * The size says one, the list is empty. */
static void
size_may_be_above_the_truth(void)
{
    begin();
    put(0, 2);
    atomic_store(&pool->release_pool_size, 0);
    put(3, 3);
    pool_local_get(pool)->alloc_pool = shared_list_take_all(&pool->release_pool);
    record_lists();
    EXPECT_RECORD(events, "alloc=3210 release= size=1");
    forget();
    EXPECT(co_pool_check(pool));

    /* Two puts later it says three: there is more to steal than it thinks
     * worth while, but less than it says. */
    put(4, 5);
    EXPECT_EQ(number(test_get(pool)), 3);
    EXPECT_EQ(number(test_get(pool)), 2);
    EXPECT_EQ(number(test_get(pool)), 1);
    EXPECT_EQ(number(test_get(pool)), 0);
    record_lists();
    EXPECT_RECORD(events, "alloc= release=54 size=3");
    EXPECT_EQ(number(test_get(pool)), 5);
    put(0, 3);
    put(5, 7);
    end();
}

/* The extreme of it: there seems to be plenty, and there is nothing. */
static void
steal_of_nothing_takes_a_fresh_block(void)
{
    struct block *fresh;

    begin();
    atomic_store(&pool->release_pool_size, 2 * BATCH);
    fresh = test_get(pool);
    EXPECT_EQ(number(fresh), -1);
    record_lists();
    EXPECT_RECORD(events, "alloc= release= size=0");
    /* Nor does the wrong size keep blocks from being kept for ever. */
    put(0, 2);
    EXPECT_EQ(number(test_get(pool)), 2);
    pool_put(pool, fresh);
    put(2, 7);
    end();
}

/* --- threads ------------------------------------------------------------ */

static void
only_put(void)
{
    put(0, 3);
    EXPECT(pool_local_find(pool) == NULL);
}

static void
steal_one(void)
{
    EXPECT(pool_local_find(pool) == NULL);
    EXPECT_EQ(number(test_get(pool)), 3);
    EXPECT(pool_local_find(pool) != NULL);
    record_lists();
    EXPECT_EQ(test_stats(pool).idle_local, 3);
}

/* The notifier is registered where blocks are stolen, and nowhere else; it
 * destroys what the thread had not used. */
static void
thread_that_exits_destroys_what_it_stole(void)
{
    begin();
    test_thread(only_put);
    EXPECT(pool->locals == NULL);
    EXPECT_EQ(test_stats(pool).idle_shared, 4);
    test_thread(steal_one);
    EXPECT_RECORD(events, "alloc=210 release= size=0");
    EXPECT(pool->locals == NULL);
    EXPECT_EQ(test_stats(pool).idle_local, 0);
    EXPECT_EQ(test_stats(pool).vacant, 3);
    EXPECT_EQ(test_stats(pool).live, 5);
    EXPECT_EQ(test_stats(pool).reused, 1);
    EXPECT(co_pool_check(pool));
    put(3, 7);
    end();
}

/*  turn  maker           finisher        release
 *  0                     puts 0 1 2 3    3210
 *  1     gets 3, has 210
 *  2                     puts 4 5 6      654
 *  3     gets 2 1 0 6                            */
static struct turns turns;

static void
make_and_finish(unsigned index)
{
    if (index) {
        turn_wait(&turns, 0);
        put(0, 3);
        turn_next(&turns);
        turn_wait(&turns, 2);
        put(4, 6);
        turn_next(&turns);
        return;
    }
    turn_wait(&turns, 1);
    record(&events, "%d", number(test_get(pool)));
    turn_next(&turns);
    turn_wait(&turns, 3);
    record(&events, "%d", number(test_get(pool)));
    record(&events, "%d", number(test_get(pool)));
    record(&events, "%d", number(test_get(pool)));
    record(&events, "%d", number(test_get(pool)));
}

static void
blocks_go_from_finisher_to_maker(void)
{
    turns = (struct turns)TURNS_INIT;
    begin();
    test_threads(2, make_and_finish);
    EXPECT_RECORD(events, "3 2 1 0 6");
    EXPECT_EQ(test_stats(pool).created - test_stats(pool).reused, N);
    put(0, 3);
    put(6, 7);
    end();
}

/* --- at the cap --------------------------------------------------------- */

static void
fewer_than_a_batch_are_stolen_rather_than_fail(void)
{
    struct co_pool_options options;
    struct block *got[32];
    enum co_status status = CO_OK;
    size_t i;

    co_pool_options_init(&options);
    options.policy = CO_POLICY_RELEASE;
    options.batch = BATCH;
    options.max_blocks = 32;
    REQUIRE(co_pool_create(&options, &pool) == CO_OK);
    for (i = 0; i < 32; i++)
        got[i] = test_get(pool);
    EXPECT(pool_get(pool, &status) == NULL);
    EXPECT_EQ(status, CO_AT_CAP);
    pool_put(pool, got[5]);
    EXPECT(test_get(pool) == got[5]);
    EXPECT(pool_get(pool, &status) == NULL);
    for (i = 0; i < 32; i++)
        pool_put(pool, got[i]);
    end();
}

static void
check_finds_what_is_wrong(void)
{
    begin();
    put(0, 2);
    EXPECT(co_pool_check(pool));
    blocks[2]->next = blocks[0];
    EXPECT(!co_pool_check(pool));
    blocks[2]->next = blocks[1];
    EXPECT(co_pool_check(pool));
    put(3, 7);
    end();
}

int
main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(put_pushes_onto_the_shared_list),
        TEST(steals_only_above_a_batch),
        TEST(steals_all_and_hands_out_newest_first),
        TEST(keeps_two_batches_and_destroys_the_rest),
        TEST(batch_of_sixty_four_steals_at_sixty_five),
        TEST(size_may_be_above_the_truth),
        TEST(steal_of_nothing_takes_a_fresh_block),
        TEST(thread_that_exits_destroys_what_it_stole),
        TEST(blocks_go_from_finisher_to_maker),
        TEST(fewer_than_a_batch_are_stolen_rather_than_fail),
        TEST(check_finds_what_is_wrong),
        TESTS_END,
    };

    return test_main(tests, argc, argv);
}
