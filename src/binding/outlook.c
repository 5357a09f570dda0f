/* SPDX-License-Identifier: MIT */
#include "outlook.h"

/* Who is entered came after the one that was entered some time before. */
static void
learn(struct outlook *before, const struct outlook *outlook, const void *face,
      const struct strand *s)
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
    struct outlook *before = t->entered[OUTLOOK_AHEAD - 1];
    uintptr_t further; /* from this strand to the one that comes later */

    outlook_fetch_strand((uintptr_t)s, outlook->sp, outlook->top);
    for (unsigned i = OUTLOOK_AHEAD - 1; i > 0; i--)
        t->entered[i] = t->entered[i - 1];
    t->entered[0] = outlook;
    if (before && before != outlook)
        learn(before, outlook, face, s);
    if (!outlook->sure)
        return;
    /* That is taken to be as deep as this one. */
    further = outlook->later_strand - (uintptr_t)s;
    outlook_fetch(outlook->later_face, 1);
    outlook_fetch(outlook->later_outlook, sizeof *outlook + CACHE_LINE);
    outlook_fetch_strand(outlook->later_strand, outlook->sp + further,
                         outlook->top + further);
}
