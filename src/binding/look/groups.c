/* SPDX-License-Identifier: MIT */
#include "look/groups.h"

static bool
is_group(const struct thing *thing, const void *key)
{
    const struct group *group = (const struct group *)thing;
    const struct chain *chain = key;

    return group->kind == chain->kind && group->state == chain->state &&
           group->entered == chain->entered && group->depth == chain->depth &&
           group->is_deeper == chain->is_deeper &&
           memcmp(group->stack, chain->stack,
                  chain->depth * sizeof *chain->stack) == 0;
}

static struct group *
add_group(struct dump *d, const struct chain *chain, uint64_t hash)
{
    size_t size = chain->depth * sizeof *chain->stack;
    struct group *group = scratch_get(&d->peek->scratch, sizeof *group + size);

    if (!group)
        return NULL;
    memcpy(group + 1, chain->stack, size);
    group->thing.hash = hash;
    group->kind = chain->kind;
    group->state = chain->state;
    group->entered = chain->entered;
    group->stack = (const struct place *const *)(group + 1);
    group->depth = chain->depth;
    group->is_deeper = chain->is_deeper;
    group->thread = chain->thread;
    group->newest = UINT64_MAX;
    if (!things_add(&d->groups, &group->thing))
        return NULL;
    *d->last = group;
    d->last = &group->next;
    d->group_count++;
    return group;
}

static struct group *
group_of(struct dump *d, const struct chain *chain)
{
    uint64_t hash = hash_with((uint64_t)chain->kind, chain->state);
    struct group *group;

    hash = hash_with(hash, (uintptr_t)chain->entered);
    for (size_t i = 0; i < chain->depth; i++)
        hash = hash_with(hash, (uintptr_t)chain->stack[i]);
    group = things_find(&d->groups, hash, is_group, chain);
    return group ? group : add_group(d, chain, hash);
}

static void
add_name(struct dump *d, struct group *group, const struct chain *chain)
{
    const struct word *name;

    if (group->has_more_names)
        return;
    name = chain_name(d->peek, chain);
    for (unsigned i = 0; i < group->name_count; i++)
        if (group->names[i] == name)
            return;
    if (name && group->name_count < FEW_NAMES)
        group->names[group->name_count++] = name;
    else if (name)
        group->has_more_names = true;
}

static void
add_maker(struct group *group, const struct word *maker)
{
    for (int i = 0; maker && i < FEW_MAKERS; i++) {
        if (group->makers[i].maker && group->makers[i].maker != maker)
            continue;
        group->makers[i].maker = maker;
        group->makers[i].count++;
        return;
    }
}

static void
add_rest(struct group *group, const struct chain *chain)
{
    if (!chain->has_rested)
        return;
    group->has_rested = true;
    if (chain->rested < group->newest)
        group->newest = chain->rested;
    if (chain->rested > group->oldest)
        group->oldest = chain->rested;
}

/* Threads are visited one after the other. */
static void
add_thread(struct group *group, const struct chain_thread *thread)
{
    if (thread && thread != group->last_thread)
        group->threads++;
    group->last_thread = thread;
}

void
dump_visit(const struct chain *chain, void *arg)
{
    struct dump *d = arg;
    struct group *group;

    d->total++;
    if (d->options->age &&
        (!chain->has_rested || chain->rested <= d->options->older_than))
        return;
    group = group_of(d, chain);
    if (!group) {
        d->chains.unread++;
        return;
    }
    d->wanted++;
    group->count++;
    add_thread(group, chain->thread);
    add_name(d, group, chain);
    add_maker(group, chain->maker);
    add_rest(group, chain);
}

static bool
goes_before(const struct group *a, const struct group *b)
{
    return a->count > b->count ||
           (a->count == b->count && a->state <= b->state);
}

/* Takes what is in order off the first list and the second. */
static struct group *
merge(struct group *a, struct group *b)
{
    struct group *first = NULL, **last = &first;

    while (a && b) {
        struct group **from = goes_before(a, b) ? &a : &b;

        *last = *from;
        last = &(*from)->next;
        *from = *last;
    }
    *last = a ? a : b;
    return first;
}

void
dump_sort(struct dump *d)
{
    struct group *sorted[64] = {NULL}, *all = NULL;

    for (struct group *next, *one = d->first; one; one = next) {
        int i = 0;

        next = one->next;
        one->next = NULL;
        while (sorted[i]) {
            one = merge(sorted[i], one);
            sorted[i++] = NULL;
        }
        sorted[i] = one;
    }
    for (int i = 0; i < 64; i++)
        all = merge(sorted[i], all);
    d->first = all;
}
