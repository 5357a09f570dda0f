/* SPDX-License-Identifier: MIT
 *
 * Code that tools have changed while chains were suspended in it.
 */
#include "strand/hooks.h"

#include "strand/strand.h"

/* At each switch, so that who has many suspended does not wait for all of them
 * when a tool comes or goes. */
enum { RENEW_AT_ONCE = 64 };

static void
renew(struct tstate_renewal *r, struct strand *s)
{
    struct thread_record *t = s->thread;

    if (s != t->current && !s->finished)
        tstate_renew(r, t->ts, &s->slice);
}

/* It was only us who changed it. Where it matters all the same, who goes on is
 * renewed each time. */
static void
rename_version(const struct thread_record *mine, uint64_t old)
{
    uint64_t version = tstate_instrumentation(mine->ts);
    struct thread_record *t = atomic_load(&thread_records);

    if (version == old || TSTATE_INSISTS_ON_VERSION)
        return;
    for (; t; t = t->next_made) {
        if (!t->ts || t->interp != mine->interp)
            continue;
        if (t->instrumentation == old)
            t->instrumentation = version;
        if (t->renewing == old)
            t->renewing = version;
    }
}

void
strand_renew(struct thread_record *t, struct strand *to)
{
    uint64_t version = tstate_instrumentation(t->ts);
    struct tstate_renewal r = {NULL, 0, false};

    if (version == t->instrumentation)
        return; /* there are only flags */
    strand_hooks->look_for_tools(t);
    if (!strand_is_renewing(t) || version != t->renewing) {
        t->instrumentation = STRAND_RENEWING;
        t->renewing = version;
        t->to_look_at = t->started;
    }
    renew(&r, &t->own);
    for (struct strand *s = to; s; s = s->caller)
        renew(&r, s);
    for (int n = 0; t->to_look_at && n < RENEW_AT_ONCE; n++) {
        renew(&r, t->to_look_at);
        t->to_look_at = t->to_look_at->next;
    }
    if (!t->to_look_at && !TSTATE_INSISTS_ON_VERSION)
        t->instrumentation = version;
    tstate_renewal_end(&r);
    for (struct strand *s = to; s; s = s->caller)
        if (s != t->current)
            tstate_confirm(t->ts, &s->slice, version);
    rename_version(t, version);
}
