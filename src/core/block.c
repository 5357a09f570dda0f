/* SPDX-License-Identifier: MIT */
#include "block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "san.h"

enum {
    MIN_STACK = 32 * 1024,
    MAX_STACK = 1 << 30,
    MAX_GUARD = 64 << 20,
    MAX_DATA = 64 << 20,
    /* How the hot page is shared out: this much for the start of the data,
     * the record behind it, and what is left for the top of the stack. */
    HOT_DATA = 1280,
    COLOUR = CACHE_LINE,
    COLOURS = 16,
    NEAR = 12 * 1024, /* of the stack, below the hot page, is not deep */
    /* From a block's phase to the next one's, in pages, and how many phases
     * there are: as many as sets of the address translation cache, or more. */
    PHASE_STEP = 9,
    LEAST_PHASES = 128,
    MOST_PHASES = 255,
    OPEN_AHEAD = 16, /* blocks that are made accessible at once, at most */
};

/* Blocks [0, carved) have been handed out at least once; those of them that
 * came back have a bit in vacant[]. A vacant block holds no pages, so what we
 * need to know of it can't be stored in it. Blocks [0, opened) are accessible,
 * but for their guards, which those that are not carved don't have yet. */
struct slab {
    struct slab *next, **link; /* in arena->room or arena->full */
    char *base;
    uint32_t count, opened, carved, vacancies;
    uint64_t vacant[];
};

enum { WORD = 64 };

/* --- geometry ----------------------------------------------------------- */

static size_t
round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* Blocks lie close, at odd strides: with an even number of pages the hot pages
 * of all blocks would compete for a few sets of the address translation cache.
 */
static void
lie_close(struct geometry *g, size_t length)
{
    g->stride = length;
    if (length / g->page % 2 == 0)
        g->stride += g->page;
    g->phases = 1;
    g->first_phase = 0;
    g->alignment = g->page;
    g->rest = 0;
}

/* What a page table maps, of entries of eight bytes. */
static size_t
span_of(const struct geometry *g)
{
    return g->page / sizeof(uint64_t) * g->page;
}

/* What lies between the stacks of two blocks and has entries in page tables. A
 * protected page has none. */
static size_t
meeting_size(const struct geometry *g, enum co_guard guard)
{
    size_t size = g->page + g->tail;

    return guard == CO_GUARD_MADVISE ? size + g->guard_size : size;
}

/* Blocks lie where they meet within a span. */
static void
lie_in_phases(struct geometry *g, size_t length, size_t meeting)
{
    size_t page = g->page, span = span_of(g);
    size_t places = (span - meeting) / page + 1, spare;

    g->stride = round_up(length + (LEAST_PHASES - 1) * page, span);
    spare = (g->stride - length) / page + 1;
    g->phases = MOST_PHASES;
    if (g->phases > places)
        g->phases = places;
    if (g->phases > spare)
        g->phases = spare;
    /* So that the steps come by all of them: 9 is 3 times 3. */
    if (g->phases % 3 == 0)
        g->phases--;
    g->first_phase = g->tail + page;
    g->alignment = g->rest = span;
}

bool
geometry_init(struct geometry *g, const struct arena_options *options)
{
    size_t page = os_page_size();
    size_t record = round_up(options->record_size, CACHE_LINE);
    size_t slack = COLOURS * COLOUR;
    bool guarded = options->guard != CO_GUARD_NONE;
    size_t head, length, meeting, span;

    if (options->stack_size < MIN_STACK || options->stack_size > MAX_STACK ||
        options->data_size > MAX_DATA ||
        options->record_size < sizeof(struct block) ||
        options->record_size > page || record > page - HOT_DATA - 2 * slack ||
        (guarded && (!options->guard_size || options->guard_size > MAX_GUARD)))
        return false;
    g->page = page;
    g->guard_size = guarded ? round_up(options->guard_size, page) : 0;
    g->record_size = record;
    g->data_size = options->data_size;
    g->colours = COLOURS;

    /* The record moves down by a colour, so the stack is shortest and the
     * data longest for the last colour. head: bytes of the hot page below the
     * record, for the first colour. */
    head = page - record - (options->data_size ? HOT_DATA : 0);
    g->tail = 0;
    if (options->data_size > HOT_DATA)
        g->tail = round_up(options->data_size - HOT_DATA, page);
    length = g->guard_size +
             round_up(options->stack_size - (head - slack), page) + page +
             g->tail;

    meeting = meeting_size(g, options->guard);
    span = span_of(g);
    if (length > span + span / 4 && meeting > span / 4 &&
        meeting <= span - LEAST_PHASES * page)
        lie_in_phases(g, length, meeting);
    else
        lie_close(g, length);
    g->stack_size = g->stride - (g->phases - 1) * page - g->guard_size -
                    g->tail - page + head - slack;
    return true;
}

/* Where a block begins, with its guard; and so where the one before it ends. */
static char *
begin_of(const struct geometry *g, const struct slab *slab, size_t index)
{
    size_t phase = index * PHASE_STEP % g->phases * g->page;

    return slab->base + index * g->stride + g->first_phase + phase;
}

static struct block *
block_at(const struct geometry *g, const struct slab *slab, uint32_t index)
{
    size_t head = g->page - g->record_size - (g->data_size ? HOT_DATA : 0);
    size_t colour = index % g->colours * COLOUR;
    char *hot = begin_of(g, slab, (size_t)index + 1) - g->tail - g->page;

    return (struct block *)(hot + head - colour);
}

static size_t
slab_size(const struct geometry *g, uint32_t count)
{
    return count * g->stride + g->rest;
}

/* --- slabs -------------------------------------------------------------- */

static void
slab_link(struct slab **list, struct slab *slab)
{
    slab->next = *list;
    slab->link = list;
    if (slab->next)
        slab->next->link = &slab->next;
    *list = slab;
}

static void
slab_unlink(struct slab *slab)
{
    *slab->link = slab->next;
    if (slab->next)
        slab->next->link = slab->link;
}

static bool
slab_is_full(const struct slab *slab)
{
    return slab->carved == slab->count && !slab->vacancies;
}

/* The vacant block with the lowest index; there must be one. */
static uint32_t
slab_take_vacant(struct slab *slab)
{
    uint32_t word = 0, bit;

    while (!slab->vacant[word])
        word++;
    bit = (uint32_t)__builtin_ctzll(slab->vacant[word]);
    slab->vacant[word] &= slab->vacant[word] - 1;
    slab->vacancies--;
    return word * WORD + bit;
}

static void
slab_add_vacant(struct slab *slab, uint32_t index)
{
    slab->vacant[index / WORD] |= (uint64_t)1 << index % WORD;
    slab->vacancies++;
}

/* Whether no block of it is out. */
static bool
slab_is_empty(const struct slab *slab)
{
    return slab->carved == slab->vacancies;
}

/* Of what address space there may be, a slab is a small part: the program needs
 * some as well. */
static uint32_t
slab_count(const struct arena *arena)
{
    size_t most = os_address_space() / 16 / arena->geometry.stride;

    if (most >= arena->next_slab)
        return arena->next_slab;
    return most ? (uint32_t)most : 1;
}

/* Where there is little address space left, smaller slabs may still fit. */
static struct slab *
slab_map(struct arena *arena)
{
    const struct geometry *g = &arena->geometry;
    uint32_t count = slab_count(arena);

    for (; count; count /= 2) {
        size_t size = slab_size(g, count);
        size_t bits = round_up(count, WORD) / 8; /* bytes */
        struct slab *slab = malloc(sizeof *slab + bits);

        if (!slab)
            continue;
        /* calloc() passes glibc's cache of small sizes by. */
        *slab = (struct slab){.base = os_reserve(size, g->alignment),
                              .count = count};
        memset(slab->vacant, 0, bits);
        if (!slab->base) {
            free(slab);
            continue;
        }
        arena->slab_count++;
        arena->mapped_bytes += size;
        if (arena->next_slab < arena->options.last_slab)
            arena->next_slab *= 2;
        return slab;
    }
    return NULL;
}

/* An empty slab. If the kernel refuses, it stays as it is. */
static void
slab_unmap(struct arena *arena, struct slab *slab)
{
    size_t size = slab_size(&arena->geometry, slab->count);

    if (!os_unmap(slab->base, size))
        return;
    slab_unlink(slab);
    arena->slab_count--;
    arena->mapped_bytes -= size;
    arena->vacant -= slab->vacancies;
    free(slab);
}

/* --- arena -------------------------------------------------------------- */

enum co_status
arena_init(struct arena *arena, const struct arena_options *options)
{
    memset(arena, 0, sizeof *arena);
    if (!geometry_init(&arena->geometry, options))
        return CO_BAD_OPTION;
    arena->options = *options;
    arena->next_slab = options->first_slab;
    if (pthread_mutex_init(&arena->lock, NULL) != 0)
        return CO_NO_MEMORY;
    return CO_OK;
}

static void
unmap_all(struct arena *arena, struct slab *slab)
{
    struct slab *next;

    for (; slab; slab = next) {
        next = slab->next;
        (void)os_unmap(slab->base, slab_size(&arena->geometry, slab->count));
        free(slab);
    }
}

void
arena_fini(struct arena *arena)
{
    unmap_all(arena, arena->room);
    unmap_all(arena, arena->full);
    pthread_mutex_destroy(&arena->lock);
}

/* Makes the next n blocks accessible. With the last of them goes what is left
 * of the slab, which so is one mapping. But a guard that is protected memory
 * stays as the slab was mapped. */
static bool
open_blocks(const struct arena *arena, const struct slab *slab, uint32_t n)
{
    const struct geometry *g = &arena->geometry;
    uint32_t end = slab->opened + n;
    char *low = begin_of(g, slab, slab->opened), *high = begin_of(g, slab, end);

    if (arena->options.guard == CO_GUARD_MPROTECT) {
        low += g->guard_size;
    } else {
        if (!slab->opened)
            low = slab->base;
        if (end == slab->count)
            high = slab->base + slab_size(g, slab->count);
    }
    return os_open(low, (size_t)(high - low));
}

/* One or more of them, in order, so that they stay one mapping: as many as the
 * slab has open already, up to a few, since a system call for each would cost
 * as much as its guard. Where that is more than there may be, fewer. */
static bool
slab_open(const struct arena *arena, struct slab *slab)
{
    uint32_t n = slab->opened < OPEN_AHEAD ? slab->opened : OPEN_AHEAD;

    if (n > slab->count - slab->opened)
        n = slab->count - slab->opened;
    if (!n || arena->options.guard == CO_GUARD_MPROTECT)
        n = 1;
    for (; n; n /= 2) {
        if (open_blocks(arena, slab, n)) {
            slab->opened += n;
            return true;
        }
    }
    return false;
}

/* Memory that the program has locked can't have a guard region, which would
 * take its pages away; it can be protected, at the price of two mappings. What
 * is opened is not locked, but a mlockall() may come before the guard. */
static bool
guard(const struct arena *arena, char *low)
{
    size_t size = arena->geometry.guard_size;

    return arena->options.guard != CO_GUARD_MADVISE ||
           os_guard(low, size, CO_GUARD_MADVISE) ||
           (errno == EINVAL && os_guard(low, size, CO_GUARD_MPROTECT));
}

/* A block that was never out: its guard is made now, not when the slab was
 * mapped, so that a slab costs one system call, and a fork() copies no guards
 * that nobody needs. */
static struct block *
carve(struct arena *arena, struct slab *slab)
{
    const struct geometry *g = &arena->geometry;

    if (slab->carved == slab->opened && !slab_open(arena, slab))
        return NULL;
    if (!guard(arena, begin_of(g, slab, slab->carved)))
        return NULL;
    return block_at(g, slab, slab->carved++);
}

static struct block *
take_locked(struct arena *arena, enum co_status *status)
{
    const struct geometry *g = &arena->geometry;
    struct slab *slab = arena->room;
    struct block *block;
    uint32_t index;

    if (arena->out >= arena->options.max_blocks) {
        *status = CO_AT_CAP;
        return NULL;
    }
    *status = CO_NO_MEMORY;
    if (!slab) {
        slab = slab_map(arena);
        if (!slab)
            return NULL;
        slab_link(&arena->room, slab);
    }
    if (slab->vacancies) {
        index = slab_take_vacant(slab);
        arena->vacant--;
        block = block_at(g, slab, index);
    } else {
        index = slab->carved;
        block = carve(arena, slab);
        if (!block)
            return NULL;
    }
    if (slab_is_full(slab)) {
        slab_unlink(slab);
        slab_link(&arena->full, slab);
    }
    arena->taken++;
    arena->out++;
    if (arena->out > arena->peak)
        arena->peak = arena->out;
    *status = CO_OK;

    block->slab = slab;
    block->index = index;
    block->low = begin_of(g, slab, index) + g->guard_size;
    block->data = (char *)block + g->record_size;
    block->san_id = san_stack_new(block->low, block_stack_top(block));
    return block;
}

struct block *
arena_take(struct arena *arena, enum co_status *status)
{
    struct block *block;

    pthread_mutex_lock(&arena->lock);
    block = take_locked(arena, status);
    pthread_mutex_unlock(&arena->lock);
    return block;
}

void
arena_give(struct arena *arena, struct block *block)
{
    const struct geometry *g = &arena->geometry;
    struct slab *slab = block->slab;
    uint32_t index = block->index;
    char *low = block->low, *end = block->data + block_data_size(g, block);
    bool discarded = true;

    san_stack_gone(block->san_id);
    if (arena->options.keep_empty)
        discarded = os_discard(low, (size_t)(end - low));

    pthread_mutex_lock(&arena->lock);
    CO_ASSERT(arena->out > 0 && slab->vacancies < slab->carved);
    if (slab_is_full(slab)) {
        slab_unlink(slab);
        slab_link(&arena->room, slab);
    }
    slab_add_vacant(slab, index);
    arena->vacant++;
    arena->out--;
    arena->discards += discarded;
    if (!arena->options.keep_empty && slab_is_empty(slab))
        slab_unmap(arena, slab);
    pthread_mutex_unlock(&arena->lock);
}

void
arena_discard_deep(struct arena *arena, struct block *block)
{
    const struct geometry *g = &arena->geometry;
    size_t in_page = (uintptr_t)block & (g->page - 1);
    size_t stack = (size_t)((char *)block - in_page - block->low);
    size_t near = round_up(NEAR, g->page);
    bool discarded;

    if (stack <= near)
        return; /* a small stack of large pages */
    discarded = os_discard(block->low, stack - near);
    pthread_mutex_lock(&arena->lock);
    arena->discards += discarded;
    pthread_mutex_unlock(&arena->lock);
}

/* A red zone is less than a page, of which one is left. */
void
arena_discard_below(struct arena *arena, struct block *block, char *sp)
{
    size_t page = arena->geometry.page;
    size_t unused = (size_t)(sp - block->low) / page;
    bool discarded;

    if (unused < 2)
        return;
    discarded = os_discard(block->low, (unused - 1) * page);
    pthread_mutex_lock(&arena->lock);
    arena->discards += discarded;
    pthread_mutex_unlock(&arena->lock);
}

void
arena_trim(struct arena *arena)
{
    struct slab *slab, *next;

    pthread_mutex_lock(&arena->lock);
    for (slab = arena->room; slab; slab = next) {
        next = slab->next;
        if (slab_is_empty(slab))
            slab_unmap(arena, slab);
    }
    if (!arena->room && !arena->full)
        arena->next_slab = arena->options.first_slab;
    pthread_mutex_unlock(&arena->lock);
}

static uint32_t
count_vacant(const struct slab *slab)
{
    uint32_t n = 0, word;

    for (word = 0; word * WORD < slab->count; word++)
        n += (uint32_t)__builtin_popcountll(slab->vacant[word]);
    return n;
}

static bool
check_slabs(struct slab *const *list, bool full, size_t *slabs, size_t *out,
            size_t *vacant)
{
    const struct slab *slab;

    for (slab = *list; slab; list = &slab->next, slab = slab->next) {
        if (slab->link != list || slab_is_full(slab) != full ||
            slab->opened > slab->count || slab->carved > slab->opened ||
            slab->vacancies > slab->carved ||
            slab->vacancies != count_vacant(slab))
            return false;
        ++*slabs;
        *out += slab->carved - slab->vacancies;
        *vacant += slab->vacancies;
    }
    return true;
}

bool
arena_check(struct arena *arena)
{
    size_t slabs = 0, out = 0, vacant = 0;
    bool ok;

    pthread_mutex_lock(&arena->lock);
    ok = check_slabs(&arena->room, false, &slabs, &out, &vacant) &&
         check_slabs(&arena->full, true, &slabs, &out, &vacant) &&
         slabs == arena->slab_count && out == arena->out &&
         vacant == arena->vacant;
    pthread_mutex_unlock(&arena->lock);
    return ok;
}
