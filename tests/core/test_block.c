/* SPDX-License-Identifier: MIT
 *
 * The layout of a block, and the arena that maps slabs of them.
 */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

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
        .guard_size = os_page_size(),
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
    return block->data + block_data_size(&arena.geometry, block);
}

static size_t
block_size(const struct block *block)
{
    return (size_t)(block_end(block) - block_begin(block));
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

    EXPECT((uintptr_t)end_of_data % g->page == 0);

    EXPECT_EQ((uintptr_t)block % 16, 0);
    EXPECT_EQ((uintptr_t)data % 16, 0);
    EXPECT(block->low > block_begin(block) || !g->guard_size);
    EXPECT((size_t)(top - block->low) >= g->stack_size);
    EXPECT((size_t)(data - (char *)block) >= o->record_size);
    EXPECT(block_data_size(g, block) >= o->data_size);

    /* The hot page holds the top of the stack, the record and the first of
     * the data. */
    EXPECT(page_of(top - 64) == page_of(block));
    EXPECT(page_of(data - 1) == page_of(block));
    EXPECT(page_of(block) == end_of_data - g->tail - g->page);
    if (o->data_size)
        EXPECT(page_of(data + 64) == page_of(block));

    block->low[0] = top[-1] = 1;
    if (o->data_size)
        data[0] = end_of_data[-1] = 1;
}

static bool
lies_close(const struct geometry *g)
{
    return g->phases == 1;
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
    EXPECT_EQ(g->guard_size % g->page, 0);
    EXPECT(o->guard == CO_GUARD_NONE
               ? g->guard_size == 0
               : g->guard_size >= o->guard_size &&
                     g->guard_size - o->guard_size < g->page);
    EXPECT(g->stack_size >= o->stack_size);
    if (lies_close(g)) {
        EXPECT_EQ(g->stride / g->page % 2, 1);
        EXPECT(g->stack_size < o->stack_size + 3 * g->page);
    }
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
    static const struct {
        enum co_guard kind;
        size_t size;
    } guards[] = {{CO_GUARD_NONE, 0},
                  {CO_GUARD_MPROTECT, 1},
                  {CO_GUARD_MPROTECT, 1 << 20},
                  {CO_GUARD_MADVISE, (1 << 20) + 1}};
    size_t n = test_guard_faults(CO_GUARD_MADVISE) ? 4 : 3;
    struct arena_options o = small_options();
    size_t s, r, d, g, failed = 0;

    o.first_slab = 40;
    for (s = 0; s < sizeof stacks / sizeof *stacks; s++)
        for (r = 0; r < sizeof records / sizeof *records; r++)
            for (d = 0; d < sizeof datas / sizeof *datas; d++)
                for (g = 0; g < n; g++) {
                    struct geometry geometry;

                    o.stack_size = stacks[s];
                    o.record_size = records[r];
                    o.data_size = datas[d];
                    o.guard = guards[g].kind;
                    o.guard_size = guards[g].size;
                    if (!geometry_init(&geometry, &o))
                        failed++;
                    else if (geometry.stride < 2 * MIB ||
                             !(under_emulator() || under_valgrind()))
                        check_geometry(&o);
                }
    EXPECT_EQ(failed, 0);
}

/* What a page table maps: an entry has eight bytes. */
static size_t
span(void)
{
    return os_page_size() / 8 * os_page_size();
}

static bool
is_close(size_t stack_size, enum co_guard guard, size_t guard_size)
{
    struct arena_options o = small_options();
    struct geometry g;

    o.data_size = 16 * KIB;
    o.stack_size = stack_size;
    o.guard = guard;
    o.guard_size = guard_size;
    REQUIRE(geometry_init(&g, &o));
    return lies_close(&g);
}

/* Only where hot page and guard would often lie in two page tables. */
static void
only_long_blocks_with_wide_guards_have_phases(void)
{
    size_t half = span() / 2;

    EXPECT(!is_close(4 * span(), CO_GUARD_MADVISE, half));
    EXPECT(!is_close(span(), CO_GUARD_MADVISE, half));
    EXPECT(is_close(half / 2, CO_GUARD_MADVISE, half));
    EXPECT(is_close(half + half / 4, CO_GUARD_MADVISE, half));
    EXPECT(is_close(4 * span(), CO_GUARD_MADVISE, half / 8));
    EXPECT(is_close(4 * span(), CO_GUARD_MADVISE, 2 * half));
    EXPECT(is_close(4 * span(), CO_GUARD_MPROTECT, half));
    EXPECT(is_close(4 * span(), CO_GUARD_NONE, half));
}

/* Of long blocks, so many that each phase comes twice. */
static struct arena_options
long_options(void)
{
    struct arena_options o = small_options();

    o.stack_size = 4 * span();
    o.data_size = 16 * KIB;
    o.guard = CO_GUARD_MADVISE;
    o.guard_size = span() / 2;
    o.first_slab = o.last_slab = 512;
    return o;
}

/* Hot page, tail and the next one's guard are in one page table, at as many
 * places as there are sets of the address translation cache, or more, and those
 * of neighbours are not in the same. */
static void
long_blocks_meet_within_a_page_table(void)
{
    struct arena_options o = long_options();
    static bool seen[1 << 14];
    struct block *block, *before = NULL;
    size_t n, places = 0, shortest = SIZE_MAX;

    if (!test_guard_faults(CO_GUARD_MADVISE) || under_emulator() ||
        under_valgrind()) {
        test_skip("guards of this kind don't fault here (an old kernel, or an "
                  "emulator), or a tool notes down every page");
        return;
    }
    begin(&o);
    for (n = 0; n < 512; n++, before = block) {
        char *hot, *end;
        size_t place;

        block = take();
        check_block(&o, block);
        hot = page_of(block);
        end = block_end(block) + o.guard_size;
        if ((size_t)(block_stack_top(block) - block->low) < shortest)
            shortest = (size_t)(block_stack_top(block) - block->low);
        if (before)
            EXPECT(block_begin(block) == block_end(before));
        EXPECT_EQ((uintptr_t)hot / span(), (uintptr_t)(end - 1) / span());
        place = (uintptr_t)hot % span() / os_page_size();
        places += !seen[place];
        seen[place] = true;
    }
    EXPECT(places >= 128);
    EXPECT(shortest >= arena.geometry.stack_size);
    EXPECT_EQ(arena.slab_count, 1);
    end();
}

static void
impossible_sizes_are_refused(void)
{
    static const struct {
        size_t stack, record, data, guard;
    } bad[] = {
        {0, DEFAULT_RECORD, 0, 4096},
        {32 * KIB - 1, DEFAULT_RECORD, 0, 4096},
        {((size_t)1 << 30) + 1, DEFAULT_RECORD, 0, 4096},
        {SIZE_MAX, DEFAULT_RECORD, 0, 4096},
        {32 * KIB, 0, 0, 4096},
        {32 * KIB, sizeof(struct block) - 16, 0, 4096},
        {32 * KIB, 64 * KIB, 0, 4096},
        {32 * KIB, SIZE_MAX, 0, 4096},
        {32 * KIB, SIZE_MAX - 14, 0, 4096},
        {32 * KIB, SIZE_MAX / 2, 0, 4096},
        {32 * KIB, DEFAULT_RECORD, ((size_t)64 << 20) + 1, 4096},
        {32 * KIB, DEFAULT_RECORD, SIZE_MAX, 4096},
        {32 * KIB, DEFAULT_RECORD, 0, 0},
        {32 * KIB, DEFAULT_RECORD, 0, ((size_t)64 << 20) + 1},
        {32 * KIB, DEFAULT_RECORD, 0, SIZE_MAX},
    };
    struct arena_options o = small_options();
    size_t i;

    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        o.stack_size = bad[i].stack;
        o.record_size = bad[i].record;
        o.data_size = bad[i].data;
        o.guard_size = bad[i].guard;
        o.guard = CO_GUARD_MPROTECT;
        EXPECT_EQ(arena_init(&arena, &o), CO_BAD_OPTION);
    }
    /* Without a guard its size is nothing that could be wrong. */
    o = small_options();
    o.guard_size = 0;
    EXPECT_EQ(arena_init(&arena, &o), CO_OK);
    arena_fini(&arena);
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
    size_t size;

    o.data_size = 3 * os_page_size();
    begin(&o);
    block = take();
    begin_of_block = block_begin(block);
    size = block_size(block);
    memset(begin_of_block, 1, (size_t)((char *)block - begin_of_block));
    memset(block->data, 1, o.data_size);
    EXPECT(test_resident(begin_of_block, size) > 8);
    arena_give(&arena, block);
    EXPECT_EQ(test_resident(begin_of_block, size), 0);
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
    EXPECT_EQ(test_resident(block_begin(block), block_size(block)), 1);
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

/* What OpenBLAS has on its stack in an LU decomposition: nothing but its low
 * end may be touched, so that it leaps over a smaller guard. */
enum { LARGE_FRAME = 541248 };

__attribute__((noinline)) static void
leap(void *value)
{
    volatile char frame[LARGE_FRAME];

    frame[0] = 1;
    EXPECT(value && frame[0]);
}

enum { NEIGHBOURS = 9 };

static struct block *neighbours[NEIGHBOURS];

/* Of all that the blocks hold in the pages that they have. */
static uint64_t
checksum(void)
{
    size_t page = os_page_size(), i, j;
    uint64_t sum = 0;

    for (i = 0; i < NEIGHBOURS; i++) {
        const char *at = page_of(neighbours[i]) - 2 * page;

        if (neighbours[i] == victim)
            continue;
        for (j = 0; j < 3 * page + arena.geometry.tail; j++)
            sum = sum * 31 + (unsigned char)at[j];
    }
    return sum;
}

static uint64_t sum_before;

/* On a stack of its own: the guard was hit, and all else is as it was. */
static void
expect_unharmed(int signal, siginfo_t *info, void *context)
{
    const char *at = info->si_addr, *low = victim->low;

    (void)signal, (void)context;
    if (at < low - arena.geometry.guard_size || at >= low)
        _exit(FAULTED_THERE + 1);
    _exit(checksum() == sum_before ? FAULTED_THERE : FAULTED_THERE + 2);
}

static void
leap_at_the_end(void *value)
{
    ARCH_OUTERMOST_FRAME();
    san_after_switch(&there.san);
    leap(value);
    ctx_leave(&there, &here, value, ARCH_READ_CONTROL);
}

/* With so little left of the stack that a call fits, and the frame does not. A
 * fault that is expected is looked at by expect_unharmed(). */
static int
leap_over_the_end(void)
{
    static char other_stack[64 * 1024];
    stack_t stack = {.ss_sp = other_stack, .ss_size = sizeof other_stack};
    struct sigaction action = {.sa_sigaction = expect_unharmed,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK};

    fault_expected(victim->low - arena.geometry.guard_size, victim->low);
    REQUIRE(sigaltstack(&stack, NULL) == 0);
    REQUIRE(sigaction(SIGSEGV, &action, NULL) == 0);
    sum_before = checksum();
    ctx_make(&there, victim->low, victim->low + 8 * KIB, leap_at_the_end);
    ctx_begin(&here, &there, victim);
    return 0;
}

static void
check_leap(enum co_guard guard, size_t stack_size)
{
    struct arena_options o = small_options();
    size_t i;

    if (SANITIZED || !test_guard_faults(guard)) {
        test_skip("guards of this kind don't fault here (an old kernel, or an "
                  "emulator), or a tool touches every frame");
        return;
    }
    o.stack_size = stack_size;
    o.data_size = 16 * KIB;
    o.guard = guard;
    o.guard_size = 1 * MIB;
    begin(&o);
    for (i = 0; i < NEIGHBOURS; i++) {
        struct block *block = neighbours[i] = take();
        char *hot = page_of(block);

        memset(hot - 2 * os_page_size(), (int)i + 1,
               (size_t)((char *)block - hot) + 2 * os_page_size());
        memset(block->data, (int)i + 1,
               block_data_size(&arena.geometry, block));
    }
    /* The first of a slab, the last of one and some between. */
    for (i = 0; i < NEIGHBOURS; i++) {
        test_case("block %zu", i);
        victim = neighbours[i];
        EXPECT(child_exited(test_child(leap_over_the_end), FAULTED_THERE));
    }
    end();
}

static void
large_frame_does_not_leap_the_madvise_guard(void)
{
    check_leap(CO_GUARD_MADVISE, 8 * MIB);
    check_leap(CO_GUARD_MADVISE, 64 * KIB);
}

static void
large_frame_does_not_leap_the_mprotect_guard(void)
{
    check_leap(CO_GUARD_MPROTECT, 8 * MIB);
    check_leap(CO_GUARD_MPROTECT, 64 * KIB);
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

/* A stack that all were brought to memory would take a thousand times what it
 * needs. */
static int
take_where_all_is_locked(void)
{
    struct arena_options o = small_options();
    size_t i;

    o.guard = CO_GUARD_MADVISE;
    o.guard_size = 1 * MIB;
    o.stack_size = 8 * MIB;
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        return 77;
    begin(&o);
    for (i = 0; i < 20; i++) {
        enum co_status status;

        victim = arena_take(&arena, &status);
        if (!victim)
            return i ? 1 : 77; /* as much may not be locked */
        EXPECT_EQ(test_resident(block_begin(victim), block_size(victim)), 1);
    }
    return overflow_the_stack();
}

static void
stacks_are_not_locked(void)
{
    int status;

    if (!test_guard_faults(CO_GUARD_MADVISE) || under_valgrind() || SANITIZED) {
        test_skip("there are no guards here that locked memory can't have");
        return;
    }
    status = test_child(take_where_all_is_locked);
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
    size_t mappings;

    if (under_valgrind()) {
        test_skip("the tool has mappings of its own for what it notes down");
        return;
    }
    mappings = mappings_of_blocks(CO_GUARD_MPROTECT, 500);
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
    EXPECT_EQ(os_limit_below(arena.geometry.stride).name, OS_ADDRESS_SPACE);
    EXPECT_EQ(os_limit_below(arena.geometry.stride).bytes, limit.rlim_cur);

    REQUIRE(setrlimit(RLIMIT_AS, &before) == 0);
    take();
    EXPECT_EQ(arena.out, taken + 1);
    end();
    return 0;
}

/* A slab leaves most of what there is to the program. */
static int
take_one_of_little(void)
{
    struct arena_options o = small_options();
    struct rlimit limit;

    o.stack_size = 4 * MIB;
    o.first_slab = o.last_slab = 2048;
    begin(&o);
    REQUIRE(getrlimit(RLIMIT_AS, &limit) == 0);
    limit.rlim_cur = 1024 * MIB;
    REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
    take();
    EXPECT(arena.mapped_bytes <= 64 * MIB);
    EXPECT(arena.mapped_bytes > 2 * arena.geometry.stride);
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
    EXPECT(child_exited(test_child(take_one_of_little), 0));
}

/* A limit on what is written counts the blocks that are in use, and a few, not
 * the slab that they lie in. */
static int
run_out_of_data(void)
{
    struct arena_options o = small_options();
    struct rlimit limit;
    struct os_limit found;
    size_t taken = 0, stride;
    enum co_status status;

    o.stack_size = 8 * MIB;
    o.first_slab = o.last_slab = 2048;
    o.guard = os_resolve_guard(CO_GUARD_AUTO);
    o.guard_size = 1 * MIB;
    begin(&o);
    stride = arena.geometry.stride;
    REQUIRE(getrlimit(RLIMIT_DATA, &limit) == 0);
    limit.rlim_cur = 100 * stride;
    REQUIRE(setrlimit(RLIMIT_DATA, &limit) == 0);
    while (arena_take(&arena, &status) != NULL && taken < 200)
        taken++;
    EXPECT(taken >= 90 && taken <= 120); /* what is protected is not counted */
    EXPECT_EQ(status, CO_NO_MEMORY);
    EXPECT(arena_check(&arena));
    found = os_limit_below(stride);
    EXPECT_EQ(found.name, OS_DATA);
    EXPECT_EQ(found.bytes, 100 * stride);
    EXPECT(found.used > 80 * stride && found.used <= found.bytes);

    limit.rlim_cur = limit.rlim_max;
    REQUIRE(setrlimit(RLIMIT_DATA, &limit) == 0);
    EXPECT_EQ(os_limit_below(stride).name, OS_NO_LIMIT);
    take();
    end();
    return 0;
}

static void
limit_on_data_counts_what_is_in_use(void)
{
    if (SANITIZED || under_valgrind() || under_emulator()) {
        test_skip("the tool itself needs memory");
        return;
    }
    EXPECT(child_exited(test_child(run_out_of_data), 0));
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
        TEST(only_long_blocks_with_wide_guards_have_phases),
        TEST(long_blocks_meet_within_a_page_table),
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
        TEST(stacks_are_not_locked),
        TEST(large_frame_does_not_leap_the_madvise_guard),
        TEST(large_frame_does_not_leap_the_mprotect_guard),
        TEST(madvise_guards_cost_no_mapping),
        TEST(mprotect_guards_cost_two_mappings),
        TEST(refused_mapping_is_a_status),
        TEST(limit_on_data_counts_what_is_in_use),
        TEST(too_many_mprotect_guards_are_a_status),
        TESTS_END,
    };

    return test_main(tests, argc, argv);
}
