/* SPDX-License-Identifier: MIT
 *
 * co_enter() and co_yield(): the end of copool.h, which has their contract, and
 * not to be included otherwise.
 *
 * They are inlined into the caller so that there is no `ret` after the jump
 * from one stack to the other. The processor predicts where a `ret` goes from
 * the last call that it saw, and that was made on the other stack. The
 * functions that are called here begin and end on one stack.
 */
#ifndef COPOOL_SWITCH_H
#define COPOOL_SWITCH_H

#if defined(__x86_64__)
#    include "arch/x86_64.h"
#elif defined(__aarch64__)
#    include "arch/aarch64.h"
#endif

/* From where to where to jump; `to` is NULL if that may not be. */
struct co_leg {
    struct arch_ctx *from, *to;
};

struct co_leg co_enter_begin(co_t *co);
enum co_status co_enter_end(co_t *co);
struct co_leg co_yield_begin(void);

/* Only in a library that is built with AddressSanitizer, as its users are. */
#ifdef __SANITIZE_ADDRESS__
void co_yield_end(void);
#else
static inline void
co_yield_end(void)
{
}
#endif

static inline enum co_status
co_enter(co_t *co, void *send, void **received)
{
    struct co_leg leg = co_enter_begin(co);

    if (__builtin_expect(!leg.to, 0))
        return CO_BUSY;
    send = arch_jump(leg.from, leg.to, send);
    if (received)
        *received = send;
    return co_enter_end(co);
}

static inline enum co_status
co_yield(void *send, void **received)
{
    struct co_leg leg = co_yield_begin();

    if (__builtin_expect(!leg.to, 0))
        return CO_NOT_INSIDE;
    send = arch_jump(leg.from, leg.to, send);
    co_yield_end();
    if (received)
        *received = send;
    return CO_OK;
}

#endif
