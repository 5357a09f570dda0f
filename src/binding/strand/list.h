/* SPDX-License-Identifier: MIT
 *
 * The lists that a strand is in, for the files of this folder.
 */
#ifndef COPOOL_STRAND_LIST_H
#define COPOOL_STRAND_LIST_H

#include "strand/record.h"

#include "check.h"

static inline void
strand_link(struct strand **list, struct strand *s)
{
    s->next = *list;
    s->link = list;
    if (s->next)
        s->next->link = &s->next;
    *list = s;
}

static inline void
strand_unlink(struct strand *s)
{
    CO_ASSERT(*s->link == s);
    if (CO_UNLIKELY(s->thread->to_look_at == s))
        s->thread->to_look_at = s->next;
    *s->link = s->next;
    if (s->next)
        s->next->link = s->link;
}

/* It has ended, or is given up, while it waited to be unwound: somebody got
 * hold of it once more. */
static inline void
strand_leave_dropped(struct strand *s)
{
    struct strand **link = &s->thread->dropped;

    while (*link != s)
        link = &(*link)->next_queued;
    *link = s->next_queued;
    s->dropped = false;
}

#endif
