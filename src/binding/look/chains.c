/* SPDX-License-Identifier: MIT */
#include "look/chains.h"

#include <unistd.h>

#include "bridge/bridge.h"
#include "coroutine/coroutine.h"
#include "greenlet/greenlet.h"
#include "process/state.h"

size_t chain_task_name;

/* What is linked may be linked in a circle, as far as a reader can tell. */
enum { MOST_FRAMES = 100000, MOST_CALLERS = 1 << 22, MOST_RECORDS = 1 << 20 };

/* --- what has been seen -------------------------------------------------- */

struct sighting {
    struct thing thing;
    uintptr_t address;
};

static bool
is_sighting(const struct thing *thing, const void *address)
{
    return ((const struct sighting *)thing)->address ==
           *(const uintptr_t *)address;
}

/* False if it has been seen before, or can't be noted. */
static bool
see(struct chains *c, uintptr_t address)
{
    uint64_t hash = hash_with(0, address);
    struct sighting *s;

    if (things_find(&c->seen, hash, is_sighting, &address))
        return false;
    s = scratch_get(&c->peek->scratch, sizeof *s);
    if (!s)
        return false;
    s->thing.hash = hash;
    s->address = address;
    return things_add(&c->seen, &s->thing);
}

/* Marks of a strand, beside that it has been shown: of another address, so that
 * they are kept with those. */
enum { TRIES = 4, IN_TRY = 1, ON_THE_WAY = IN_TRY + 2 * TRIES };

static bool
is_on_the_way(struct chains *c, uintptr_t address)
{
    address += ON_THE_WAY;
    return things_find(&c->seen, hash_with(0, address), is_sighting,
                       &address) != NULL;
}

/* --- stacks -------------------------------------------------------------- */

static void
push(struct chains *c, const struct place *place)
{
    if (c->chain.depth == CHAIN_MOST)
        c->chain.is_deeper = true;
    else if (place)
        c->stack[c->chain.depth++] = place;
}

static void
reverse(struct chains *c, size_t from)
{
    size_t to = c->chain.depth;

    while (from + 1 < to) {
        const struct place *place = c->stack[from];

        c->stack[from++] = c->stack[--to];
        c->stack[to] = place;
    }
}

/* From that frame to the one that is `end`, which must be there if the chain
 * hangs from one. False if it ends with the frames of another chain, which it
 * does where that has been left and this one has not been loaded yet. */
static bool
push_frames(struct chains *c, uintptr_t at, uintptr_t end, bool hangs,
            bool skips)
{
    struct peek_frame frame;
    size_t before = c->chain.depth;

    for (int n = 0; at && at != end && n < MOST_FRAMES; n++) {
        if (!peek_frame(c->peek, &frame, at))
            break;
        if (frame.is_root || (hangs && !frame.previous)) {
            c->chain.depth = before;
            c->chain.is_deeper = false;
            return false;
        }
        if (frame.has_begun && !skips)
            push(c, peek_place(c->peek, frame.code, frame.instr));
        if (frame.has_begun)
            skips = false;
        if (c->chain.is_deeper)
            break;
        at = frame.previous;
    }
    return true;
}

/* The frame at which the strand's own ones end, or 0. */
static uintptr_t
end_of(uintptr_t strand)
{
    return strand + offsetof(struct strand, root.frame);
}

static void
push_rested(struct chains *c, uintptr_t at, const struct strand *s)
{
    (void)push_frames(c, peek_rested(c->peek, &s->slice), end_of(at), false,
                      false);
}

static const struct place *
innermost(struct chains *c, uintptr_t at)
{
    struct peek_frame frame;
    struct strand s;
    uintptr_t next;

    if (!peek(c->peek, &s, at, sizeof s))
        return NULL;
    next = peek_rested(c->peek, &s.slice);
    for (int n = 0; next && next != end_of(at) && n < MOST_FRAMES; n++) {
        if (!peek_frame(c->peek, &frame, next) || frame.is_root)
            return NULL;
        if (frame.has_begun)
            return peek_place(c->peek, frame.code, frame.instr);
        next = frame.previous;
    }
    return NULL;
}

/* What is awaited, outermost first: from coroutine to coroutine, into what has
 * a strand, and further in. */
static void
push_awaited(struct chains *c, uintptr_t object)
{
    struct peek_frame frame;
    struct strand s;
    Bridge bridge;

    for (int n = 0; object && n < MOST_FRAMES && !c->chain.is_deeper; n++) {
        if (peek_type(c->peek, object) != c->bridge_type) {
            if (!peek_coroutine(c->peek, object, &frame, &object))
                return;
            push(c, peek_place(c->peek, frame.code, frame.instr));
            continue;
        }
        if (!peek(c->peek, &bridge, object, sizeof bridge) ||
            bridge.state != SUSPENDED)
            return;
        object = (uintptr_t)bridge.target;
        if (bridge.strand) {
            size_t before = c->chain.depth;
            uintptr_t at = (uintptr_t)bridge.strand;

            if (peek(c->peek, &s, at, sizeof s))
                push_rested(c, at, &s);
            reverse(c, before);
            object =
                bridge.top == bridge.strand ? (uintptr_t)bridge.awaited : 0;
        }
    }
}

/* What a chain awaits that waits in await_(): the strand that has called that
 * is the Bridge's own or one that it has entered. */
static void
push_awaited_by(struct chains *c, uintptr_t at, const struct strand *strand)
{
    struct strand s = *strand;
    struct face_ops ops;
    Bridge bridge;

    for (int n = 0; s.caller && n < MOST_CALLERS; n++)
        if (!peek(c->peek, &s, (uintptr_t)s.caller, sizeof s))
            return;
    if (!s.face || !peek(c->peek, &ops, (uintptr_t)s.ops, sizeof ops) ||
        ops.kind != FACE_BRIDGE ||
        !peek(c->peek, &bridge, (uintptr_t)s.face, sizeof bridge) ||
        (uintptr_t)bridge.top != at)
        return;
    push_awaited(c, (uintptr_t)bridge.awaited);
    reverse(c, 0);
}

/* --- what a face knows ---------------------------------------------------- */

static const struct word *
maker_of(struct peek *p, uintptr_t label)
{
    struct label l;

    if (!label || !peek(p, &l, label, sizeof l))
        return NULL;
    return peek_str(p, (uintptr_t)l.maker);
}

static uintptr_t
label_of(struct peek *p, const struct chain *chain)
{
    uintptr_t more;

    switch (chain->kind) {
    case FACE_COROUTINE:
        return peek_word(p, chain->face + offsetof(Coroutine, label));
    case FACE_BRIDGE:
        return peek_word(p, chain->face + offsetof(Bridge, label));
    case FACE_GREENLET:
        more = peek_word(p, chain->face + offsetof(PyGreenlet, pimpl));
        return more ? peek_word(p, more + offsetof(struct greenlet, label)) : 0;
    default:
        return 0;
    }
}

static const struct word *
given_name(struct peek *p, uintptr_t label)
{
    struct label l;

    if (!label || !peek(p, &l, label, sizeof l))
        return NULL;
    return peek_str(p, (uintptr_t)l.name);
}

static const struct word *
name_of_greenlet(struct peek *p, uintptr_t face)
{
    uintptr_t dict = peek_word(p, face + offsetof(PyGreenlet, dict));
    uintptr_t more = peek_word(p, face + offsetof(PyGreenlet, pimpl));
    const struct word *name = peek_str(p, peek_in_dict(p, dict, "name"));

    if (name || !more)
        return name;
    return peek_callable(p,
                         peek_word(p, more + offsetof(struct greenlet, run)));
}

static const struct word *
name_of_bridge(struct peek *p, uintptr_t face)
{
    const struct word *name = NULL;
    uintptr_t task, named;
    Bridge bridge;

    if (!peek(p, &bridge, face, sizeof bridge))
        return NULL;
    task = peek_referent(p, (uintptr_t)bridge.task);
    if (task && task != (uintptr_t)Py_None && chain_task_name) {
        named = peek_word(p, task + chain_task_name);
        name = peek_str(p, named);
        if (!name)
            name = peek_numbered(p, named);
    }
    return name ? name : peek_callable(p, (uintptr_t)bridge.target);
}

const struct word *
chain_name(struct peek *p, const struct chain *chain)
{
    const struct word *name = given_name(p, label_of(p, chain));

    if (name)
        return name;
    switch (chain->kind) {
    case FACE_COROUTINE:
        return peek_callable(
            p, peek_word(p, chain->face + offsetof(Coroutine, fn)));
    case FACE_BRIDGE:
        return name_of_bridge(p, chain->face);
    case FACE_GREENLET:
        return name_of_greenlet(p, chain->face);
    default:
        return NULL;
    }
}

/* --- the chains of a thread ------------------------------------------------
 */

struct record {
    uintptr_t at;
    struct thread_record copy;
    struct module_state state;
    const struct chain_thread *thread;
};

static void
start(struct chains *c, enum chain_state state, int kind, uintptr_t face)
{
    c->chain = (struct chain){
        .kind = kind, .state = state, .stack = c->stack, .face = face};
}

/* The monotonic clock is the system's, so that no number is before it. */
static void
note_rest(struct chains *c, const struct record *r, const struct strand *s)
{
    if (c->chain.state != CHAIN_SUSPENDED || !r->state.notes_times ||
        !(s->slice.rest & TSTATE_REST_TOLD) || !s->since || s->since > c->now)
        return;
    c->chain.has_rested = true;
    c->chain.rested = c->now - s->since;
}

static void
push_running(struct chains *c, const struct record *r, uintptr_t at,
             const struct strand *s, bool hangs)
{
    uintptr_t ts = (uintptr_t)r->copy.ts;

    if (!push_frames(c, peek_running(c->peek, ts), end_of(at), hangs,
                     ts == c->ts_here))
        push_rested(c, at, s);
}

static void
show(struct chains *c, const struct record *r, uintptr_t at,
     const struct strand *s, enum chain_state state)
{
    struct face_ops ops = {.kind = CHAIN_THREAD};

    if (at != r->at + offsetof(struct thread_record, own) &&
        (!peek(c->peek, &ops, (uintptr_t)s->ops, sizeof ops) ||
         ops.kind < FACE_COROUTINE || ops.kind > FACE_BRIDGE)) {
        c->unread++;
        return;
    }
    start(c, state, (int)ops.kind, (uintptr_t)s->face);
    c->chain.thread = r->thread;
    if (state == CHAIN_RUNNING) {
        push_running(c, r, at, s,
                     ops.kind == FACE_COROUTINE || ops.kind == FACE_BRIDGE);
    } else {
        push_awaited_by(c, at, s);
        push_rested(c, at, s);
    }
    if (s->caller)
        c->chain.entered = innermost(c, (uintptr_t)s->caller);
    note_rest(c, r, s);
    c->chain.maker = maker_of(c->peek, label_of(c->peek, &c->chain));
    c->visit(&c->chain, c->arg);
}

static bool
read_strand(struct chains *c, const struct record *r, uintptr_t at,
            struct strand *s)
{
    return peek(c->peek, s, at, sizeof *s) && (uintptr_t)s->thread == r->at;
}

/* Who runs, and who waits for it. */
static void
walk_running(struct chains *c, const struct record *r)
{
    uintptr_t at = (uintptr_t)r->copy.current;
    enum chain_state state = CHAIN_RUNNING;
    struct strand s;

    while (at && read_strand(c, r, at, &s) && see(c, at)) {
        (void)see(c, at + ON_THE_WAY);
        show(c, r, at, &s, state);
        at = (uintptr_t)s.caller;
        state = CHAIN_WAITING;
    }
    if (at)
        c->unread++;
}

/* The thread's own chain, if it is not among those. */
static void
walk_own(struct chains *c, const struct record *r)
{
    uintptr_t at = r->at + offsetof(struct thread_record, own);
    struct strand s;

    if (see(c, at) && read_strand(c, r, at, &s))
        show(c, r, at, &s, CHAIN_SUSPENDED);
}

/* One that has been left has its caller until that has arrived. */
static void
show_rested(struct chains *c, const struct record *r, uintptr_t at,
            struct strand *s)
{
    if (is_on_the_way(c, (uintptr_t)s->caller))
        s->caller = NULL;
    show(c, r, at, s, s->caller ? CHAIN_WAITING : CHAIN_SUSPENDED);
}

/* False if it does not come to the end of the list. */
static bool
walk_list(struct chains *c, const struct record *r, uintptr_t at, unsigned try)
{
    struct strand s;

    while (at && see(c, at + IN_TRY + 2 * try) && read_strand(c, r, at, &s)) {
        if (s.face && see(c, at))
            show_rested(c, r, at, &s);
        at = (uintptr_t)s.next;
    }
    return at == 0;
}

/* Of a thread that goes on meanwhile: what is taken out of a list while we are
 * at it leads elsewhere. What is read so often is what does not change. */
static void
walk_lists(struct chains *c, const struct record *r, size_t list)
{
    for (unsigned try = 0; try < TRIES; try++) {
        if (walk_list(c, r, peek_word(c->peek, r->at + list), try))
            return;
        peek_forget(c->peek);
    }
    c->unread++;
}

static bool
note_thread(struct chains *c, struct record *r)
{
    struct chain_thread *t = scratch_get(&c->peek->scratch, sizeof *t);

    if (!t)
        return false;
    r->copy.name[sizeof r->copy.name - 1] = '\0';
    t->ident = r->copy.ident;
    t->native_id = peek_native_id(c->peek, (uintptr_t)r->copy.ts);
    if (r->copy.name[0])
        t->name = peek_utf8(c->peek, r->copy.name);
    else if (t->native_id == (uint64_t)getpid()) /* no threading was there */
        t->name = peek_utf8(c->peek, "MainThread");
    t->switches = r->copy.switches - r->copy.switches_before;
    *c->last_thread = t;
    c->last_thread = &t->next;
    c->thread_count++;
    r->thread = t;
    return true;
}

/* Calls and tasks whose coroutines wait without a stack are in no thread. */
static void
walk_bridges(struct chains *c, uintptr_t at)
{
    Bridge bridge;

    while (at && see(c, at)) {
        if (!peek(c->peek, &bridge, at, sizeof bridge)) {
            c->unread++;
            return;
        }
        if (bridge.state == SUSPENDED && !bridge.strand) {
            start(c, CHAIN_SUSPENDED, FACE_BRIDGE, at);
            push_awaited(c, at);
            reverse(c, 0);
            c->chain.maker = maker_of(c->peek, (uintptr_t)bridge.label);
            c->visit(&c->chain, c->arg);
        }
        at = (uintptr_t)bridge.next;
    }
}

static void
walk_record(struct chains *c, struct record *r)
{
    uintptr_t state = (uintptr_t)r->copy.state;

    memset(&r->state, 0, sizeof r->state);
    if (state && !peek(c->peek, &r->state, state, sizeof r->state))
        state = 0;
    if (!note_thread(c, r))
        return;
    c->bridge_type = (uintptr_t)r->state.bridge_type;
    walk_running(c, r);
    walk_own(c, r);
    walk_lists(c, r, offsetof(struct thread_record, started));
    walk_lists(c, r, offsetof(struct thread_record, passed));
    if (state && see(c, state))
        walk_bridges(c, (uintptr_t)r->state.bridges);
}

void
chains_walk(struct chains *c)
{
    struct record *r = scratch_get(&c->peek->scratch, sizeof *r);
    uintptr_t at = (uintptr_t)atomic_load(&thread_records);

    c->last_thread = &c->threads;
    c->now = os_monotonic();
    for (int n = 0; r && at && n < MOST_RECORDS; n++) {
        r->at = at;
        peek_forget(c->peek); /* what it has is to be of one moment */
        if (!peek(c->peek, &r->copy, at, sizeof r->copy))
            break;
        if (r->copy.ts)
            walk_record(c, r);
        at = (uintptr_t)r->copy.next_made;
    }
    things_free(&c->seen);
}
