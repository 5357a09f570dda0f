/* SPDX-License-Identifier: MIT */
#include "face/outlook.h"

void
outlook_learn(struct outlook *before, const struct outlook *outlook,
              const void *face, const struct strand *s)
{
    before->sure =
        !before->later_strand || before->later_strand == (uintptr_t)s;
    before->later_face = (uintptr_t)face;
    before->later_outlook = (uintptr_t)outlook;
    before->later_strand = (uintptr_t)s;
}

void
outlook_ask(struct thread_record *t, struct outlook *outlook, const void *face,
            const struct strand *s)
{
    uintptr_t further; /* from this strand to the one that comes later */

    outlook_fetch_strand((uintptr_t)s, outlook->sp, outlook->top);
    outlook_note(t, outlook, face, s);
    if (!outlook->sure)
        return;
    /* That is taken to be as deep as this one. */
    further = outlook->later_strand - (uintptr_t)s;
    outlook_fetch(outlook->later_face, 1);
    outlook_fetch(outlook->later_outlook, sizeof *outlook + CACHE_LINE);
    outlook_fetch_strand(outlook->later_strand, outlook->sp + further,
                         outlook->top + further);
}
