/* SPDX-License-Identifier: MIT
 *
 * A context: a flow of control that has a stack and is not running. This is
 * all that the rest knows of the machine; arch/ has one file for each. Used by
 * coro.c and by the binding's strands.
 *
 * Thread rule: a context is owned by whoever may switch to it next.
 */
#ifndef COPOOL_CTX_H
#define COPOOL_CTX_H

#include <stddef.h>

#include "san.h"

struct ctx {
    void *sp; /* only valid when not running */
    struct san_ctx san;
};

/* The entry of a context: gets the value of the first switch to it and must
 * end by ctx_leave(), never by returning. */
typedef void ctx_entry(void *value);

void *co_arch_switch(void **save, void *load, void *value);
void *co_arch_make(void *top, ctx_entry *entry);

/* Makes ctx start at entry, on the stack from low up to top. Both stay the
 * caller's. Writes 80 to 200 bytes below top. */
static inline void
ctx_make(struct ctx *ctx, void *low, void *top, ctx_entry *entry)
{
    ctx->sp = co_arch_make(top, entry);
    san_make(&ctx->san, low, (char *)top - (char *)low);
}

/* Goes on in `to`, which sees `value`; returns what is passed to the switch
 * that comes back to `from`. Control words of the floating-point units belong
 * to the context, as the ABI has it. */
static inline void *
ctx_switch(struct ctx *from, struct ctx *to, void *value)
{
    san_before_switch(&from->san, &to->san);
    value = co_arch_switch(&from->sp, to->sp, value);
    san_after_switch(&from->san);
    return value;
}

/* The same, for the last time: nothing will come back to `from`. */
_Noreturn static inline void
ctx_leave(struct ctx *from, struct ctx *to, void *value)
{
    san_before_leave(&from->san, &to->san);
    co_arch_switch(&from->sp, to->sp, value);
    __builtin_unreachable();
}

/* To be called on whatever stack comes after a ctx_leave(), or when `ctx` is
 * given up without having finished, before its stack is reused. */
static inline void
ctx_gone(struct ctx *ctx)
{
    san_gone(&ctx->san);
}

#endif
