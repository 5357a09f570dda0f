/* SPDX-License-Identifier: MIT
 *
 * A thread's own list, and the shared one under several threads.
 */
#include <string.h>

#include "list.h"
#include "test.h"

enum { NODES = 64 };
static struct block nodes[NODES];
static struct record events;

/* The lengths and the nodes of a chain, newest first, by number. */
static void
record_chain(const struct block *chain)
{
    for (; chain; chain = chain->next)
        record(&events, "%d", (int)(chain - nodes));
}

static void
begin(void)
{
    memset(&events, 0, sizeof events);
    memset(nodes, 0, sizeof nodes);
}

/* --- a thread's own ----------------------------------------------------- */

static void
last_pushed_is_first_popped(void)
{
    struct list list = {NULL, 0};
    int i;

    begin();
    for (i = 0; i < 3; i++)
        list_push(&list, &nodes[i]);
    EXPECT_EQ(list_length(&list), 3);
    record(&events, "%d", (int)(list_pop(&list) - nodes));
    list_push(&list, &nodes[3]);
    while (list.head)
        record(&events, "%d", (int)(list_pop(&list) - nodes));
    EXPECT_RECORD(events, "2 3 1 0");
    EXPECT_EQ(list_length(&list), 0);
}

static void
empty_list_pops_nothing(void)
{
    struct list list = {NULL, 0};

    EXPECT(list_pop(&list) == NULL);
    EXPECT_EQ(list_length(&list), 0);
}

static void
move_takes_all_and_keeps_the_order(void)
{
    struct list from = {NULL, 0}, to = {NULL, 0};
    int i;

    begin();
    for (i = 0; i < 3; i++)
        list_push(&from, &nodes[i]);
    list_move(&to, &from);
    EXPECT_EQ(list_length(&from), 0);
    EXPECT(from.head == NULL);
    EXPECT_EQ(list_length(&to), 3);
    record_chain(to.head);
    EXPECT_RECORD(events, "2 1 0");
}

/* --- shared ------------------------------------------------------------- */

static void
take_all_is_newest_first(void)
{
    struct shared_list list = {NULL};
    int i;

    begin();
    for (i = 0; i < 4; i++)
        EXPECT_EQ(shared_list_push(&list, &nodes[i]), 0);
    record_chain(shared_list_take_all(&list));
    EXPECT_RECORD(events, "3 2 1 0");
    EXPECT(shared_list_take_all(&list) == NULL);
}

/* What popping one alone would get wrong:
 *
 *   taker             other                     list
 *                                               2 1 0
 *   sees 2, next 1
 *                     takes all, pushes 0, 2    2 0
 *   swaps 2 for 1                               1        0 is lost, 1 twice
 *
 * Here everybody takes all there is, marks each node as its own, and puts it
 * back, so that the same nodes come up again and again in other orders. */
static struct shared_list shared;
static _Atomic(int) owner[NODES];
static _Atomic(unsigned) doubles;
static _Atomic(uint64_t) takes;

static void
take_and_put_back(unsigned index)
{
    unsigned rounds = test_rounds(20000), round;

    for (round = 0; round < rounds; round++) {
        struct block *chain = shared_list_take_all(&shared), *next;

        for (; chain; chain = next) {
            int nobody = -1;
            size_t n = (size_t)(chain - nodes);

            next = chain->next;
            doubles +=
                !atomic_compare_exchange_strong(&owner[n], &nobody, (int)index);
            /* Ordinary memory of the node: its next taker must see it. */
            chain->index++;
            takes++;
            owner[n] = -1;
            shared_list_push(&shared, chain);
        }
    }
}

static void
every_node_has_one_taker_at_a_time(void)
{
    const struct block *chain;
    bool seen[NODES] = {false};
    uint64_t counted = 0;
    int i, n = 0;

    begin();
    doubles = 0;
    takes = 0;
    for (i = 0; i < NODES; i++) {
        owner[i] = -1;
        shared_list_push(&shared, &nodes[i]);
    }
    test_threads(4, take_and_put_back);
    for (chain = shared_list_take_all(&shared); chain && n <= NODES;
         chain = chain->next) {
        EXPECT(!seen[chain - nodes]);
        seen[chain - nodes] = true;
        counted += chain->index;
        n++;
    }
    EXPECT_EQ(n, NODES);
    EXPECT_EQ(doubles, 0);
    EXPECT_EQ(counted, takes);
    EXPECT(takes >= NODES);
}

/* Two push, two take until all that was pushed has arrived: each once. */
enum { EACH = 20000 };
static struct block *pushed[2];
static _Atomic(unsigned) arrived;
static _Atomic(unsigned char) times[2][EACH];

static void
push_or_take(unsigned index)
{
    unsigned each = test_rounds(EACH), i;

    if (index < 2) {
        for (i = 0; i < each; i++) {
            pushed[index][i].index = index * EACH + i;
            shared_list_push(&shared, &pushed[index][i]);
        }
        return;
    }
    while (arrived < 2 * each) {
        struct block *chain = shared_list_take_all(&shared);

        for (; chain; chain = chain->next) {
            times[chain->index / EACH][chain->index % EACH]++;
            arrived++;
        }
    }
}

static void
everything_pushed_arrives_once(void)
{
    unsigned each = test_rounds(EACH), i, wrong = 0;

    arrived = 0;
    memset(times, 0, sizeof times);
    for (i = 0; i < 2; i++) {
        pushed[i] = calloc(EACH, sizeof **pushed);
        REQUIRE(pushed[i] != NULL);
    }
    test_threads(4, push_or_take);
    for (i = 0; i < each; i++)
        wrong += (times[0][i] != 1) + (times[1][i] != 1);
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(arrived, 2 * each);
    free(pushed[0]);
    free(pushed[1]);
}

int
main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(last_pushed_is_first_popped),
        TEST(empty_list_pops_nothing),
        TEST(move_takes_all_and_keeps_the_order),
        TEST(take_all_is_newest_first),
        TEST(every_node_has_one_taker_at_a_time),
        TEST(everything_pushed_arrives_once),
        TESTS_END,
    };

    return test_main(tests, argc, argv);
}
