/* SPDX-License-Identifier: MIT
 *
 * co_on_thread_stack(): where it runs what it calls, and what that may do.
 */
#include <fenv.h>
#include <string.h>
#include <unwind.h>

#include "coro.h"
#include "test.h"

static struct record order;
static co_pool *pool;

static void
start(void)
{
    memset(&order, 0, sizeof order);
    pool = test_pool(CO_POLICY_MAGAZINE, 2);
}

static void
run(co_fn *body)
{
    co_t *co;

    REQUIRE(co_create(pool, body, &co) == CO_OK);
    EXPECT_EQ(co_enter(co, NULL, NULL), CO_FINISHED);
}

/* --- where it runs ------------------------------------------------------ */

static char *top; /* something of the thread's stack, above what is called */

static bool
is_on_the_threads_stack(const void *address)
{
    return (char *)address < top && (char *)address > top - 64 * 1024;
}

static void *
look(void *arg)
{
    EXPECT(is_on_the_threads_stack(__builtin_frame_address(0)));
    EXPECT_EQ((uintptr_t)__builtin_frame_address(0) % 16, 0);
    EXPECT(co_self() == NULL);
    return arg;
}

static void *
look_from_inside(void *first)
{
    co_t *self = co_self();

    EXPECT(!is_on_the_threads_stack(__builtin_frame_address(0)));
    EXPECT(co_on_thread_stack(look, &order) == &order);
    EXPECT(co_self() == self);
    EXPECT_EQ(co_yield(NULL, NULL), CO_OK);
    EXPECT(co_on_thread_stack(look, &pool) == &pool);
    return first;
}

static void
runs_on_the_stack_of_the_thread(void)
{
    co_t *co;

    start();
    top = __builtin_frame_address(0);
    EXPECT(co_on_thread_stack(look, &top) == &top);
    REQUIRE(co_create(pool, look_from_inside, &co) == CO_OK);
    EXPECT_EQ(co_enter(co, NULL, NULL), CO_OK);
    EXPECT_EQ(co_enter(co, NULL, NULL), CO_FINISHED);
    EXPECT_DESTROY(pool);
}

/* --- what stands above it ----------------------------------------------- */

static void *
fill(void *arg)
{
    char block[32 * 1024];

    memset(block, 0x5a, sizeof block);
    __asm__ volatile("" : : "r"(block) : "memory");
    return arg;
}

static void *
fill_from_inside(void *first)
{
    (void)co_on_thread_stack(fill, NULL);
    return first;
}

/* A red zone included, if the compiler gives the frame that enters one. */
static void
leaves_alone_what_stands_on_it(void)
{
    unsigned char above[512];
    size_t i;
    co_t *co;

    start();
    for (i = 0; i < sizeof above; i++)
        above[i] = (unsigned char)i;
    __asm__ volatile("" : : "r"(above) : "memory");
    REQUIRE(co_create(pool, fill_from_inside, &co) == CO_OK);
    EXPECT_EQ(co_enter(co, NULL, NULL), CO_FINISHED);
    __asm__ volatile("" : : "r"(above) : "memory");
    for (i = 0; i < sizeof above; i++)
        EXPECT_EQ(above[i], (unsigned char)i);
    EXPECT_DESTROY(pool);
}

/* --- what it may do ----------------------------------------------------- */

static void *
yields(void *first)
{
    record(&order, "in");
    EXPECT_EQ(co_yield(NULL, NULL), CO_OK);
    record(&order, "end");
    return first;
}

static co_t *left;

static void *
uses_coroutines(void *arg)
{
    co_t *co;

    REQUIRE(co_create(pool, yields, &co) == CO_OK);
    REQUIRE(co_create(pool, yields, &left) == CO_OK);
    EXPECT_EQ(co_enter(co, NULL, NULL), CO_OK);
    EXPECT_EQ(co_enter(left, NULL, NULL), CO_OK);
    record(&order, "between");
    EXPECT_EQ(co_enter(co, NULL, NULL), CO_FINISHED);
    return arg;
}

static void *
uses_coroutines_inside(void *first)
{
    (void)co_on_thread_stack(uses_coroutines, NULL);
    return first;
}

static void
coroutines_that_it_enters_come_back(void)
{
    start();
    run(uses_coroutines_inside);
    record(&order, "after");
    EXPECT_EQ(co_enter(left, NULL, NULL), CO_FINISHED);
    EXPECT_RECORD(order, "in in between end after end");
    EXPECT_DESTROY(pool);
}

static void *
tries_to_yield(void *arg)
{
    EXPECT_EQ(co_yield(NULL, NULL), CO_NOT_INSIDE);
    EXPECT_EQ(co_enter(left, NULL, NULL), CO_BUSY);
    return arg;
}

static void *
tries_to_yield_inside(void *first)
{
    left = co_self();
    (void)co_on_thread_stack(tries_to_yield, NULL);
    EXPECT_EQ(co_yield(NULL, NULL), CO_OK);
    return first;
}

static void
it_can_not_yield(void)
{
    co_t *co;

    start();
    REQUIRE(co_create(pool, tries_to_yield_inside, &co) == CO_OK);
    EXPECT_EQ(co_enter(co, NULL, NULL), CO_OK);
    EXPECT_EQ(co_enter(co, NULL, NULL), CO_FINISHED);
    EXPECT_DESTROY(pool);
}

enum { DEEP = 10 };

static char *frames[DEEP + 1];
static int depth;

static void *nest_inside(void *first);

/* On the thread's stack, below the one before. */
static void *
nest(void *arg)
{
    frames[depth] = __builtin_frame_address(0);
    EXPECT(is_on_the_threads_stack(frames[depth]));
    EXPECT(depth == 0 || frames[depth] < frames[depth - 1]);
    if (++depth < DEEP)
        run(nest_inside);
    return arg;
}

static void *
nest_inside(void *first)
{
    return co_on_thread_stack(nest, first);
}

static void
nested_ten_deep(void)
{
    start();
    top = __builtin_frame_address(0);
    depth = 0;
    run(nest_inside);
    EXPECT_EQ(depth, DEEP);
    EXPECT_DESTROY(pool);
}

static void *
rounds_up(void *arg)
{
    EXPECT_EQ(fegetround(), FE_DOWNWARD);
    EXPECT_EQ(fesetround(FE_UPWARD), 0);
    return arg;
}

static void *
rounds_down(void *first)
{
    EXPECT_EQ(fesetround(FE_DOWNWARD), 0);
    (void)co_on_thread_stack(rounds_up, NULL);
    EXPECT_EQ(fegetround(), FE_UPWARD);
    return first;
}

static void
rounding_is_the_callers(void)
{
    int before = fegetround();

    start();
    run(rounds_down);
    EXPECT_EQ(fegetround(), before);
    EXPECT_DESTROY(pool);
}

/* --- seen by unwinders -------------------------------------------------- */

static struct {
    const void *functions[2]; /* to be found, in this order */
    int found, frames;
} walk;

static _Unwind_Reason_Code
see_frame(struct _Unwind_Context *context, void *arg)
{
    const void *function =
        _Unwind_FindEnclosingFunction((void *)(_Unwind_GetIP(context) - 1));

    (void)arg;
    if (walk.found < 2 && walk.functions[walk.found] == function)
        walk.found++;
    return ++walk.frames < 100 ? _URC_NO_REASON : _URC_END_OF_STACK;
}

__attribute__((noinline)) static void *
walks(void *arg)
{
    (void)_Unwind_Backtrace(see_frame, NULL);
    __asm__ volatile("" : : : "memory");
    return arg;
}

__attribute__((noinline)) static void *
walks_inside(void *first)
{
    (void)co_on_thread_stack(walks, NULL);
    __asm__ volatile("" : : : "memory");
    return first;
}

static void
stack_walk_goes_through(void)
{
    start();
    memset(&walk, 0, sizeof walk);
    walk.functions[0] = (const void *)walks;
    walk.functions[1] = (const void *)walks_inside;
    run(walks_inside);
    EXPECT_EQ(walk.found, 2);
    EXPECT(walk.frames < 100);
    EXPECT_DESTROY(pool);
}

int
main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(runs_on_the_stack_of_the_thread),
        TEST(leaves_alone_what_stands_on_it),
        TEST(coroutines_that_it_enters_come_back),
        TEST(it_can_not_yield),
        TEST(nested_ten_deep),
        TEST(rounding_is_the_callers),
        TEST(stack_walk_goes_through),
        TESTS_END,
    };

    return test_main(tests, argc, argv);
}
