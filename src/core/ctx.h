/* SPDX-License-Identifier: MIT
 *
 * A context: a flow of control that has a stack and is not running. This is
 * all that the rest knows of the machine; arch/ has the part of each. Used by
 * coro.c and by the binding's strands.
 *
 * Thread rule: a context is owned by whoever may switch to it next.
 */
#ifndef COPOOL_CTX_H
#define COPOOL_CTX_H

#include <stddef.h>

#if defined(__x86_64__)
#    include "arch/x86_64.h"
#elif defined(__aarch64__)
#    include "arch/aarch64.h"
#endif

#include "san.h"

struct ctx {
    struct arch_ctx arch; /* only valid when not running */
    struct san_ctx san;
};

/* The entry of a context: gets the value of the first switch to it and must
 * end by ctx_leave(), never by returning. */
typedef void ctx_entry(void *value);

/* Makes ctx start at entry, on the stack from low up to top. Both stay the
 * caller's. Writes at most a word below top. The entry begins with
 * ARCH_OUTERMOST_FRAME(). */
static inline void
ctx_make(struct ctx *ctx, void *low, void *top, ctx_entry *entry)
{
    san_make(&ctx->san, low, (size_t)((char *)top - (char *)low));
    arch_make(&ctx->arch, top, entry);
}

/* Gives a context that is about to be switched to for the first time the
 * floating-point control words of `from`, which is running. */
static inline void
ctx_inherit(struct ctx *ctx, struct ctx *from, enum arch_control bits)
{
    arch_inherit(&ctx->arch, &from->arch, bits);
}

/* Goes on in `to`, which sees `value`; returns what is passed to the switch
 * that comes back to `from`. What controls the floating-point units belongs to
 * the context: all of it, or with ARCH_WATCH_CONTROL rounding and traps as
 * <fenv.h> sets them. A context is always left in the same way.
 *
 * Inlined, and so a function that calls it must not be inlined where it could
 * run in two threads: see coro.c. */
static inline void *
ctx_switch(struct ctx *from, struct ctx *to, void *value)
{
    san_before_switch(&from->san, &to->san);
    arch_prepare(&from->arch, &to->arch, ARCH_READ_CONTROL);
    value = arch_jump(&from->arch, &to->arch, value);
    san_after_switch(&from->san);
    return value;
}

/* The first switch to `to`, with ctx_inherit(). */
static inline void *
ctx_begin(struct ctx *from, struct ctx *to, void *value)
{
    ctx_inherit(to, from, ARCH_READ_CONTROL);
    san_before_switch(&from->san, &to->san);
    value = arch_jump(&from->arch, &to->arch, value);
    san_after_switch(&from->san);
    return value;
}

/* What ctx_switch() does ahead of the jump and behind it, for switch.h, which
 * jumps itself. Only in functions marked CTX_STEP: they return after they have
 * told a sanitizer that another stack is in use. */
static inline void
ctx_depart(struct ctx *from, struct ctx *to)
{
    san_before_switch(&from->san, &to->san);
    arch_prepare(&from->arch, &to->arch, ARCH_WATCH_CONTROL);
}

static inline void
ctx_arrive(struct ctx *self)
{
    san_after_switch(&self->san);
}

#define CTX_STEP __attribute__((no_sanitize("address", "thread")))

/* A switch for the last time: nothing will come back to `from`. */
_Noreturn static inline void
ctx_leave(struct ctx *from, struct ctx *to, void *value, enum arch_control bits)
{
    /* The other way round, arch_prepare()'s variables would lie in what
     * AddressSanitizer has just been told to free. */
    arch_prepare(&from->arch, &to->arch, bits);
    san_before_leave(&from->san, &to->san);
    arch_jump(&from->arch, &to->arch, value);
    __builtin_unreachable();
}

/* Calls fn(arg) on the stack of `below`, which is not running, under what
 * stands there, and returns what it does. The caller's context goes on in it;
 * until it returns nothing may switch to `below`, or use that stack otherwise.
 * `owner` is the context that the stack was made for, if not `below` itself:
 * sanitizers know its bounds by that. In ctx.c. */
void *ctx_call_below(const struct ctx *below, const struct ctx *owner,
                     void *(*fn)(void *arg), void *arg);

/* The stack pointer of a context that is not running. */
static inline void *
ctx_stack_pointer(const struct ctx *ctx)
{
    return ctx->arch.sp;
}

/* To be called on whatever stack comes after a ctx_leave(), or when `ctx` is
 * given up without having finished, before its stack is reused. */
static inline void
ctx_gone(struct ctx *ctx)
{
    san_gone(&ctx->san);
}

#endif
