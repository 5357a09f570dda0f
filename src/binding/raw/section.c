/* SPDX-License-Identifier: MIT */
#include "raw/section.h"

#include <stdatomic.h>

#include "bridge/bridge.h"
#include "coroutine/coroutine.h"
#include "cpython/layout.h"
#include "greenlet/greenlet.h"
#include "process/state.h"

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

#define AT(name, type, field) section_add(e, name, offsetof(type, field))

/* In the form of PY_VERSION_HEX. */
static uint64_t
version_number(void)
{
    unsigned major = 0, minor = 0, micro = 0;

    (void)sscanf(COPOOL_VERSION, "%u.%u.%u", &major, &minor, &micro);
    return major << 24 | minor << 16 | micro << 8 | 0xF0;
}

static void
add_strands(struct entries *e)
{
    section_add(e, "copool", version_number());
    section_add(e, "records", (uintptr_t)&thread_records);
    AT("record.ts", struct thread_record, ts);
    AT("record.next", struct thread_record, next_made);
    AT("record.state", struct thread_record, state);
    AT("record.ident", struct thread_record, ident);
    AT("record.name", struct thread_record, name);
    AT("record.own", struct thread_record, own);
    AT("record.current", struct thread_record, current);
    AT("record.started", struct thread_record, started);
    AT("record.passed", struct thread_record, passed);
    AT("record.switches", struct thread_record, switches);
    AT("record.before", struct thread_record, switches_before);
    section_add(e, "strand.size", sizeof(struct strand));
    AT("strand.next", struct strand, next);
    AT("strand.link", struct strand, link);
    AT("strand.thread", struct strand, thread);
    AT("strand.face", struct strand, face);
    AT("strand.ops", struct strand, ops);
    AT("strand.caller", struct strand, caller);
    AT("strand.finished", struct strand, finished);
    AT("strand.rest", struct strand, slice.rest);
    section_add(e, "strand.rest.times", TSTATE_REST_TOLD);
    AT("strand.since", struct strand, since);
    AT("strand.low", struct strand, block.low);
    AT("strand.sp", struct strand, ctx.arch.sp);
    section_add(e, "strand.fp", /* the next word, whatever the machine's name */
                offsetof(struct strand, ctx.arch.sp) + sizeof(void *));
    AT("strand.pc", struct strand, ctx.arch.pc);
    AT("strand.slice", struct strand, slice);
    AT("strand.root", struct strand, root.frame);
    AT("ops.kind", struct face_ops, kind);
}

static void
add_faces(struct entries *e)
{
    section_add(e, "kind.coroutine", FACE_COROUTINE);
    section_add(e, "kind.greenlet", FACE_GREENLET);
    section_add(e, "kind.bridge", FACE_BRIDGE);
    section_add(e, "state.suspended", SUSPENDED);
    AT("coroutine.fn", Coroutine, fn);
    AT("coroutine.label", Coroutine, label);
    AT("greenlet.dict", PyGreenlet, dict);
    AT("greenlet.more", PyGreenlet, pimpl);
    AT("more.run", struct greenlet, run);
    AT("more.label", struct greenlet, label);
    AT("more.main", struct greenlet, is_main);
    AT("bridge.target", Bridge, target);
    AT("bridge.awaited", Bridge, awaited);
    AT("bridge.strand", Bridge, strand);
    AT("bridge.top", Bridge, top);
    AT("bridge.state", Bridge, state);
    AT("bridge.drives", Bridge, drives);
    AT("bridge.task", Bridge, task);
    AT("bridge.label", Bridge, label);
    AT("bridge.next", Bridge, next);
    AT("bridge.link", Bridge, link);
    AT("state.bridge.type", struct module_state, bridge_type);
    AT("state.bridges", struct module_state, bridges);
    AT("state.times", struct module_state, notes_times);
    AT("label.name", struct label, name);
    AT("label.maker", struct label, maker);
    section_add(e, "task.name", 0); /* not known yet: see chains.h */
}

void
section_init(void)
{
    struct entries e = {section.entries, section.entries + MOST};

    if (atomic_load(&section.version))
        return;
    add_strands(&e);
    add_faces(&e);
    tstate_layout(&e);
    section.count = (uint32_t)(e.next - section.entries);
    section.entry_size = sizeof(struct entry);
    section.name_size = sizeof e.next->name;
    atomic_store(&section.version, VERSION);
}
