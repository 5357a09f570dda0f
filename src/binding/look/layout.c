/* SPDX-License-Identifier: MIT */
#include "look/layout.h"

#include <stdio.h>

#include "bridge/bridge.h"
#include "coroutine/coroutine.h"
#include "cpython/layout.h"
#include "greenlet/greenlet.h"
#include "process/state.h"
#include "raw/section.h"

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
    section_add(e, "task.name", 0); /* not known yet: see look/chains.h */
}

void
layout_init(void)
{
    struct entries e;

    if (!section_begin(&e))
        return;
    add_strands(&e);
    add_faces(&e);
    tstate_layout(&e);
    section_publish(&e);
}
