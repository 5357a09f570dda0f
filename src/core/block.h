/* SPDX-License-Identifier: MIT
 *
 * A block is one contiguous piece of address space that holds all that a
 * coroutine needs:
 *
 *   low                                                               high
 *   [guard][ C stack, grows down ... ][record][data, grows up ......... ]
 *                                  └─ hot page ─┘└──── tail ──────────┘
 *
 * The record starts with a struct block; who uses the block puts its own
 * fields behind that, up to record_size. Stack top, record and the beginning
 * of the data share one page, so that a shallow coroutine touches one page
 * only. Pages are taken on first touch: sizes here are of address space.
 *
 * What of a block takes page tables is where it meets the next one: hot page,
 * tail and the next one's guard region, which has an entry for each page. A
 * page table maps one span, 2 MiB where pages have 4 KiB. Blocks lie close
 *
 *   slab  [0          ][1          ][2          ]      stride: odd in pages
 *
 * but if they are longer than a span and meet in so many pages that these would
 * often lie in two. Then the stride is whole spans, slabs are aligned to one,
 * and a block begins some pages behind its multiple of the stride, its phase,
 * so that what meets lies in the span that begins there:
 *
 *   slab  |..[0        |    ][1      |  ][2        |      ].....|
 *         |  ..guard.. | ..hot,guard | hot,guard.. |            |
 *
 * Phases differ from block to block for the reason for which a stride is odd.
 *
 * An arena maps slabs of blocks of one geometry, doubling their size, and
 * takes blocks back. A slab can't be accessed but for the blocks that have been
 * handed out, and a few more. So what a limit counts, or the system has to
 * promise, is what is in use, and a slab may be large where memory is short. It
 * is the slow path below the pool: it has a lock and makes system calls. Any
 * thread may call any function.
 */
#ifndef COPOOL_BLOCK_H
#define COPOOL_BLOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "copool.h"
#include "os.h"

struct slab;

/* Bytes of a record whose user states no size: co_create()'s. */
enum { DEFAULT_RECORD = 192 };

/* In bytes; a record begins with one. */
enum { CACHE_LINE = 64 };

struct block {
    struct block *next; /* in a list; only valid when idle */
    struct slab *slab;
    char *low;      /* lowest byte of the stack, just above the guard */
    char *data;     /* behind the record, aligned to 16 */
    uint32_t index; /* in its slab */
    unsigned san_id;
    /* Only valid in the first block of a batch that lies in a store. */
    struct block *next_batch;
    size_t batch_length;
};

/* The C stack is [block->low, block): it grows down from the record. */
static inline char *
block_stack_top(struct block *block)
{
    return (char *)block;
}

struct geometry {
    size_t page;
    size_t guard_size;  /* 0 without guards */
    size_t stack_size;  /* of the shortest stack: at least what was asked for */
    size_t record_size; /* with the struct block, in whole cache lines */
    size_t data_size;   /* what was asked for; 0 for none */
    size_t tail;        /* whole pages of data above the hot page */
    size_t stride;      /* from block to block, but for their phases */
    size_t phases;      /* how many there are; 1 where blocks lie close */
    size_t first_phase; /* in bytes */
    size_t alignment;   /* of slabs, which are longer by `rest` than */
    size_t rest;        /* the strides of their blocks */
    size_t colours;     /* positions that the record takes in its page */
};

/* From block->data to the end of the block: that of the tail. */
static inline size_t
block_data_size(const struct geometry *g, const struct block *block)
{
    size_t in_page = (uintptr_t)block & (g->page - 1);

    return g->page + g->tail - g->record_size - in_page;
}

struct arena_options {
    size_t stack_size, record_size, data_size;
    enum co_guard guard; /* resolved */
    size_t guard_size;   /* not zero, or there is no guard */
    size_t max_blocks;
    uint32_t first_slab, last_slab; /* blocks in the first and largest slab */
    bool keep_empty; /* whether a slab stays mapped when none of it is used */
};

struct arena {
    struct geometry geometry;
    struct arena_options options;
    pthread_mutex_t lock; /* for all below */
    struct slab *room;    /* slabs that can hand out a block */
    struct slab *full;    /* slabs of which every block is out */
    uint32_t next_slab;   /* blocks in the next slab to be mapped */
    size_t slab_count, mapped_bytes;
    size_t out;    /* blocks handed out and not given back */
    size_t vacant; /* blocks given back, in slabs still mapped */
    size_t peak;   /* the largest that `out` ever was */
    uint64_t taken, discards;
};

/* Lays out blocks; false if the sizes cannot be or overflow. */
bool geometry_init(struct geometry *g, const struct arena_options *options);

enum co_status arena_init(struct arena *arena,
                          const struct arena_options *options);

/* Unmaps everything; every block must have been given back or be forgotten. A
 * slab that the kernel refuses to unmap stays as address space without pages.
 */
void arena_fini(struct arena *arena);

/* A block with its struct block filled in and the rest of its record zero if
 * it is fresh, unspecified else. On failure NULL and the reason; a block that
 * was not made accessible, or whose guard was refused, is tried again by the
 * next call. */
struct block *arena_take(struct arena *arena, enum co_status *status);

/* Gives the block's pages back to the kernel and the block to the arena. If the
 * kernel refuses to unmap an empty slab, that stays in the arena and is used
 * again. */
void arena_give(struct arena *arena, struct block *block);

/* Gives back the deep pages of the stack, those that a coroutine which calls a
 * few C functions does not touch; the block stays in use. */
void arena_discard_deep(struct arena *arena, struct block *block);

/* Gives back the pages of the stack that lie below what is in use of it: sp is
 * the stack pointer of what is suspended there. */
void arena_discard_below(struct arena *arena, struct block *block, char *sp);

/* Unmaps the slabs of which no block is out. One that the kernel refuses to
 * unmap stays, without pages: it is used again, and tried again next time. */
void arena_trim(struct arena *arena);

/* Recounts. */
bool arena_check(struct arena *arena);

#endif
