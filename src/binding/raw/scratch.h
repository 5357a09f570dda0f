/* SPDX-License-Identifier: MIT
 *
 * Memory for whoever may not allocate any, such as a signal handler: taken from
 * the system page by page, given back all at once. And what is kept in it: each
 * thing once, found by its hash.
 *
 * Thread rule: none is needed; it belongs to whoever uses it.
 */
#ifndef COPOOL_RAW_SCRATCH_H
#define COPOOL_RAW_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct scratch {
    struct scratch_piece *pieces; /* newest first */
    char *next, *end;             /* of what is free in that */
    bool ran_out;                 /* there was no memory once */
};

/* Zeroed, and aligned to 16. NULL if there is no memory. */
void *scratch_get(struct scratch *scratch, size_t size);

void scratch_free(struct scratch *scratch);

/* What a thing begins with. */
struct thing {
    uint64_t hash;
};

struct things {
    struct thing **slots;
    size_t size, count; /* size is a power of two, or 0 */
    bool ran_out;
};

/* The thing of that hash which is the same as the key is about, or NULL. */
void *things_find(const struct things *things, uint64_t hash,
                  bool (*is_same)(const struct thing *, const void *key),
                  const void *key);

/* False if there is no memory. */
bool things_add(struct things *things, struct thing *thing);

/* ran_out is kept. */
void things_free(struct things *things);

/* A hash of both. */
static inline uint64_t
hash_with(uint64_t hash, uint64_t more)
{
    hash = (hash ^ more) + 0x9e3779b97f4a7c15;
    hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9;
    hash = (hash ^ hash >> 27) * 0x94d049bb133111eb;
    return hash ^ hash >> 31;
}

#endif
