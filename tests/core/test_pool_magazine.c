/* SPDX-License-Identifier: MIT
 *
 * The policy `magazine`: two magazines a thread, and the store.
 */
#include <string.h>

#include "test.h"

enum { BATCH = 2, N = 12 };
static co_pool *pool;
static struct block *blocks[N];
static struct record events;

static co_pool *
make_pool(unsigned batch, size_t max_idle)
{
    struct co_pool_options options;
    co_pool *made = NULL;

    co_pool_options_init(&options);
    options.batch = batch;
    options.max_idle = max_idle;
    options.guard = CO_GUARD_NONE;
    options.stack_size = 64 * 1024;
    REQUIRE(co_pool_create(&options, &made) == CO_OK);
    return made;
}

static void
forget(void)
{
    memset(&events, 0, sizeof events);
}

static void
begin(size_t max_idle)
{
    size_t i;

    forget();
    pool = make_pool(BATCH, max_idle);
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

/* Letters, as there are more than ten. */
static char
letter(const struct block *block)
{
    int i;

    for (i = 0; i < N; i++)
        if (blocks[i] == block)
            return (char)('a' + i);
    return '?';
}

static size_t
write_chain(char *text, size_t n, const struct block *chain)
{
    for (; chain && n < 60; chain = chain->next)
        text[n++] = letter(chain);
    text[n] = '\0';
    return n;
}

/* "loaded|previous|batch,batch", all newest first. */
static void
record_lists(void)
{
    struct pool_local *local = pool_local_find(pool);
    const struct block *batch;
    char text[64] = "";
    size_t n;

    n = write_chain(text, 0, local ? local->loaded.head : NULL);
    text[n++] = '|';
    n = write_chain(text, n, local ? local->previous.head : NULL);
    text[n++] = '|';
    for (batch = pool->warm.top; batch; batch = batch->next_batch) {
        n = write_chain(text, n, batch);
        if (batch->next_batch)
            text[n++] = ',';
    }
    text[n] = '\0';
    record(&events, "%s", text);
}

/* The block stays out; unknown ones are kept in fresh[]. */
static struct block *fresh[N];
static size_t fresh_count;

static void
record_get(void)
{
    struct block *block = test_get(pool);

    record(&events, "%c", letter(block));
    if (letter(block) == '?')
        fresh[fresh_count++] = block;
}

static void
put_fresh(void)
{
    while (fresh_count)
        pool_put(pool, fresh[--fresh_count]);
}

/* --- one thread --------------------------------------------------------- */

/*  put      loaded   previous   store
 *  a b      ba
 *  c        c        ba
 *  d e      e        dc         ba
 *  f g      g        fe         dc,ba     */
static void
full_magazines_go_to_the_store(void)
{
    begin(100);
    put(0, 1);
    record_lists();
    put(2, 2);
    record_lists();
    put(3, 4);
    record_lists();
    put(5, 6);
    record_lists();
    EXPECT_RECORD(events, "ba|| c|ba| e|dc|ba g|fe|dc,ba");
    EXPECT_EQ(test_stats(pool).idle_local, 3);
    EXPECT_EQ(test_stats(pool).idle_shared, 4);
    put(7, 11);
    end();
}

static void
gets_loaded_then_previous_then_store(void)
{
    int i;

    begin(100);
    put(0, 6);
    for (i = 0; i < 8; i++)
        record_get();
    EXPECT_RECORD(events, "g f e d c b a ?");
    EXPECT_EQ(test_stats(pool).reused, 7);
    EXPECT_EQ(pool->stored, 0);
    put(0, 11);
    put_fresh();
    end();
}

/* Back and forth over the edge of a magazine moves nothing to the store. */
static void
store_is_left_alone_at_the_edge_of_a_batch(void)
{
    struct block *top = NULL;
    int i;

    begin(100);
    put(0, 6);
    for (i = 0; i < 10; i++) {
        struct block *a = test_get(pool), *b = test_get(pool);

        if (!i)
            top = pool->warm.top;
        EXPECT(pool->warm.top == top);
        EXPECT_EQ(pool->stored, 4);
        pool_put(pool, b);
        pool_put(pool, a);
    }
    put(7, 11);
    end();
}

static void
store_is_capped(void)
{
    begin(4);
    put(0, 11);
    record_lists();
    EXPECT_RECORD(events, "lk|ji|dc,ba");
    EXPECT_EQ(test_stats(pool).vacant, 4);
    EXPECT_EQ(test_stats(pool).idle_shared, 4);
    end();
}

static void
store_that_keeps_nothing_gives_all_back(void)
{
    begin(0);
    put(0, 11);
    EXPECT_EQ(test_stats(pool).idle_shared, 0);
    EXPECT_EQ(test_stats(pool).idle_local, 4);
    EXPECT_EQ(test_stats(pool).vacant, 8);
    EXPECT_EQ(test_stats(pool).peak, N);
    end();
}

/* Also what the thread itself holds, wherever that has to go. */
static void
trim_returns_what_it_gave_back(void)
{
    static const size_t max_idle[] = {0, 3, 4, 100};
    size_t i;

    for (i = 0; i < 4; i++) {
        size_t idle;

        test_case("max_idle %zu", max_idle[i]);
        begin(max_idle[i]);
        put(0, 10);
        idle = test_stats(pool).idle_local + test_stats(pool).idle_shared;
        EXPECT(idle >= 3);
        EXPECT_EQ(co_pool_trim(pool), idle);
        EXPECT_EQ(co_pool_trim(pool), 0);
        EXPECT_EQ(test_stats(pool).live, 1);
        EXPECT_EQ(test_stats(pool).idle_local, 0);
        EXPECT_EQ(test_stats(pool).idle_shared, 0);
        EXPECT(co_pool_check(pool));
        put(11, 11);
        EXPECT_EQ(co_pool_trim(pool), 1);
        EXPECT_EQ(test_stats(pool).slabs, 0);
        end();
    }
}

/* --- warm and cold ------------------------------------------------------ */

static bool
is_deep_resident(const struct block *block)
{
    return test_resident(block->low, os_page_size()) > 0;
}

static size_t
count_deep(const struct store *store, size_t *all)
{
    const struct block *batch, *block;
    size_t n = 0;

    *all = 0;
    for (batch = store->top; batch; batch = batch->next_batch)
        for (block = batch; block; block = block->next) {
            n += is_deep_resident(block);
            ++*all;
        }
    return n;
}

/* A crowd of 1,500 deep coroutines ends. */
static void
pages_of_cold_batches_are_given_back(void)
{
    enum { CROWD = 1500 };
    static struct block *crowd[CROWD];
    size_t i, all, n = 0;

    pool = make_pool(64, 4096);
    for (i = 0; i < CROWD; i++) {
        crowd[i] = test_get(pool);
        crowd[i]->low[0] = 1;
        block_stack_top(crowd[i])[-1] = 1;
    }
    for (i = 0; i < CROWD; i++)
        pool_put(pool, crowd[i]);
    EXPECT_EQ(count_deep(&pool->warm, &all), 1024);
    EXPECT_EQ(all, 1024);
    EXPECT_EQ(count_deep(&pool->cold, &all), 0);
    EXPECT(all > 0 && all % 64 == 0);
    EXPECT_EQ(all + 1024, test_stats(pool).idle_shared);
    EXPECT_EQ(test_stats(pool).discards, all);

    /* Warm ones are handed out first, and the cold ones can be used again. */
    for (i = 0; i < CROWD; i++) {
        crowd[i] = test_get(pool);
        n += is_deep_resident(crowd[i]);
        if (i + 1 == CROWD - all)
            EXPECT_EQ(n, CROWD - all);
        crowd[i]->low[0] = 1;
    }
    EXPECT_EQ(n, CROWD - all);
    EXPECT_EQ(test_stats(pool).reused, CROWD);
    EXPECT_EQ(test_stats(pool).idle_shared, 0);
    for (i = 0; i < CROWD; i++)
        pool_put(pool, crowd[i]);
    end();
}

/* --- several threads ---------------------------------------------------- */

static void
put_seven(void)
{
    put(0, 6);
    record_lists();
}

static void
thread_that_exits_gives_both_magazines_to_the_store(void)
{
    int i;

    begin(100);
    test_thread(put_seven);
    record_lists();
    EXPECT_RECORD(events, "g|fe|dc,ba ||fe,g,dc,ba");
    EXPECT_EQ(test_stats(pool).idle_local, 0);
    EXPECT_EQ(test_stats(pool).idle_shared, 7);
    EXPECT(co_pool_check(pool));
    forget();
    for (i = 0; i < 7; i++)
        record_get();
    EXPECT_RECORD(events, "f e g d c b a");
    put(0, 11);
    end();
}

/*  turn  finisher                    store    maker
 *  0     puts a ... g, keeps g|fe    dc,ba
 *  1                                 ba       gets d c
 *                                             gets b a, then a fresh one
 *  2     exits                       g,fe     */
static struct turns turns;

static void
make_and_finish(unsigned index)
{
    int i;

    if (index == 0) {
        put(0, 6);
        turn_next(&turns);
        turn_wait(&turns, 2);
        return;
    }
    turn_wait(&turns, 1);
    for (i = 0; i < 5; i++)
        record_get();
    record_lists();
    EXPECT_EQ(test_stats(pool).idle_local, 3);
    turn_next(&turns);
}

static void
only_whole_batches_move_between_threads(void)
{
    begin(100);
    turns = (struct turns)TURNS_INIT;
    test_threads(2, make_and_finish);
    EXPECT_RECORD(events, "d c b a ? ||");
    EXPECT_EQ(test_stats(pool).idle_shared, 3);
    put(0, 3);
    put(7, 11);
    put_fresh();
    end();
}

static void
check_finds_what_is_wrong(void)
{
    struct pool_local *local;

    begin(100);
    put(0, 6);
    local = pool_local_find(pool);
    REQUIRE(local != NULL);
    EXPECT(co_pool_check(pool));

    list_set_length(&local->loaded, 2);
    EXPECT(!co_pool_check(pool));
    list_set_length(&local->loaded, 1);

    pool->warm.top->batch_length++;
    EXPECT(!co_pool_check(pool));
    pool->warm.top->batch_length--;

    pool->warm.batches++;
    EXPECT(!co_pool_check(pool));
    pool->warm.batches--;

    pool->stored++;
    EXPECT(!co_pool_check(pool));
    pool->stored--;

    local->created++;
    EXPECT(!co_pool_check(pool));
    local->created--;

    EXPECT(co_pool_check(pool));
    put(7, 11);
    end();
}

int
main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(full_magazines_go_to_the_store),
        TEST(gets_loaded_then_previous_then_store),
        TEST(store_is_left_alone_at_the_edge_of_a_batch),
        TEST(store_is_capped),
        TEST(store_that_keeps_nothing_gives_all_back),
        TEST(trim_returns_what_it_gave_back),
        TEST(pages_of_cold_batches_are_given_back),
        TEST(thread_that_exits_gives_both_magazines_to_the_store),
        TEST(only_whole_batches_move_between_threads),
        TEST(check_finds_what_is_wrong),
        TESTS_END,
    };

    return test_main(tests, argc, argv);
}
