/* SPDX-License-Identifier: MIT
 *
 * Pools under several threads: threads that end, threads that only make or
 * only finish, threads that all do the same at once, and fork.
 */
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "list.h"
#include "test.h"

enum { MOST_ROUNDS = 20000, CROWD = 1600, HELD = 7 };

static enum co_policy policy;
static unsigned batch;
static co_pool *pool;
static struct turns turns = TURNS_INIT;
static struct record events;

static void
begin(unsigned of)
{
    batch = of;
    pool = test_pool(policy, batch);
    turns.now = 0;
    memset(&events, 0, sizeof events);
}

static void
end(void)
{
    EXPECT_EQ(test_stats(pool).live, 0);
    EXPECT_EQ(test_stats(pool).lost, 0);
    EXPECT_DESTROY(pool);
}

static co_t *
make(co_fn *fn)
{
    co_t *co = NULL;

    REQUIRE(co_create(pool, fn, &co) == CO_OK);
    return co;
}

/* --- the end of a thread ------------------------------------------------ */

static void *
yield_once(void *first)
{
    co_yield(first, NULL);
    return first;
}

/* All of them alive at once. */
static void
run_fifty(unsigned index)
{
    co_t *all[50];
    unsigned i, n = index ? index : 50;

    for (i = 0; i < n; i++) {
        all[i] = make(yield_once);
        EXPECT_EQ(co_enter(all[i], NULL, NULL), CO_OK);
    }
    for (i = 0; i < n; i++)
        EXPECT_EQ(co_enter(all[i], NULL, NULL), CO_FINISHED);
}

static void
expect_nothing_in_threads(size_t made)
{
    struct co_pool_stats s = test_stats(pool);

    EXPECT(co_pool_check(pool));
    EXPECT_EQ(s.created, made);
    EXPECT_EQ(s.live, 0);
    EXPECT_EQ(s.idle_local, 0);
    EXPECT_EQ(s.lost, 0);
    EXPECT(pool->locals == NULL);
    if (policy == CO_POLICY_NONE)
        EXPECT_EQ(s.idle_shared + s.vacant + s.slabs, 0);
    if (policy == CO_POLICY_MUTEX)
        EXPECT(s.idle_shared <= batch);
    if (policy == CO_POLICY_RELEASE) /* each of five may push one too many */
        EXPECT(s.idle_shared <= 2 * batch + 5);
    if (policy == CO_POLICY_MAGAZINE) {
        EXPECT_EQ(s.idle_shared, s.created - s.reused);
        EXPECT_EQ(s.vacant, 0);
    }
}

static void
threads_leave_nothing_behind(void)
{
    begin(2);
    test_threads(5, run_fifty);
    expect_nothing_in_threads(50 + 1 + 2 + 3 + 4);
    end();
    begin(64);
    test_threads(5, run_fifty);
    expect_nothing_in_threads(50 + 1 + 2 + 3 + 4);
    end();
}

/* Fewer where each takes milliseconds. */
enum { CROWD_OF_THREAD = SANITIZED ? 200 : 1000 };

static void
run_a_crowd(void)
{
    static co_t *all[CROWD_OF_THREAD];
    unsigned i;

    for (i = 0; i < CROWD_OF_THREAD; i++) {
        all[i] = make(yield_once);
        EXPECT_EQ(co_enter(all[i], NULL, NULL), CO_OK);
    }
    for (i = 0; i < CROWD_OF_THREAD; i++)
        EXPECT_EQ(co_enter(all[i], NULL, NULL), CO_FINISHED);
}

/* SCALE_THREADS says how many, for `make test-scale`. */
static void
crowds_of_threads_reuse_what_dead_ones_left(void)
{
    const char *asked = getenv("SCALE_THREADS");
    unsigned threads = asked ? (unsigned)atoi(asked) : test_rounds(500), i;
    struct co_pool_stats s, first;

    policy = CO_POLICY_MAGAZINE;
    begin(64);
    test_thread(run_a_crowd);
    first = test_stats(pool);
    for (i = 1; i < threads; i++)
        test_thread(run_a_crowd);
    s = test_stats(pool);
    EXPECT_EQ(s.created, (uint64_t)threads * CROWD_OF_THREAD);
    EXPECT_EQ(s.created - s.reused, CROWD_OF_THREAD);
    EXPECT_EQ(s.peak, CROWD_OF_THREAD);
    EXPECT_EQ(s.slabs, first.slabs);
    EXPECT_EQ(s.mapped_bytes, first.mapped_bytes);
    EXPECT_EQ(s.discards, first.discards);
    EXPECT_EQ(s.idle_shared, CROWD_OF_THREAD);
    EXPECT(pool->locals == NULL);
    end();
}

static void
run_fifty_alone(void)
{
    run_fifty(0);
}

static void
churn(unsigned of)
{
    unsigned threads = test_rounds(200), i;
    struct co_pool_stats s;

    begin(of);
    for (i = 0; i < threads; i++)
        test_thread(run_fifty_alone);
    expect_nothing_in_threads(50 * (size_t)threads);
    s = test_stats(pool);
    switch (policy) {
    case CO_POLICY_NONE:
        EXPECT_EQ(s.peak, 50);
        break;
    case CO_POLICY_RELEASE: /* what lies in the list may be too few to steal */
        EXPECT(s.peak <= 50 + 2 * batch);
        EXPECT(s.slabs <= 2);
        break;
    default:
        EXPECT_EQ(s.peak, 50);
        EXPECT_EQ(s.slabs, 1);
    }
    if (policy == CO_POLICY_MAGAZINE)
        EXPECT_EQ(s.created - s.reused, 50);
    end();
}

static void
threads_come_and_go_in_bounded_memory(void)
{
    churn(2);
    churn(64);
}

/* --- makers and finishers ----------------------------------------------- */

enum { IN_FLIGHT = 16 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    co_t *items[IN_FLIGHT];
    unsigned put, got;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER,
           .changed = PTHREAD_COND_INITIALIZER};

static void
queue_put(co_t *co)
{
    pthread_mutex_lock(&queue.lock);
    while (queue.put - queue.got == IN_FLIGHT)
        pthread_cond_wait(&queue.changed, &queue.lock);
    queue.items[queue.put++ % IN_FLIGHT] = co;
    pthread_cond_broadcast(&queue.changed);
    pthread_mutex_unlock(&queue.lock);
}

static co_t *
queue_get(void)
{
    co_t *co;

    pthread_mutex_lock(&queue.lock);
    while (queue.put == queue.got)
        pthread_cond_wait(&queue.changed, &queue.lock);
    co = queue.items[queue.got++ % IN_FLIGHT];
    pthread_cond_broadcast(&queue.changed);
    pthread_mutex_unlock(&queue.lock);
    return co;
}

static unsigned char finished[MOST_ROUNDS]; /* written by the finisher only */

static void *
count_finish(void *first)
{
    unsigned char *mine = first;

    co_yield(NULL, NULL);
    ++*mine;
    return mine;
}

static unsigned queue_rounds;

static void
make_or_finish(unsigned index)
{
    unsigned rounds = queue_rounds, i, wrong = 0;

    for (i = 0; i < rounds; i++) {
        void *received = NULL;
        co_t *co;

        if (index == 0) {
            co = make(count_finish);
            wrong += co_enter(co, &finished[i], NULL) != CO_OK;
            queue_put(co);
        } else {
            co = queue_get();
            wrong += co_enter(co, NULL, &received) != CO_FINISHED ||
                     received != &finished[i];
        }
    }
    EXPECT_EQ(wrong, 0);
}

static void
flow(unsigned of)
{
    unsigned rounds = test_rounds(MOST_ROUNDS), i, wrong = 0;
    struct co_pool_stats s;
    size_t bound;

    begin(of);
    memset(finished, 0, sizeof finished);
    queue.put = queue.got = 0;
    queue_rounds = rounds;
    test_threads(2, make_or_finish);
    for (i = 0; i < rounds; i++)
        wrong += finished[i] != 1;
    EXPECT_EQ(wrong, 0);

    /* Besides those under way, one in each thread's hands. Two batches a
     * thread, or as many in the list and stolen from it; and one too many in
     * each, where sizes are heuristics. */
    bound = IN_FLIGHT + 2;
    if (policy == CO_POLICY_MUTEX)
        bound += batch;
    else if (policy != CO_POLICY_NONE)
        bound += 4 * batch + 2;
    s = test_stats(pool);
    EXPECT_EQ(s.created, rounds);
    EXPECT(s.peak <= bound);
    if (policy == CO_POLICY_NONE)
        EXPECT_EQ(s.reused, 0);
    /* Whatever the order of events, no block is mapped twice. */
    if (policy == CO_POLICY_MAGAZINE) {
        EXPECT(s.created - s.reused <= bound);
        EXPECT_EQ(s.discards, 0);
    }
    end();
}

static void
maker_and_finisher_never_swap_roles(void)
{
    flow(2);
    flow(64);
}

static _Atomic(bool) stop;

/* A third thread takes away what the other two keep for each other. */
static void
make_finish_or_trim(unsigned index)
{
    if (index < 2) {
        make_or_finish(index);
        stop = true;
        return;
    }
    while (!stop)
        co_pool_trim(pool);
}

static void
trim_amid_makers_and_finishers(void)
{
    unsigned rounds = test_rounds(MOST_ROUNDS / 10), i, wrong = 0;

    begin(2);
    memset(finished, 0, sizeof finished);
    queue.put = queue.got = 0;
    queue_rounds = rounds;
    stop = false;
    test_threads(3, make_finish_or_trim);
    for (i = 0; i < rounds; i++)
        wrong += finished[i] != 1;
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(test_stats(pool).created, rounds);
    end();
}

/* --- all at once -------------------------------------------------------- */

static unsigned
hammer_rounds(void)
{
    /* System calls that change the mappings wait for each other. */
    return test_rounds(policy == CO_POLICY_NONE ? MOST_ROUNDS / 20
                                                : MOST_ROUNDS);
}

/* Each holds up to HELD at a time, so that batches of 2 move all the time. The
 * first thread also reads the counts, which may be torn but not absurd. */
static void
hammer(unsigned index)
{
    unsigned rounds = hammer_rounds(), i, j, wrong = 0;
    struct block *mine[HELD];

    for (i = 0; i < rounds; i++) {
        unsigned n = (i + index) % HELD + 1;

        for (j = 0; j < n; j++) {
            mine[j] = test_get(pool);
            *(unsigned *)mine[j]->low = index * HELD + j;
        }
        if (index == 0) {
            struct co_pool_stats s = test_stats(pool);

            wrong += s.live > UINT32_MAX || s.idle_local > s.peak ||
                     s.idle_shared > s.peak;
        }
        for (j = 0; j < n; j++) {
            wrong += *(unsigned *)mine[j]->low != index * HELD + j;
            pool_put(pool, mine[j]);
        }
    }
    EXPECT_EQ(wrong, 0);
}

static void
hammered_pool_is_whole(void)
{
    begin(2);
    test_threads(4, hammer);
    EXPECT(co_pool_check(pool));
    EXPECT(test_stats(pool).created >= 4 * hammer_rounds());
    EXPECT_EQ(test_stats(pool).idle_local, 0);
    end();
}

/* --- from thread to thread ---------------------------------------------- */

static co_t *traveller;

static void *
note_threads(void *first)
{
    void *now = first;

    record(&events, "runs-in-%s", (char *)now);
    co_yield("first", &now);
    record(&events, "runs-in-%s", (char *)now);
    return "last";
}

static void
make_enter_or_finish(unsigned index)
{
    void *received = NULL;

    turn_wait(&turns, index);
    switch (index) {
    case 0:
        traveller = make(note_threads);
        record(&events, "A-makes");
        break;
    case 1:
        EXPECT_EQ(co_enter(traveller, "B", &received), CO_OK);
        record(&events, "B-gets-%s", (char *)received);
        EXPECT_EQ(test_stats(pool).live, 1);
        break;
    default:
        EXPECT_EQ(co_enter(traveller, "C", &received), CO_FINISHED);
        record(&events, "C-gets-%s", (char *)received);
        EXPECT_EQ(test_stats(pool).live, 0);
    }
    EXPECT(co_pool_check(pool));
    turn_next(&turns);
}

static void
coroutine_moves_through_three_threads(void)
{
    begin(2);
    test_threads(3, make_enter_or_finish);
    EXPECT_RECORD(events, "A-makes runs-in-B B-gets-first runs-in-C "
                          "C-gets-last");
    EXPECT_EQ(test_stats(pool).created, 1);
    end();
}

/* --- the shared list ---------------------------------------------------- */

enum { PUSHERS = 3, TAKERS = 2, NODES = 20000 };

static struct shared_list list;
static struct block nodes[PUSHERS][NODES];
static _Atomic(unsigned) taken;

static void
push_or_take(unsigned index)
{
    unsigned n = test_rounds(NODES), i;

    if (index < PUSHERS) {
        for (i = 0; i < n; i++)
            shared_list_push(&list, &nodes[index][i]);
        return;
    }
    while (taken < PUSHERS * n) {
        struct block *chain = shared_list_take_all(&list);

        if (!chain)
            sched_yield();
        for (; chain; chain = chain->next) {
            chain->index++; /* not atomic: a node has one taker */
            taken++;
        }
    }
}

static void
each_pushed_node_is_taken_once(void)
{
    unsigned n = test_rounds(NODES), i, j, wrong = 0;

    memset(nodes, 0, sizeof nodes);
    list.head = NULL;
    taken = 0;
    test_threads(PUSHERS + TAKERS, push_or_take);
    EXPECT_EQ(taken, PUSHERS * n);
    for (i = 0; i < PUSHERS; i++)
        for (j = 0; j < n; j++)
            wrong += nodes[i][j].index != 1;
    EXPECT_EQ(wrong, 0);
    EXPECT(shared_list_take_all(&list) == NULL);
}

/* --- a pool that goes while its users live on --------------------------- */

static co_pool *doomed, *others[2];

/*  user                            destroyer
 *                                  makes the pool
 *  uses it
 *  goes to and fro between others  destroys it
 *
 * The last two at once: the user comes upon its part of the doomed pool when
 * it looks for its parts of the others, and frees it. */
static void
use_or_destroy(unsigned index)
{
    unsigned rounds = test_rounds(2000), i, j;

    for (i = 0; i < rounds; i++) {
        if (index == 0) {
            turn_wait(&turns, 2 * i + 1);
            pool = doomed;
            pool_put(pool, test_get(pool));
            turn_next(&turns);
            for (j = 0; j < 20; j++)
                pool_put(others[j % 2], test_get(others[j % 2]));
        } else {
            turn_wait(&turns, 2 * i);
            doomed = test_pool(policy, 2);
            turn_next(&turns);
            turn_wait(&turns, 2 * i + 2);
            EXPECT_EQ(co_pool_destroy(doomed), CO_OK);
        }
    }
}

static void
pool_is_destroyed_while_its_users_use_others(void)
{
    unsigned i;

    turns.now = 0;
    policy = CO_POLICY_MAGAZINE;
    for (i = 0; i < 2; i++)
        others[i] = test_pool(policy, 2);
    test_threads(2, use_or_destroy);
    for (i = 0; i < 2; i++)
        EXPECT_DESTROY(others[i]);
}

/* --- fork --------------------------------------------------------------- */

static struct block *kept;
static size_t expected_lost;

static void
use_pool(void)
{
    struct block *mine[10];
    unsigned i;

    for (i = 0; i < 10; i++)
        mine[i] = test_get(pool);
    EXPECT(co_pool_check(pool));
    for (i = 0; i < 10; i++)
        pool_put(pool, mine[i]);
    EXPECT(co_pool_check(pool));
}

static int
use_pool_in_child(void)
{
    struct co_pool_stats s = test_stats(pool);

    EXPECT(co_pool_check(pool));
    EXPECT_EQ(s.lost, expected_lost);
    EXPECT_EQ(s.live, 1);
    EXPECT_EQ(s.idle_local, 0);
    use_pool();
    EXPECT_EQ(test_stats(pool).live, 1);
    EXPECT_EQ(test_stats(pool).lost, expected_lost);
    EXPECT_EQ(co_pool_destroy(pool), CO_IN_USE);

    /* A block that the other thread took can be given back here. */
    pool_put(pool, kept);
    EXPECT_EQ(test_stats(pool).live, 0);
    EXPECT_EQ(test_stats(pool).created, s.created + 10);
    EXPECT_DESTROY(pool);
    return 0;
}

static void
keep_idle_or_fork(unsigned index)
{
    struct block *mine[65];
    unsigned i;

    if (index == 0) {
        turn_wait(&turns, 0);
        kept = test_get(pool);
        for (i = 0; i < batch + 1; i++)
            mine[i] = test_get(pool);
        for (i = 0; i < batch + 1; i++)
            pool_put(pool, mine[i]);
        pool_put(pool, test_get(pool));
        turn_next(&turns);
        turn_wait(&turns, 2);
        /* Still all there. */
        EXPECT_EQ(test_stats(pool).lost, 0);
        EXPECT_EQ(test_stats(pool).live, 1);
        use_pool();
        pool_put(pool, kept);
        return;
    }
    turn_wait(&turns, 1);
    EXPECT_EQ(test_stats(pool).idle_local, expected_lost);
    EXPECT(child_exited(test_child(use_pool_in_child), 0));
    EXPECT_EQ(test_stats(pool).lost, 0);
    EXPECT_EQ(test_stats(pool).live, 1);
    use_pool();
    turn_next(&turns);
}

static void
fork_with_idle(unsigned of)
{
    begin(of);
    /* What the other thread keeps: of the release policy's, one has gone to
     * the shared list. */
    expected_lost = policy == CO_POLICY_RELEASE    ? batch
                    : policy == CO_POLICY_MAGAZINE ? batch + 1
                                                   : 0;
    test_threads(2, keep_idle_or_fork);
    EXPECT(co_pool_check(pool));
    end();
}

static void
child_counts_what_it_lost(void)
{
    fork_with_idle(2);
    fork_with_idle(64);
}

static int
check_in_child(void)
{
    struct co_pool_stats s = test_stats(pool);

    EXPECT(co_pool_check(pool));
    EXPECT(s.lost <= s.peak);
    EXPECT(s.live <= s.peak);
    use_pool();
    EXPECT_EQ(test_stats(pool).live, s.live);
    EXPECT_EQ(test_stats(pool).lost, s.lost);
    return 0;
}

/* Crowds that are more than a store keeps warm, so that blocks are also taken
 * from, given to and discarded while another thread forks. */
static void
crowd_or_fork(unsigned index)
{
    static struct block *blocks[2][CROWD];
    unsigned forks = test_rounds(20), i, wrong = 0;

    if (index == 2) {
        turn_wait(&turns, 2);
        for (i = 0; i < forks; i++)
            wrong += !child_exited(test_child(check_in_child), 0);
        EXPECT_EQ(wrong, 0);
        stop = true;
        return;
    }
    /* First what a child could not free: the thread's part of the pool. */
    pool_put(pool, test_get(pool));
    turn_next(&turns);
    while (!stop) {
        for (i = 0; i < CROWD; i++)
            blocks[index][i] = test_get(pool);
        for (i = 0; i < CROWD; i++)
            pool_put(pool, blocks[index][i]);
    }
}

static void
fork_amid_all_is_whole(void)
{
    begin(64);
    turns.now = 0;
    stop = false;
    test_threads(3, crowd_or_fork);
    EXPECT(co_pool_check(pool));
    end();
}

/* Coroutines whose makers are gone before others finish them, while fork()
 * takes what lies in between along. */
enum { MAKERS = 2, EACH = 5 };

static void
make_some(void)
{
    unsigned i;

    for (i = 0; i < EACH; i++) {
        co_t *co = make(yield_once);

        EXPECT_EQ(co_enter(co, NULL, NULL), CO_OK);
        queue_put(co);
    }
}

static void
make_finish_or_fork(unsigned index)
{
    unsigned generations = test_rounds(200), i, wrong = 0;

    if (index < MAKERS) {
        for (i = 0; i < generations; i++)
            test_thread(make_some);
    } else if (index == MAKERS) {
        pool_put(pool, test_get(pool));
        turn_next(&turns);
        for (i = 0; i < MAKERS * generations * EACH; i++)
            wrong += co_enter(queue_get(), NULL, NULL) != CO_FINISHED;
        stop = true;
    } else {
        turn_wait(&turns, 1);
        for (i = 0; i < test_rounds(20) && !stop; i++)
            wrong += !child_exited(test_child(check_in_child), 0);
    }
    EXPECT_EQ(wrong, 0);
}

static void
coroutines_outlive_their_makers_amid_forks(void)
{
    begin(2);
    queue.put = queue.got = 0;
    stop = false;
    test_threads(MAKERS + 2, make_finish_or_fork);
    EXPECT_EQ(test_stats(pool).created, 1 + MAKERS * EACH * test_rounds(200));
    end();
}

static int
create_in_child(void)
{
    co_pool *made;

    alarm(20 * (under_valgrind() || SANITIZED ? 10 : 1));
    made = test_pool(CO_POLICY_MAGAZINE, 2);
    EXPECT_EQ(co_pool_destroy(made), CO_OK);
    return 0;
}

/* Others are always at what co_pool_create() does but once in a process. They
 * don't make pools, since with some tools a child must not allocate when others
 * are at that. */
static void
surround_or_fork(unsigned index)
{
    unsigned forks = test_rounds(300), i, wrong = 0;

    while (index && !stop)
        EXPECT(pool_surround_fork());
    for (i = 0; !index && i < forks && !wrong; i++)
        wrong += !child_exited(test_child(create_in_child), 0);
    EXPECT_EQ(wrong, 0);
    stop = true;
}

static void
child_makes_pools_whatever_others_were_at(void)
{
    EXPECT_EQ(co_pool_destroy(test_pool(CO_POLICY_MAGAZINE, 2)), CO_OK);
    stop = false;
    test_threads(3, surround_or_fork);
}

/* --- the list ----------------------------------------------------------- */

#define FOR_TESTS_OF_ALL_POLICIES(DO)                                          \
    DO(threads_leave_nothing_behind)                                           \
    DO(threads_come_and_go_in_bounded_memory)                                  \
    DO(maker_and_finisher_never_swap_roles)                                    \
    DO(trim_amid_makers_and_finishers)                                         \
    DO(hammered_pool_is_whole)                                                 \
    DO(coroutine_moves_through_three_threads)                                  \
    DO(child_counts_what_it_lost)                                              \
    DO(fork_amid_all_is_whole)                                                 \
    DO(coroutines_outlive_their_makers_amid_forks)

#define DEFINE_ONE(name, suffix, value)                                        \
    static void name##_##suffix(void)                                          \
    {                                                                          \
        policy = value;                                                        \
        name();                                                                \
    }
#define DEFINE(name)                                                           \
    DEFINE_ONE(name, none, CO_POLICY_NONE)                                     \
    DEFINE_ONE(name, mutex, CO_POLICY_MUTEX)                                   \
    DEFINE_ONE(name, release, CO_POLICY_RELEASE)                               \
    DEFINE_ONE(name, magazine, CO_POLICY_MAGAZINE)
FOR_TESTS_OF_ALL_POLICIES(DEFINE)

int
main(int argc, char **argv)
{
#define ALL(name)                                                              \
    TEST(name##_none), TEST(name##_mutex), TEST(name##_release),               \
        TEST(name##_magazine),
    static const struct test tests[] = {
        TEST(crowds_of_threads_reuse_what_dead_ones_left),
        TEST(each_pushed_node_is_taken_once),
        TEST(pool_is_destroyed_while_its_users_use_others),
        TEST(child_makes_pools_whatever_others_were_at),
        FOR_TESTS_OF_ALL_POLICIES(ALL) TESTS_END,
    };

    return test_main(tests, argc, argv);
}
