/* SPDX-License-Identifier: MIT
 *
 * The policy `mutex`: the code before the patch.
 */
#include <limits.h>
#include <string.h>

#include "test.h"

enum { N = 8 };
static co_pool *pool;
static struct block *blocks[N];

static void
begin(unsigned batch)
{
    size_t i;

    pool = test_pool(CO_POLICY_MUTEX, batch);
    for (i = 0; i < N; i++)
        blocks[i] = test_get(pool);
}

static void
put_all(void)
{
    size_t i;

    for (i = 0; i < N; i++)
        pool_put(pool, blocks[i]);
}

static void
last_put_is_first_got(void)
{
    begin(64);
    put_all();
    EXPECT(test_get(pool) == blocks[7]);
    EXPECT(test_get(pool) == blocks[6]);
    pool_put(pool, blocks[7]);
    EXPECT(test_get(pool) == blocks[7]);
    pool_put(pool, blocks[6]);
    pool_put(pool, blocks[7]);
    EXPECT_EQ(test_stats(pool).reused, 3);
    EXPECT_EQ(test_stats(pool).idle_shared, N);
    EXPECT_DESTROY(pool);
}

static void
keeps_no_more_than_its_size(void)
{
    begin(2);
    put_all();
    EXPECT_EQ(test_stats(pool).idle_shared, 2);
    EXPECT_EQ(test_stats(pool).vacant, N - 2);
    EXPECT_EQ(test_stats(pool).live, 0);
    /* The first two stayed, the rest were given back. */
    EXPECT(test_get(pool) == blocks[1]);
    EXPECT(test_get(pool) == blocks[0]);
    pool_put(pool, blocks[0]);
    pool_put(pool, blocks[1]);
    EXPECT_DESTROY(pool);
}

static void
adjust_makes_room(void)
{
    begin(2);
    EXPECT_EQ(co_pool_adjust(pool, 3), CO_OK);
    put_all();
    EXPECT_EQ(test_stats(pool).idle_shared, 5);
    EXPECT_DESTROY(pool);
}

static void
adjust_down_trims(void)
{
    begin(2);
    EXPECT_EQ(co_pool_adjust(pool, 4), CO_OK);
    put_all();
    EXPECT_EQ(test_stats(pool).idle_shared, 6);
    EXPECT_EQ(co_pool_adjust(pool, -3), CO_OK);
    EXPECT_EQ(test_stats(pool).idle_shared, 3);
    EXPECT_EQ(test_stats(pool).vacant, N - 3);
    EXPECT(co_pool_check(pool));
    EXPECT_EQ(co_pool_adjust(pool, -1), CO_OK);
    EXPECT_EQ(test_stats(pool).idle_shared, 2);
    EXPECT_DESTROY(pool);
}

static void
adjust_takes_no_more_than_was_added(void)
{
    begin(2);
    EXPECT_EQ(co_pool_adjust(pool, -1), CO_BAD_OPTION);
    EXPECT_EQ(co_pool_adjust(pool, INT_MIN), CO_BAD_OPTION);
    EXPECT_EQ(co_pool_adjust(pool, 3), CO_OK);
    EXPECT_EQ(co_pool_adjust(pool, -4), CO_BAD_OPTION);
    put_all();
    /* What was refused changed nothing. */
    EXPECT_EQ(test_stats(pool).idle_shared, 5);
    EXPECT_EQ(co_pool_adjust(pool, -3), CO_OK);
    EXPECT_EQ(co_pool_adjust(pool, -1), CO_BAD_OPTION);
    EXPECT_EQ(co_pool_adjust(pool, 0), CO_OK);
    EXPECT_EQ(test_stats(pool).idle_shared, 2);
    EXPECT_DESTROY(pool);
}

static void
add_use_and_take_away(unsigned index)
{
    unsigned rounds = test_rounds(2000), i;

    for (i = 0; i < rounds; i++) {
        struct block *a, *b;

        EXPECT_EQ(co_pool_adjust(pool, (int)index + 1), CO_OK);
        a = test_get(pool);
        b = test_get(pool);
        EXPECT(a != b);
        pool_put(pool, a);
        pool_put(pool, b);
        EXPECT_EQ(co_pool_adjust(pool, -(int)index - 1), CO_OK);
    }
}

static void
adjust_in_several_threads_adds_up(void)
{
    pool = test_pool(CO_POLICY_MUTEX, 2);
    test_threads(4, add_use_and_take_away);
    EXPECT_EQ(pool->max_size, 2);
    EXPECT(test_stats(pool).idle_shared <= 2);
    EXPECT_EQ(co_pool_adjust(pool, -1), CO_BAD_OPTION);
    EXPECT_DESTROY(pool);
}

static void
check_finds_what_is_wrong(void)
{
    begin(64);
    pool_put(pool, blocks[0]);
    EXPECT(co_pool_check(pool));
    list_set_length(&pool->idle, 2);
    EXPECT(!co_pool_check(pool));
    list_set_length(&pool->idle, 1);
    pool->finished++;
    EXPECT(!co_pool_check(pool));
    pool->finished--;
    EXPECT(co_pool_check(pool));
    blocks[0] = test_get(pool);
    put_all();
    EXPECT_DESTROY(pool);
}

int
main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(last_put_is_first_got),
        TEST(keeps_no_more_than_its_size),
        TEST(adjust_makes_room),
        TEST(adjust_down_trims),
        TEST(adjust_takes_no_more_than_was_added),
        TEST(adjust_in_several_threads_adds_up),
        TEST(check_finds_what_is_wrong),
        TESTS_END,
    };

    return test_main(tests, argc, argv);
}
