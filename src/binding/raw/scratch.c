/* SPDX-License-Identifier: MIT */
#include "raw/scratch.h"

#include "os.h"

enum { PIECE = 1 << 20, FIRST_SLOTS = 4096 };

struct scratch_piece {
    struct scratch_piece *next;
    size_t size;
};

static bool
add_piece(struct scratch *scratch, size_t least)
{
    size_t size = PIECE;
    struct scratch_piece *piece;

    while (size < least + 64)
        size *= 2;
    piece = os_map(size);
    if (!piece)
        return false;
    piece->next = scratch->pieces;
    piece->size = size;
    scratch->pieces = piece;
    scratch->next = (char *)piece + 64;
    scratch->end = (char *)piece + size;
    return true;
}

void *
scratch_get(struct scratch *scratch, size_t size)
{
    char *found;

    size = (size + 15) & ~(size_t)15;
    if (size > (size_t)(scratch->end - scratch->next) &&
        !add_piece(scratch, size)) {
        scratch->ran_out = true;
        return NULL;
    }
    found = scratch->next;
    scratch->next += size;
    return found;
}

void
scratch_free(struct scratch *scratch)
{
    while (scratch->pieces) {
        struct scratch_piece *piece = scratch->pieces;

        scratch->pieces = piece->next;
        (void)os_unmap(piece, piece->size);
    }
    scratch->next = scratch->end = NULL;
}

void *
things_find(const struct things *things, uint64_t hash,
            bool (*is_same)(const struct thing *, const void *),
            const void *key)
{
    size_t mask = things->size - 1;

    if (!things->size)
        return NULL;
    for (size_t i = hash & mask; things->slots[i]; i = (i + 1) & mask)
        if (things->slots[i]->hash == hash && is_same(things->slots[i], key))
            return things->slots[i];
    return NULL;
}

static void
put(struct thing **slots, size_t size, struct thing *thing)
{
    size_t i = thing->hash & (size - 1);

    while (slots[i])
        i = (i + 1) & (size - 1);
    slots[i] = thing;
}

static bool
grow(struct things *things)
{
    size_t size = things->size ? things->size * 2 : FIRST_SLOTS;
    struct thing **slots = os_map(size * sizeof *slots);

    if (!slots)
        return false;
    for (size_t i = 0; i < things->size; i++)
        if (things->slots[i])
            put(slots, size, things->slots[i]);
    if (things->size)
        (void)os_unmap(things->slots, things->size * sizeof *slots);
    things->slots = slots;
    things->size = size;
    return true;
}

bool
things_add(struct things *things, struct thing *thing)
{
    if (things->count >= things->size / 2 && !grow(things)) {
        things->ran_out = true;
        return false;
    }
    put(things->slots, things->size, thing);
    things->count++;
    return true;
}

void
things_free(struct things *things)
{
    if (things->size)
        (void)os_unmap(things->slots, things->size * sizeof *things->slots);
    *things = (struct things){.ran_out = things->ran_out};
}
