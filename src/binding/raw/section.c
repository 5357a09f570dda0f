/* SPDX-License-Identifier: MIT */
#include "raw/section.h"

#include <stdatomic.h>
#include <string.h>

#include "check.h"

enum { VERSION = 1, MOST = 128 };

/* Another version is one that old readers can't read. What is only added to the
 * table does not make one. */
static struct {
    char cookie[16];
    _Atomic(uint32_t) version; /* 0 while the table is being filled in */
    uint32_t count;            /* entries */
    uint32_t entry_size;
    uint32_t name_size;
    struct entry entries[MOST];
} section __attribute__((section(".copool"), used, aligned(32))) = {
    .cookie = "copool section"};

void
section_add(struct entries *entries, const char *name, uint64_t value)
{
    struct entry *entry = entries->next;

    CO_ASSERT(entry < entries->end && strlen(name) < sizeof entry->name);
    strncpy(entry->name, name, sizeof entry->name - 1);
    entry->value = value;
    entries->next++;
}

static struct entry *
find(const char *name)
{
    for (struct entry *e = section.entries; e < section.entries + MOST; e++)
        if (strcmp(e->name, name) == 0)
            return e;
    return NULL;
}

bool
section_find(const char *name, uint64_t *value)
{
    const struct entry *found = find(name);

    if (found)
        *value = found->value;
    return found != NULL;
}

void
section_set(const char *name, uint64_t value)
{
    struct entry *found = find(name);

    if (found)
        found->value = value;
}

bool
section_begin(struct entries *e)
{
    e->next = section.entries;
    e->end = section.entries + MOST;
    return !atomic_load(&section.version);
}

void
section_publish(const struct entries *e)
{
    section.count = (uint32_t)(e->next - section.entries);
    section.entry_size = sizeof(struct entry);
    section.name_size = sizeof e->next->name;
    atomic_store(&section.version, VERSION);
}
