/* SPDX-License-Identifier: MIT
 *
 * What all policies share: counts and the walk that verifies them, several
 * pools, fork. test_policies.c has which block is where, test_threads.c what
 * several threads do to each other.
 */
#include <string.h>
#include <unistd.h>

#include "test.h"

static co_pool *pool;

/* Once for each policy and batch, in a pool that is walked and destroyed
 * behind it. */
static void
for_each(bool with_none, void (*run)(void))
{
    static const unsigned batches[] = {2, 64};
    int policy;
    size_t i;

    for (policy = with_none ? CO_POLICY_NONE : CO_POLICY_MUTEX;
         policy < CO_POLICY_COUNT; policy++)
        for (i = 0; i < 2; i++) {
            test_case("%s, batch %u", co_policy_name(policy), batches[i]);
            pool = test_pool(policy, batches[i]);
            run();
            EXPECT_EQ(test_stats(pool).live, 0);
            EXPECT_DESTROY(pool);
        }
}

static bool
is_policy(enum co_policy policy)
{
    return pool->options.policy == policy;
}

/* Every block is live, idle or vacant. */
static void
expect_balance(void)
{
    struct co_pool_stats s = test_stats(pool);

    EXPECT_EQ(pool->arena.out, s.live + s.idle_local + s.idle_shared + s.lost);
    EXPECT_EQ(pool->arena.vacant, s.vacant);
    EXPECT(s.reused <= s.created);
    EXPECT(co_pool_check(pool));
}

/* --- a block in use ----------------------------------------------------- */

/* Behind the struct block: whoever holds the block has its mark there. */
static unsigned *
mark_of(struct block *block)
{
    return (unsigned *)(block + 1);
}

enum { IN_USE = 0x75736564 };

static struct block *
get_marked(void)
{
    struct block *block = test_get(pool);

    EXPECT(*mark_of(block) != IN_USE);
    *mark_of(block) = IN_USE;
    block_stack_top(block)[-1] = 1;
    return block;
}

static void
put_marked(struct block *block)
{
    EXPECT_EQ(*mark_of(block), IN_USE);
    *mark_of(block) = 0;
    pool_put(pool, block);
}

/* --- options ------------------------------------------------------------ */

static void
defaults_make_a_pool(void)
{
    struct co_pool_options options;
    struct co_pool_stats stats;

    co_pool_options_init(&options);
    EXPECT_EQ(options.policy, CO_POLICY_MAGAZINE);
    EXPECT_EQ(options.batch, 64);
    EXPECT_EQ(options.guard_size, 1024 * 1024);
    REQUIRE(co_pool_create(&options, &pool) == CO_OK);
    stats = test_stats(pool);
    EXPECT_EQ(stats.guard, os_resolve_guard(CO_GUARD_AUTO));
    EXPECT(stats.max_blocks > 1000);
    EXPECT_EQ(stats.created + stats.live + stats.slabs, 0);
    EXPECT_DESTROY(pool);
}

static void
guard_that_the_kernel_lacks_is_refused(void)
{
    bool has = test_guard_faults(CO_GUARD_MADVISE);
    struct co_pool_options options;

    co_pool_options_init(&options);
    options.guard = CO_GUARD_MADVISE;
    EXPECT_EQ(co_pool_create(&options, &pool), has ? CO_OK : CO_UNSUPPORTED);
    if (has)
        EXPECT_DESTROY(pool);
}

static void
names_are_those_of_the_manual(void)
{
    EXPECT_STR(co_policy_name(CO_POLICY_NONE), "none");
    EXPECT_STR(co_policy_name(CO_POLICY_MUTEX), "mutex");
    EXPECT_STR(co_policy_name(CO_POLICY_RELEASE), "release");
    EXPECT_STR(co_policy_name(CO_POLICY_MAGAZINE), "magazine");
    EXPECT(co_policy_name(CO_POLICY_COUNT) == NULL);
    EXPECT(co_policy_name((enum co_policy) - 1) == NULL);
    EXPECT_STR(co_guard_name(CO_GUARD_AUTO), "auto");
    EXPECT_STR(co_guard_name(CO_GUARD_MADVISE), "madvise");
    EXPECT_STR(co_guard_name(CO_GUARD_MPROTECT), "mprotect");
    EXPECT_STR(co_guard_name(CO_GUARD_NONE), "none");
    EXPECT(co_guard_name(CO_GUARD_COUNT) == NULL);
    EXPECT(co_guard_name((enum co_guard) - 1) == NULL);
}

/* --- one thread --------------------------------------------------------- */

static void
one_after_the_other(void)
{
    unsigned i;

    for (i = 0; i < 1000; i++)
        put_marked(get_marked());
    EXPECT_EQ(test_stats(pool).created, 1000);
    if (is_policy(CO_POLICY_NONE)) {
        EXPECT_EQ(test_stats(pool).reused, 0);
        EXPECT_EQ(test_stats(pool).slabs, 0);
        EXPECT_EQ(test_stats(pool).discards, 1000);
    } else {
        /* `release` first fills more than a batch. */
        size_t fresh = is_policy(CO_POLICY_RELEASE) ? pool->batch + 1 : 1;

        EXPECT_EQ(test_stats(pool).reused, 1000 - fresh);
        EXPECT_EQ(test_stats(pool).peak, fresh);
        EXPECT_EQ(test_stats(pool).discards, 0);
    }
    expect_balance();
}

static void
blocks_used_one_after_the_other_are_reused(void)
{
    for_each(true, one_after_the_other);
}

/* A crowd of any size comes and goes; sizes by a small generator. */
static void
crowds(void)
{
    static struct block *crowd[300];
    unsigned seed = 1, rounds = test_rounds(100), i;
    size_t n = 0;

    for (i = 0; i < rounds; i++) {
        size_t to;

        seed = seed * 1103515245 + 12345;
        to = seed / 65536 % 300;
        while (n < to)
            crowd[n++] = get_marked();
        while (n > to)
            put_marked(crowd[--n]);
        EXPECT_EQ(test_stats(pool).live, n);
        expect_balance();
    }
    while (n)
        put_marked(crowd[--n]);
    expect_balance();
}

static void
no_block_is_handed_out_twice(void)
{
    for_each(true, crowds);
}

static void
trim_all(void)
{
    struct block *crowd[200], *kept;
    struct co_pool_stats s;
    size_t i;

    kept = get_marked();
    for (i = 0; i < 200; i++)
        crowd[i] = get_marked();
    for (i = 0; i < 200; i++)
        put_marked(crowd[i]);
    s = test_stats(pool);
    EXPECT_EQ(co_pool_trim(pool), s.idle_local + s.idle_shared);
    s = test_stats(pool);
    EXPECT_EQ(s.idle_local + s.idle_shared, 0);
    EXPECT_EQ(s.live, 1);
    EXPECT_EQ(s.slabs, 1);
    expect_balance();
    put_marked(kept);
    co_pool_trim(pool);
    s = test_stats(pool);
    EXPECT_EQ(s.slabs, 0);
    EXPECT_EQ(s.mapped_bytes, 0);
    EXPECT_EQ(s.vacant, 0);
    expect_balance();
    put_marked(get_marked());
}

static void
trim_unmaps_what_is_not_used(void)
{
    for_each(true, trim_all);
}

/* Pools come to lie where others were. */
static void
pools_in_a_row(void)
{
    int i, policy;

    for (i = 0; i < 20; i++)
        for (policy = 0; policy < CO_POLICY_COUNT; policy++) {
            struct block *a, *b, *c;

            test_case("%s", co_policy_name(policy));
            pool = test_pool(policy, 2);
            a = get_marked();
            b = get_marked();
            c = get_marked();
            put_marked(a);
            put_marked(b);
            put_marked(c);
            put_marked(get_marked());
            expect_balance();
            EXPECT_DESTROY(pool);
        }
}

static void
new_pool_knows_nothing_of_destroyed_ones(void)
{
    pools_in_a_row();
    test_thread(pools_in_a_row);
}

/* --- the walk ----------------------------------------------------------- */

/* Seven blocks idle, in all the places where a policy keeps them. */
static struct block *idle[7];

static void
make_idle(enum co_policy policy)
{
    size_t i;

    pool = test_pool(policy, policy == CO_POLICY_MUTEX ? 64 : 2);
    for (i = 0; i < 7; i++)
        idle[i] = get_marked();
    for (i = 0; i < 7; i++)
        put_marked(idle[i]);
    EXPECT(co_pool_check(pool));
}

#define EXPECT_FOUND(spoil, restore)                                           \
    do {                                                                       \
        spoil;                                                                 \
        EXPECT(!co_pool_check(pool));                                          \
        restore;                                                               \
        EXPECT(co_pool_check(pool));                                           \
    } while (0)

static void
check_finds_what_is_wrong_in_any_pool(void)
{
    int policy;

    for (policy = 0; policy < CO_POLICY_COUNT; policy++) {
        test_case("%s", co_policy_name(policy));
        make_idle(policy);
        EXPECT_FOUND(pool->created++, pool->created--);
        EXPECT_FOUND(pool->finished++, pool->finished--);
        EXPECT_FOUND(pool->lost++, pool->lost--);
        EXPECT_FOUND(pool->arena.out++, pool->arena.out--);
        EXPECT_DESTROY(pool);
    }
}

static void
check_finds_what_is_wrong_in_a_list(void)
{
    struct block *head, *next;

    make_idle(CO_POLICY_MUTEX);
    EXPECT_FOUND(list_set_length(&pool->idle, 8),
                 list_set_length(&pool->idle, 7));
    EXPECT_DESTROY(pool);

    make_idle(CO_POLICY_RELEASE);
    head = pool->release_pool.head;
    next = head->next;
    EXPECT_FOUND(head->next = next->next, head->next = next);
    EXPECT_DESTROY(pool);
}

static void
check_finds_what_is_wrong_in_a_magazine(void)
{
    struct pool_local *local;

    make_idle(CO_POLICY_MAGAZINE);
    local = pool_local_find(pool);
    REQUIRE(local != NULL && pool->warm.top != NULL);
    EXPECT_FOUND(list_set_length(&local->loaded, 2),
                 list_set_length(&local->loaded, 1));
    EXPECT_FOUND(pool->warm.top->batch_length++,
                 pool->warm.top->batch_length--);
    EXPECT_FOUND(pool->warm.blocks++, pool->warm.blocks--);
    EXPECT_FOUND(pool->stored++, pool->stored--);
    EXPECT_FOUND(local->created++, local->created--);
    EXPECT_DESTROY(pool);
}

/* --- two pools ---------------------------------------------------------- */

static void
one_thread_uses_two_pools_in_turn(void)
{
    int first, second, i;

    for (first = 0; first < CO_POLICY_COUNT; first++)
        for (second = 0; second < CO_POLICY_COUNT; second++) {
            co_pool *pools[2];
            struct block *blocks[2][6];

            test_case("%s and %s", co_policy_name(first),
                      co_policy_name(second));
            pools[0] = test_pool(first, 2);
            pools[1] = test_pool(second, 2);
            for (i = 0; i < 12; i++) {
                pool = pools[i % 2];
                blocks[i % 2][i / 2] = get_marked();
            }
            for (i = 0; i < 12; i++) {
                pool = pools[i % 2];
                put_marked(blocks[i % 2][i / 2]);
                put_marked(get_marked());
            }
            for (i = 0; i < 2; i++) {
                pool = pools[i];
                EXPECT_EQ(test_stats(pool).created, 12);
                EXPECT(test_stats(pool).peak <= 9);
                expect_balance();
                EXPECT_DESTROY(pool);
            }
        }
}

/* --- threads that end --------------------------------------------------- */

static void
use_ten(void)
{
    struct block *blocks[10];
    size_t i;

    for (i = 0; i < 10; i++)
        blocks[i] = get_marked();
    for (i = 0; i < 10; i++)
        put_marked(blocks[i]);
    put_marked(get_marked());
}

static struct block *left[3];

static void
leave_three(void)
{
    size_t i;

    for (i = 0; i < 3; i++)
        left[i] = get_marked();
}

static void
blocks_of_a_dead_thread(void)
{
    size_t i;

    test_thread(leave_three);
    EXPECT_EQ(test_stats(pool).live, 3);
    EXPECT_EQ(co_pool_destroy(pool), CO_IN_USE);
    expect_balance();
    for (i = 0; i < 3; i++)
        put_marked(left[i]);
    EXPECT_EQ(test_stats(pool).live, 0);
}

static void
blocks_outlive_the_thread_that_got_them(void)
{
    for_each(true, blocks_of_a_dead_thread);
}

/* --- threads at once ---------------------------------------------------- */

static _Atomic(bool) reading;

static void
use_or_read(unsigned index)
{
    unsigned rounds = test_rounds(5000), i;

    if (index) {
        for (i = 0; i < rounds; i++)
            use_ten();
        reading = false;
        return;
    }
    while (reading) {
        struct co_pool_stats s = test_stats(pool);

        EXPECT(s.reused <= s.created);
        EXPECT(s.idle_local + s.idle_shared <= 100);
        EXPECT(s.live <= 100);
    }
}

static void
use_and_read(void)
{
    if (pool->batch > 2)
        return;
    reading = true;
    test_threads(2, use_or_read);
    expect_balance();
}

static void
counts_may_be_read_meanwhile(void)
{
    for_each(true, use_and_read);
}

/* --- adjust ------------------------------------------------------------- */

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

/* --- fork --------------------------------------------------------------- */

static int
use_in_child(void)
{
    size_t i;
    co_pool *other;

    EXPECT_EQ(test_stats(pool).lost, 0);
    expect_balance();
    for (i = 0; i < 20; i++)
        use_ten();
    EXPECT_EQ(co_pool_adjust(pool, 1), CO_OK);
    expect_balance();
    co_pool_trim(pool);
    EXPECT_EQ(test_stats(pool).lost, 0);
    expect_balance();
    if (!test_stats(pool).live)
        EXPECT_DESTROY(pool);
    other = pool;
    pool = test_pool(CO_POLICY_MAGAZINE, 2);
    use_ten();
    expect_balance();
    EXPECT_DESTROY(pool);
    pool = other;
    return 0;
}

static void
fork_alone(void)
{
    struct block *mine;

    use_ten();
    mine = get_marked();
    EXPECT(child_exited(test_child(use_in_child), 0));
    expect_balance();
    use_ten();
    put_marked(mine);
    EXPECT(child_exited(test_child(use_in_child), 0));
    EXPECT_EQ(test_stats(pool).lost, 0);
}

static void
pool_works_on_both_sides_of_a_fork(void)
{
    for_each(true, fork_alone);
}

static _Atomic(bool) forking;
static struct turns turns;
enum { CROWD = 1100 };

static int
use_in_any_child(void)
{
    struct co_pool_stats s;
    size_t i;

    expect_balance();
    for (i = 0; i < 5; i++)
        use_ten();
    co_pool_trim(pool);
    expect_balance();
    s = test_stats(pool);
    EXPECT(s.lost <= 4 * CROWD);
    EXPECT(s.live <= 2 * CROWD);
    return 0;
}

/* As at the end of a thread, but more often. */
static void
drain(void)
{
    struct pool_local *local = pool_local_find(pool);

    if (local)
        pool->policy->drain(pool, local);
}

static void
use_and_drain(void)
{
    struct block *blocks[CROWD];
    unsigned i;

    for (i = 0; i < CROWD; i++)
        blocks[i] = get_marked();
    put_marked(blocks[0]);
    drain();
    for (i = 1; i < CROWD; i++)
        put_marked(blocks[i]);
    drain();
}

static void
use_or_fork(unsigned index)
{
    unsigned rounds = test_rounds(100), i;

    if (!index) {
        turn_wait(&turns, 2);
        for (i = 0; i < rounds; i++)
            EXPECT(child_exited(test_child(use_in_any_child), 0));
        forking = false;
        return;
    }
    /* First what a child could not free: the thread's part of the pool. */
    use_ten();
    turn_next(&turns);
    while (forking)
        use_and_drain();
}

static void
fork_amid_others(void)
{
    forking = true;
    turns = (struct turns)TURNS_INIT;
    test_threads(3, use_or_fork);
    expect_balance();
}

/* The warm part of the store takes a batch as large as that beside nothing
 * else, and each of the others gives it another one first. So they are always
 * at it: they give pages back, without a lock. */
static void
fork_may_come_while_pages_are_given_back(void)
{
    struct co_pool_options options;

    co_pool_options_init(&options);
    options.guard = CO_GUARD_NONE;
    options.batch = 2048;
    options.max_blocks = 1 << 16;
    REQUIRE(co_pool_create(&options, &pool) == CO_OK);
    fork_amid_others();
    EXPECT_DESTROY(pool);
}

int
main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(defaults_make_a_pool),
        TEST(guard_that_the_kernel_lacks_is_refused),
        TEST(names_are_those_of_the_manual),
        TEST(blocks_used_one_after_the_other_are_reused),
        TEST(no_block_is_handed_out_twice),
        TEST(trim_unmaps_what_is_not_used),
        TEST(new_pool_knows_nothing_of_destroyed_ones),
        TEST(check_finds_what_is_wrong_in_any_pool),
        TEST(check_finds_what_is_wrong_in_a_list),
        TEST(check_finds_what_is_wrong_in_a_magazine),
        TEST(one_thread_uses_two_pools_in_turn),
        TEST(blocks_outlive_the_thread_that_got_them),
        TEST(counts_may_be_read_meanwhile),
        TEST(adjust_in_several_threads_adds_up),
        TEST(pool_works_on_both_sides_of_a_fork),
        TEST(fork_may_come_while_pages_are_given_back),
        TESTS_END,
    };

    return test_main(tests, argc, argv);
}
