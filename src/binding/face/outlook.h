/* SPDX-License-Identifier: MIT
 *
 * What a switch to a coroutine is going to touch, asked of memory ahead of
 * time.
 *
 * In a crowd that the processor's caches don't hold, a switch would wait for a
 * dozen cache lines one after the other, as each leads to the next: the face,
 * the strand's record, the top of its stack, its innermost frames. So a face
 * that is entered after a long time asks for all of them at once. And it asks
 * for those of who was entered, or began, soon after it when it was entered or
 * began before, as crowds are often gone through in an order: until it was
 * another one, and then when it was the same one twice.
 *
 * These are hints. A prefetch of an address where nothing is any more does
 * nothing, so that nobody has to know when what is to come ends. The rule for
 * who is noted as having been entered is stricter: see outlook_forget().
 *
 * Thread rule: the GIL.
 */
#ifndef COPOOL_FACE_OUTLOOK_H
#define COPOOL_FACE_OUTLOOK_H

#include "strand/strand.h"

/* Addresses are numbers here, since nothing may be there any more. */
struct outlook {
    uint32_t left_at; /* the low half of thread->switches */
    bool sure;        /* the same came later twice in a row, or one so far */
    /* The strand's stack pointer and the end of its frames, when left. */
    uintptr_t sp, top;
    /* Of who was entered, or began, OUTLOOK_AHEAD after it; 0 for nobody. */
    uintptr_t later_face, later_outlook, later_strand;
};

enum {
    /* Switches after which lines are taken to have left the caches that are
     * near: two for each that has been entered. */
    OUTLOOK_LONG = 512,
    /* Of the record from the context on: what strand_switch() touches. */
    OUTLOOK_RECORD_END =
        offsetof(struct strand, root.frame.previous) + sizeof(void *),
    OUTLOOK_STACK = 4 * CACHE_LINE,  /* frames of a yield, in C */
    OUTLOOK_FRAMES = 2 * CACHE_LINE, /* the innermost one, in Python */
};

/* Inlined before the compiler asks what functions are for: it drops one that
 * does nothing but this. */
__attribute__((always_inline)) static inline void
outlook_fetch(uintptr_t low, size_t size)
{
    for (size_t i = 0; i < size; i += CACHE_LINE)
        __builtin_prefetch((const void *)(low + i), 1);
}

__attribute__((always_inline)) static inline void
outlook_fetch_strand(uintptr_t strand, uintptr_t sp, uintptr_t top)
{
    enum { BEGIN = offsetof(struct strand, ctx) };

    outlook_fetch(strand + BEGIN, OUTLOOK_RECORD_END - BEGIN);
    outlook_fetch(sp, OUTLOOK_STACK);
    outlook_fetch(top - OUTLOOK_FRAMES, OUTLOOK_FRAMES);
    outlook_fetch(top - 1, 1);
}

/* `face` came after the one with `before`. */
void outlook_learn(struct outlook *before, const struct outlook *outlook,
                   const void *face, const struct strand *s);

/* Notes that a face is entered. To be called when it has got a strand, too, or
 * has first been left. */
static inline void
outlook_note(struct thread_record *t, struct outlook *outlook, const void *face,
             const struct strand *s)
{
    struct outlook *before = t->entered[OUTLOOK_AHEAD - 1];

    for (unsigned i = OUTLOOK_AHEAD - 1; i > 0; i--)
        t->entered[i] = t->entered[i - 1];
    t->entered[0] = outlook;
    if (CO_UNLIKELY(before && before != outlook))
        outlook_learn(before, outlook, face, s);
}

/* Out of line: it costs nothing where a few coroutines take turns. */
void outlook_ask(struct thread_record *t, struct outlook *outlook,
                 const void *face, const struct strand *s);

/* To be called before a suspended face is entered. */
static inline void
outlook_enter(struct thread_record *t, struct outlook *outlook,
              const void *face, const struct strand *s)
{
    if ((uint32_t)t->switches - outlook->left_at > OUTLOOK_LONG)
        outlook_ask(t, outlook, face, s);
}

/* To be called when it has been left and is suspended. */
static inline void
outlook_leave(struct outlook *outlook, const struct strand *s)
{
    outlook->left_at = (uint32_t)s->thread->switches;
    outlook->sp = (uintptr_t)ctx_stack_pointer(&s->ctx);
    outlook->top = (uintptr_t)s->slice.top;
}

static inline void
outlook_init(struct outlook *outlook)
{
    outlook->sure = false;
    outlook->later_strand = 0;
}

/* To be called when a face has no strand any more: an outlook that the thread
 * has noted is written to. */
static inline void
outlook_forget(struct thread_record *t, const struct outlook *outlook)
{
    for (unsigned i = 0; i < OUTLOOK_AHEAD; i++)
        if (CO_UNLIKELY(t->entered[i] == outlook))
            t->entered[i] = NULL;
}

/* Where a face is freed. */
static inline void
outlook_assert_forgotten(const struct outlook *outlook)
{
    const struct thread_record *t = thread_record_last;

    for (unsigned i = 0; t && i < OUTLOOK_AHEAD; i++)
        CO_ASSERT(t->entered[i] != outlook);
}

#endif
