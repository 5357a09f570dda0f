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
    MAX_DATA = 64 << 20,
    /* How the hot page is shared out: this much for the start of the data,
     * the record behind it, and what is left for the top of the stack. */
    HOT_DATA = 1280,
    COLOUR = 64, /* a cache line */
    COLOURS = 16,
    NEAR = 12 * 1024, /* of the stack, below the hot page, is not deep */
};

/* Blocks [0, carved) have been handed out at least once; those of them that
 * came back have a bit in vacant[]. A vacant block holds no pages, so what we
 * need to know of it can't be stored in it. */
struct slab {
    struct slab *next, **link; /* in arena->room or arena->full */
    char *base;
    uint32_t count, carved, vacancies;
    uint64_t vacant[];
};

enum { WORD = 64 };

/* --- geometry ----------------------------------------------------------- */

static size_t
round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

bool
geometry_init(struct geometry *g, const struct arena_options *options)
{
    size_t page = os_page_size();
    size_t record = round_up(options->record_size, 16);
    size_t slack = COLOURS * COLOUR;
    size_t head, tail;

    if (options->stack_size < MIN_STACK || options->stack_size > MAX_STACK ||
        options->data_size > MAX_DATA || record < sizeof(struct block) ||
        record > page - HOT_DATA - 2 * slack)
        return false;
    g->page = page;
    g->guard_size = options->guard == CO_GUARD_NONE ? 0 : page;
    g->record_size = record;
    g->data_size = options->data_size;
    g->colours = COLOURS;

    /* The record moves down by a colour, so the stack is shortest and the
     * data longest for the last colour. head: bytes of the hot page below the
     * record, for the first colour; tail: bytes above it in whole pages. */
    head = page - record - (options->data_size ? HOT_DATA : 0);
    tail = 0;
    if (options->data_size > HOT_DATA)
        tail = round_up(options->data_size - HOT_DATA, page);
    g->hot_offset =
        g->guard_size + round_up(options->stack_size - (head - slack), page);
    g->stride = g->hot_offset + page + tail;

    /* With an even number of pages the hot pages of all blocks would compete
     * for a few sets of the address translation cache. */
    if (g->stride / page % 2 == 0) {
        g->hot_offset += page;
        g->stride += page;
    }
    g->stack_size = g->hot_offset + head - slack - g->guard_size;
    return true;
}

static struct block *
block_at(const struct geometry *g, const struct slab *slab, uint32_t index)
{
    size_t head = g->page - g->record_size - (g->data_size ? HOT_DATA : 0);
    size_t colour = index % g->colours * COLOUR;

    return (struct block *)(slab->base + index * g->stride + g->hot_offset +
                            head - colour);
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

/* Where address space is limited, smaller slabs may still fit. */
static struct slab *
slab_map(struct arena *arena)
{
    uint32_t count = arena->next_slab;

    for (; count; count /= 2) {
        size_t size = count * arena->geometry.stride;
        size_t bits = round_up(count, WORD) / 8; /* bytes */
        struct slab *slab = malloc(sizeof *slab + bits);

        if (!slab)
            continue;
        /* calloc() passes glibc's cache of small sizes by. */
        *slab = (struct slab){.base = os_map(size), .count = count};
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
    size_t size = slab->count * arena->geometry.stride;

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
        (void)os_unmap(slab->base, slab->count * arena->geometry.stride);
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

/* Memory that the program has locked can't have a guard region, which would
 * take its pages away; a protected page it can have, at the price of two
 * mappings. It may be all of a slab or a part, by a mlockall() meanwhile. */
static bool
guard(const struct arena *arena, char *low)
{
    size_t size = arena->geometry.guard_size;
    enum co_guard kind = arena->options.guard;

    return !size || os_guard(low, size, kind) ||
           (kind == CO_GUARD_MADVISE && errno == EINVAL &&
            os_guard(low, size, CO_GUARD_MPROTECT));
}

/* A block that was never out: its guard is made now, not when the slab was
 * mapped, so that a slab costs one system call. */
static struct block *
carve(struct arena *arena, struct slab *slab)
{
    const struct geometry *g = &arena->geometry;
    char *low = slab->base + slab->carved * g->stride;

    if (!guard(arena, low))
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
    block->low = slab->base + index * g->stride + g->guard_size;
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
    char *low = block->low;
    bool discarded = true;

    san_stack_gone(block->san_id);
    if (arena->options.keep_empty)
        discarded = os_discard(low, g->stride - g->guard_size);

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
    size_t stack = g->hot_offset - g->guard_size;
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
            slab->carved > slab->count || slab->vacancies > slab->carved ||
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
