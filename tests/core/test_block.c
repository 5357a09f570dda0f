/* SPDX-License-Identifier: MIT
 *
 * The layout of a block, and the arena that maps slabs of them.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "block.h"
#include "ctx.h"
#include "test.h"

enum { KIB = 1024 };
#define MIB ((size_t)1024 * KIB)

/* A small arena, of which a test changes what it is about. */
static struct arena_options
small_options(void)
{
    return (struct arena_options){
        .stack_size = 32 * KIB,
        .record_size = DEFAULT_RECORD,
        .guard = CO_GUARD_NONE,
        .max_blocks = 1 << 20,
        .first_slab = 4,
        .last_slab = 16,
        .keep_empty = true,
    };
}

static struct arena arena;

static void
begin(const struct arena_options *options)
{
    REQUIRE(arena_init(&arena, options) == CO_OK);
}

static void
end(void)
{
    EXPECT(arena_check(&arena));
    arena_fini(&arena);
}

static struct block *
take(void)
{
    enum co_status status;
    struct block *block = arena_take(&arena, &status);

    REQUIRE(block != NULL);
    EXPECT_EQ(status, CO_OK);
    return block;
}

static enum co_status
refused(void)
{
    enum co_status status = CO_OK;

    EXPECT(arena_take(&arena, &status) == NULL);
    return status;
}

static char *
block_begin(const struct block *block)
{
    return block->low - arena.geometry.guard_size;
}

static char *
block_end(const struct block *block)
{
    return block_begin(block) + arena.geometry.stride;
}

static char *
page_of(const void *address)
{
    size_t page = os_page_size();

    return (char *)((uintptr_t)address / page * page);
}

/* --- geometry ----------------------------------------------------------- */

static void
check_block(const struct arena_options *o, struct block *block)
{
    const struct geometry *g = &arena.geometry;
    char *top = block_stack_top(block), *end_of_data = block_end(block);
    char *data = block->data;

    EXPECT_EQ((uintptr_t)block % 16, 0);
    EXPECT_EQ((uintptr_t)data % 16, 0);
    EXPECT(block->low > block_begin(block) || !g->guard_size);
    EXPECT((size_t)(top - block->low) >= g->stack_size);
    EXPECT((size_t)(data - (char *)block) >= o->record_size);
    EXPECT_EQ(block_data_size(g, block), end_of_data - data);
    EXPECT(block_data_size(g, block) >= o->data_size);

    /* The hot page holds the top of the stack, the record and the first of
     * the data. */
    EXPECT(page_of(top - 64) == page_of(block));
    EXPECT(page_of(data - 1) == page_of(block));
    EXPECT(page_of(block) == block_begin(block) + g->hot_offset);
    if (o->data_size)
        EXPECT(page_of(data + 64) == page_of(block));

    block->low[0] = top[-1] = 1;
    if (o->data_size)
        data[0] = end_of_data[-1] = 1;
}

static void
check_geometry(const struct arena_options *o)
{
    const struct geometry *g;
    struct block *blocks[33];
    bool seen[64] = {false};
    size_t colours = 0, i;

    begin(o);
    g = &arena.geometry;
    EXPECT_EQ(g->stride % g->page, 0);
    EXPECT_EQ(g->stride / g->page % 2, 1);
    EXPECT_EQ(g->guard_size, o->guard == CO_GUARD_NONE ? 0 : g->page);
    EXPECT(g->stack_size >= o->stack_size);
    EXPECT(g->stack_size < o->stack_size + 3 * g->page);
    for (i = 0; i < 33; i++) {
        size_t colour;

        blocks[i] = take();
        check_block(o, blocks[i]);
        colour = (uintptr_t)blocks[i] % g->page / 64;
        if (i < g->colours && !seen[colour % 64]) {
            seen[colour % 64] = true;
            colours++;
        }
        if (i && blocks[i]->slab == blocks[i - 1]->slab)
            EXPECT(block_begin(blocks[i]) == block_end(blocks[i - 1]));
    }
    EXPECT_EQ(colours, g->colours);
    for (i = 0; i < 33; i++)
        arena_give(&arena, blocks[i]);
    end();
}

static void
geometry_holds_for_all_sizes(void)
{
    static const size_t stacks[] = {32 * KIB,  32 * KIB + 1, 40000,   64 * KIB,
                                    256 * KIB, 260 * KIB,    1 << 20, 1 << 30};
    static const size_t records[] = {sizeof(struct block), DEFAULT_RECORD, 200,
                                     513, 768};
    static const size_t datas[] = {0,    1,     1280,      1281,
                                   4096, 16384, 16384 + 8, (size_t)64 << 20};
    static const enum co_guard guards[] = {CO_GUARD_NONE, CO_GUARD_MPROTECT};
    struct arena_options o = small_options();
    size_t s, r, d, g, failed = 0;

    o.first_slab = 40;
    for (s = 0; s < sizeof stacks / sizeof *stacks; s++)
        for (r = 0; r < sizeof records / sizeof *records; r++)
            for (d = 0; d < sizeof datas / sizeof *datas; d++)
                for (g = 0; g < 2; g++) {
                    struct geometry geometry;

                    o.stack_size = stacks[s];
                    o.record_size = records[r];
                    o.data_size = datas[d];
                    o.guard = guards[g];
                    if (!geometry_init(&geometry, &o))
                        failed++;
                    else if (!under_emulator() || geometry.stride < 2 * MIB)
                        check_geometry(&o);
                }
    EXPECT_EQ(failed, 0);
}

static void
impossible_sizes_are_refused(void)
{
    static const struct {
        size_t stack, record, data;
    } bad[] = {
        {0, DEFAULT_RECORD, 0},
        {32 * KIB - 1, DEFAULT_RECORD, 0},
        {((size_t)1 << 30) + 1, DEFAULT_RECORD, 0},
        {SIZE_MAX, DEFAULT_RECORD, 0},
        {32 * KIB, 0, 0},
        {32 * KIB, sizeof(struct block) - 16, 0},
        {32 * KIB, 64 * KIB, 0},
        {32 * KIB, SIZE_MAX, 0},
        {32 * KIB, SIZE_MAX - 14, 0},
        {32 * KIB, SIZE_MAX / 2, 0},
        {32 * KIB, DEFAULT_RECORD, ((size_t)64 << 20) + 1},
        {32 * KIB, DEFAULT_RECORD, SIZE_MAX},
    };
    struct arena_options o = small_options();
    size_t i;

    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        o.stack_size = bad[i].stack;
        o.record_size = bad[i].record;
        o.data_size = bad[i].data;
        EXPECT_EQ(arena_init(&arena, &o), CO_BAD_OPTION);
    }
}

static void
fresh_record_is_zero(void)
{
    struct arena_options o = small_options();
    struct block *block;
    size_t i, nonzero = 0;

    begin(&o);
    block = take();
    for (i = sizeof *block; i < DEFAULT_RECORD; i++)
        nonzero += ((char *)block)[i] != 0;
    EXPECT_EQ(nonzero, 0);
    arena_give(&arena, block);
    end();
}

/* --- taking and giving -------------------------------------------------- */

static void
given_blocks_are_taken_again(void)
{
    struct arena_options o = small_options();
    struct block *a, *b, *c;

    begin(&o);
    a = take();
    b = take();
    c = take();
    arena_give(&arena, a);
    arena_give(&arena, c);
    EXPECT_EQ(arena.out, 1);
    EXPECT_EQ(arena.vacant, 2);
    EXPECT(take() == a);
    EXPECT(take() == c);
    EXPECT_EQ(arena.vacant, 0);
    EXPECT_EQ(arena.peak, 3);
    EXPECT_EQ(arena.taken, 5);
    EXPECT_EQ(arena.discards, 2);
    arena_give(&arena, a);
    arena_give(&arena, b);
    arena_give(&arena, c);
    end();
}

static void
given_block_holds_no_pages(void)
{
    struct arena_options o = small_options();
    struct block *block;
    char *begin_of_block;
    size_t stride;

    o.data_size = 3 * os_page_size();
    begin(&o);
    block = take();
    begin_of_block = block_begin(block);
    stride = arena.geometry.stride;
    memset(begin_of_block, 1, (size_t)((char *)block - begin_of_block));
    memset(block->data, 1, o.data_size);
    EXPECT(test_resident(begin_of_block, stride) > 8);
    arena_give(&arena, block);
    EXPECT_EQ(test_resident(begin_of_block, stride), 0);
    end();
}

static void
fresh_block_touches_one_page(void)
{
    struct arena_options o = small_options();
    struct block *block;

    o.data_size = 3 * os_page_size();
    begin(&o);
    block = take();
    EXPECT_EQ(test_resident(block_begin(block), arena.geometry.stride), 1);
    arena_give(&arena, block);
    end();
}

static void
slabs_double_up_to_the_largest(void)
{
    static const size_t blocks_mapped[] = {4, 12, 28, 44, 60};
    struct arena_options o = small_options();
    size_t slabs, n = 0;

    begin(&o);
    for (slabs = 1; slabs <= 5; slabs++) {
        for (; n < blocks_mapped[slabs - 1]; n++)
            take();
        EXPECT_EQ(arena.slab_count, slabs);
        EXPECT_EQ(arena.mapped_bytes,
                  blocks_mapped[slabs - 1] * arena.geometry.stride);
        EXPECT(arena_check(&arena));
    }
    end();
}

static void
cap_is_kept(void)
{
    struct arena_options o = small_options();
    struct block *blocks[3];

    o.max_blocks = 3;
    begin(&o);
    blocks[0] = take();
    blocks[1] = take();
    blocks[2] = take();
    EXPECT_EQ(refused(), CO_AT_CAP);
    EXPECT_EQ(refused(), CO_AT_CAP);
    arena_give(&arena, blocks[1]);
    EXPECT(take() == blocks[1]);
    EXPECT_EQ(refused(), CO_AT_CAP);
    end();
}

/*                        slab 4        slab 8
 *   take 12              full          full
 *   give one of each     3 of 4        7 of 8
 *   trim                 mapped        mapped
 *   give the first's     empty         7 of 8
 *   trim                 gone          mapped
 *   give the others                    empty
 *   trim                               gone        */
static void
trim_unmaps_empty_slabs_only(void)
{
    struct arena_options o = small_options();
    struct block *blocks[12];
    char *first, *second;
    unsigned char in;
    size_t i;

    begin(&o);
    for (i = 0; i < 12; i++)
        blocks[i] = take();
    first = page_of(blocks[0]);
    second = page_of(blocks[4]);
    arena_give(&arena, blocks[0]);
    arena_give(&arena, blocks[4]);
    arena_trim(&arena);
    EXPECT_EQ(arena.slab_count, 2);
    for (i = 1; i < 4; i++)
        arena_give(&arena, blocks[i]);
    EXPECT(arena_check(&arena));
    EXPECT_EQ(arena.vacant, 5);
    arena_trim(&arena);
    EXPECT_EQ(arena.slab_count, 1);
    EXPECT_EQ(arena.vacant, 1);
    EXPECT_EQ(arena.mapped_bytes, 8 * arena.geometry.stride);
    EXPECT_EQ(mincore(first, 1, &in), -1);
    EXPECT_EQ(mincore(second, 1, &in), 0);
    for (i = 5; i < 12; i++)
        arena_give(&arena, blocks[i]);
    arena_trim(&arena);
    EXPECT_EQ(arena.slab_count, 0);
    EXPECT_EQ(arena.mapped_bytes, 0);
    EXPECT_EQ(arena.vacant, 0);
    EXPECT_EQ(mincore(second, 1, &in), -1);

    /* And it begins small again. */
    take();
    EXPECT_EQ(arena.mapped_bytes, 4 * arena.geometry.stride);
    end();
}

static void
empty_slab_is_unmapped_at_once_if_so_asked(void)
{
    struct arena_options o = small_options();
    struct block *a, *b;

    o.keep_empty = false;
    o.first_slab = o.last_slab = 2;
    begin(&o);
    a = take();
    b = take();
    arena_give(&arena, a);
    EXPECT_EQ(arena.slab_count, 1);
    arena_give(&arena, b);
    EXPECT_EQ(arena.slab_count, 0);
    EXPECT_EQ(arena.vacant, 0);
    end();
}

static void
discard_keeps_the_record_and_the_near_stack(void)
{
    struct arena_options o = small_options();
    size_t page = os_page_size(), pages;
    struct block *block;
    char *low, *top;

    o.stack_size = 256 * KIB;
    o.data_size = 2 * page;
    begin(&o);
    block = take();
    low = block->low;
    top = block_stack_top(block);
    memset(low, 1, (size_t)(top - low));
    memset(block->data, 2, o.data_size);
    pages = (size_t)(page_of(top) - low) / page;
    EXPECT_EQ(test_resident(low, pages * page), pages);
    arena_discard_deep(&arena, block);
    EXPECT_EQ(test_resident(low, pages * page), (12 * KIB + page - 1) / page);
    EXPECT_EQ(low[0], 0);
    EXPECT_EQ(top[-1], 1);
    EXPECT_EQ(top[-4 * KIB], 1);
    EXPECT_EQ(block->data[0], 2);
    EXPECT_EQ(block->data[o.data_size - 1], 2);
    EXPECT(block->low == low);
    EXPECT_EQ(arena.discards, 1);
    EXPECT_EQ(arena.out, 1);
    arena_give(&arena, block);
    end();
}

/* A count that is off by one, a link that points elsewhere. */
static void
check_finds_what_is_wrong(void)
{
    struct arena_options o = small_options();
    size_t *counts[] = {&arena.out, &arena.vacant, &arena.slab_count};
    struct slab *room;
    size_t i;

    begin(&o);
    arena_give(&arena, take());
    take();
    EXPECT(arena_check(&arena));
    for (i = 0; i < 3; i++) {
        ++*counts[i];
        EXPECT(!arena_check(&arena));
        --*counts[i];
    }
    room = arena.room;
    arena.full = room;
    EXPECT(!arena_check(&arena));
    arena.full = NULL;
    arena.room = NULL;
    EXPECT(!arena_check(&arena));
    arena.room = room;
    end();
}

/* --- several threads ---------------------------------------------------- */

static void
take_and_give(unsigned index)
{
    struct block *blocks[8] = {NULL};
    unsigned rounds = test_rounds(3000), i;

    for (i = 0; i < rounds; i++) {
        struct block **slot = &blocks[(i * 5 + index) % 8];

        if (*slot) {
            EXPECT_EQ((*slot)->low[0], (char)index + 1);
            arena_give(&arena, *slot);
            *slot = NULL;
        } else {
            *slot = take();
            EXPECT_EQ((*slot)->low[0], 0);
            (*slot)->low[0] = (char)index + 1;
        }
        if (i % 256 == 0)
            arena_trim(&arena);
    }
    for (i = 0; i < 8; i++)
        if (blocks[i])
            arena_give(&arena, blocks[i]);
}

static void
threads_never_share_a_block(void)
{
    struct arena_options o = small_options();

    begin(&o);
    test_threads(4, take_and_give);
    EXPECT_EQ(arena.out, 0);
    EXPECT(arena.peak <= 32);
    arena_trim(&arena);
    EXPECT_EQ(arena.slab_count, 0);
    end();
}

/* --- guards ------------------------------------------------------------- */

/* Calls itself until a guard stops it. */
__attribute__((noinline)) static int
overflow(int depth)
{
    volatile char frame[256];

    frame[0] = (char)depth;
    if (depth)
        return overflow(depth + 1) + frame[0];
    return frame[0];
}

static struct block *victim;

static struct ctx here, there;

static void
overflow_context(void *value)
{
    ARCH_OUTERMOST_FRAME();
    san_after_switch(&there.san);
    overflow(1);
    ctx_leave(&there, &here, value, ARCH_READ_CONTROL);
}

static int
overflow_the_stack(void)
{
    size_t guard = arena.geometry.guard_size;

    fault_expected(victim->low - guard, victim->low);
    ctx_make(&there, victim->low, block_stack_top(victim), overflow_context);
    ctx_begin(&here, &there, NULL);
    return 0;
}

static void
check_overflow(enum co_guard guard)
{
    struct arena_options o = small_options();
    struct block *below;

    if (!test_guard_faults(guard)) {
        test_skip("guards of this kind don't fault here (an old kernel, or an "
                  "emulator)");
        return;
    }
    o.guard = guard;
    begin(&o);
    /* Not the first of the slab: below it there is a block, not a hole. */
    below = take();
    victim = take();
    EXPECT(block_end(below) == block_begin(victim));
    EXPECT(child_exited(test_child(overflow_the_stack), FAULTED_THERE));
    /* The guard outlives the pages. */
    arena_give(&arena, victim);
    victim = take();
    EXPECT(child_exited(test_child(overflow_the_stack), FAULTED_THERE));
    end();
}

static void
overflow_hits_the_madvise_guard(void)
{
    check_overflow(CO_GUARD_MADVISE);
}

static void
overflow_hits_the_mprotect_guard(void)
{
    check_overflow(CO_GUARD_MPROTECT);
}

static int
overflow_into_locked_memory(void)
{
    struct arena_options o = small_options();

    o.guard = CO_GUARD_MADVISE;
    begin(&o);
    take(); /* the slab is there, and most of its guards are not */
    if (mlockall(MCL_CURRENT | MCL_ONFAULT) != 0)
        return 77;
    victim = take();
    take();
    munlockall();
    take();
    EXPECT_EQ(arena.slab_count, 1);
    EXPECT(arena_check(&arena));
    return overflow_the_stack();
}

static void
locked_memory_gets_guards_too(void)
{
    int status;

    if (!test_guard_faults(CO_GUARD_MADVISE) || under_valgrind() || SANITIZED) {
        test_skip("there are no guards here that locked memory can't have");
        return;
    }
    status = test_child(overflow_into_locked_memory);
    if (child_exited(status, 77))
        test_skip("memory may not be locked");
    else
        EXPECT(child_exited(status, FAULTED_THERE));
}

static size_t
mappings_of_blocks(enum co_guard guard, size_t n)
{
    struct arena_options o = small_options();
    size_t before, used;

    o.guard = guard;
    o.first_slab = o.last_slab = 1 << 16;
    begin(&o);
    before = test_mappings(NULL);
    while (n--)
        take();
    used = test_mappings(NULL) - before;
    EXPECT_EQ(arena.slab_count, 1);
    end();
    return used;
}

static void
madvise_guards_cost_no_mapping(void)
{
    if (!test_guard_faults(CO_GUARD_MADVISE)) {
        test_skip("guards of this kind don't fault here (an old kernel, or an "
                  "emulator)");
        return;
    }
    /* The slab; and what malloc() or a sanitizer may have mapped meanwhile. */
    EXPECT(mappings_of_blocks(CO_GUARD_MADVISE, 500) <= 12);
}

static void
mprotect_guards_cost_two_mappings(void)
{
    size_t mappings = mappings_of_blocks(CO_GUARD_MPROTECT, 500);

    EXPECT(mappings >= 1000 && mappings <= 1004);
}

/* --- refusals ----------------------------------------------------------- */

/* No more address space than there is now, and a little for malloc(). */
static int
run_out_of_address_space(void)
{
    struct arena_options o = small_options();
    struct rlimit before, limit;
    struct block *block;
    size_t taken = 0;
    enum co_status status;
    FILE *file;
    size_t pages;

    o.stack_size = 4 * MIB;
    o.first_slab = o.last_slab = 64;
    begin(&o);
    file = fopen("/proc/self/statm", "re");
    REQUIRE(file && fscanf(file, "%zu", &pages) == 1);
    fclose(file);
    REQUIRE(getrlimit(RLIMIT_AS, &before) == 0);
    limit = before;
    limit.rlim_cur = pages * os_page_size() + 40 * MIB;
    REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);

    /* A slab of 64 does not fit; smaller ones do, until there is no room for
     * one block. */
    while ((block = arena_take(&arena, &status)) != NULL && taken < 64)
        taken++;
    EXPECT(taken >= 1 && taken <= 9);
    EXPECT_EQ(status, CO_NO_MEMORY);
    EXPECT_EQ(refused(), CO_NO_MEMORY);
    EXPECT_EQ(arena.out, taken);
    EXPECT(arena_check(&arena));

    REQUIRE(setrlimit(RLIMIT_AS, &before) == 0);
    take();
    EXPECT_EQ(arena.out, taken + 1);
    end();
    return 0;
}

static int
is_address_space_limited(void)
{
    struct rlimit limit = {64 * MIB, 64 * MIB};
    void *base;

    if (setrlimit(RLIMIT_AS, &limit) != 0)
        return 1;
    base = os_map(128 * MIB);
    return base != NULL;
}

static void
refused_mapping_is_a_status(void)
{
    if (SANITIZED || under_valgrind() ||
        !child_exited(test_child(is_address_space_limited), 0)) {
        test_skip("the tool itself needs the address space");
        return;
    }
    EXPECT(child_exited(test_child(run_out_of_address_space), 0));
}

static int
run_out_of_mappings(void)
{
    struct arena_options o = small_options();
    size_t max = os_max_mappings(), taken = 0;
    enum co_status status;
    struct block *block, *last = NULL;

    o.guard = CO_GUARD_MPROTECT;
    o.first_slab = o.last_slab = 1 << 12;
    begin(&o);
    while ((block = arena_take(&arena, &status)) != NULL && taken <= max) {
        taken++;
        last = block;
    }
    EXPECT_EQ(status, CO_NO_MEMORY);
    EXPECT(taken <= max / 2 && taken >= (max - 5000) / 2);
    EXPECT_EQ(arena.out, taken);
    EXPECT(arena_check(&arena));
    REQUIRE(last != NULL);
    arena_give(&arena, last);
    EXPECT(take() == last);
    EXPECT_EQ(refused(), CO_NO_MEMORY);
    end();
    return 0;
}

static void
too_many_mprotect_guards_are_a_status(void)
{
    if (os_max_mappings() > 100000) {
        test_skip("vm.max_map_count is too high to be reached in a test");
        return;
    }
    if (SANITIZED || under_valgrind() || under_emulator()) {
        test_skip("the tool itself needs mappings");
        return;
    }
    EXPECT(child_exited(test_child(run_out_of_mappings), 0));
}

int
main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(geometry_holds_for_all_sizes),
        TEST(impossible_sizes_are_refused),
        TEST(fresh_record_is_zero),
        TEST(given_blocks_are_taken_again),
        TEST(given_block_holds_no_pages),
        TEST(fresh_block_touches_one_page),
        TEST(slabs_double_up_to_the_largest),
        TEST(cap_is_kept),
        TEST(trim_unmaps_empty_slabs_only),
        TEST(empty_slab_is_unmapped_at_once_if_so_asked),
        TEST(discard_keeps_the_record_and_the_near_stack),
        TEST(check_finds_what_is_wrong),
        TEST(threads_never_share_a_block),
        TEST(overflow_hits_the_madvise_guard),
        TEST(overflow_hits_the_mprotect_guard),
        TEST(locked_memory_gets_guards_too),
        TEST(madvise_guards_cost_no_mapping),
        TEST(mprotect_guards_cost_two_mappings),
        TEST(refused_mapping_is_a_status),
        TEST(too_many_mprotect_guards_are_a_status),
        TESTS_END,
    };

    return test_main(tests, argc, argv);
}
