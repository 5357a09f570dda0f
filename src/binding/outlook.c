/* SPDX-License-Identifier: MIT */
#include "outlook.h"

/* Who is entered came after the one that was entered some time before. */
static void
learn(struct outlook *before, const struct outlook *outlook, const void *face,
      const struct strand *s)
{
    before->sure = before->later_strand == s;
    before->later_face = face;
    before->later = outlook;
    before->later_strand = s;
}

void
outlook_ask(struct thread_record *t, struct outlook *outlook, const void *face,
            const struct strand *s)
{
    struct outlook *before = t->entered[OUTLOOK_AHEAD - 1];
    const char *later = (const char *)outlook->later_strand;

    outlook_fetch_strand(s, outlook->sp, outlook->top);
    for (unsigned i = OUTLOOK_AHEAD - 1; i > 0; i--)
        t->entered[i] = t->entered[i - 1];
    t->entered[0] = outlook;
    if (before && before != outlook)
        learn(before, outlook, face, s);
    if (!outlook->sure)
        return;
    /* It is taken to be as deep as this one. */
    outlook_fetch(outlook->later_face, 1);
    outlook_fetch((const char *)outlook->later, sizeof *outlook + CACHE_LINE);
    outlook_fetch_strand(outlook->later_strand,
                         later + (outlook->sp - (const char *)s),
                         later + (outlook->top - (const char *)s));
}
