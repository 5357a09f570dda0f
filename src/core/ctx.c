/* SPDX-License-Identifier: MIT
 *
 * The part of contexts that is not inlined: a call on the stack of another one,
 * and how functions return that are marked ARCH_RETURNS_BY_JUMP.
 */
#include "ctx.h"

#include <stdint.h>

__asm__(ARCH_CALL_ON);
__asm__(ARCH_RETURN_BY_JUMP);

void *arch_call_on(void *sp, void *(*fn)(void *), void *arg);

struct call {
    void *(*fn)(void *arg);
    void *arg;
    struct san_ctx here; /* the caller's stack */
};

/* On the other stack. */
CTX_STEP static void *
make_call(void *arg)
{
    struct call *call = arg;
    void *result;

    san_call_arrive(&call->here);
    result = call->fn(call->arg);
    san_call_return(&call->here);
    return result;
}

CTX_STEP void *
ctx_call_below(const struct ctx *below, const struct ctx *owner,
               void *(*fn)(void *arg), void *arg)
{
    struct call call = {.fn = fn, .arg = arg};
    uintptr_t end = (uintptr_t)ctx_stack_pointer(below) - ARCH_RED_ZONE;
    void *sp = (void *)(end & ~(uintptr_t)15), *result;

    san_call_depart(&call.here, &owner->san, sp);
    result = arch_call_on(sp, make_call, &call);
    san_call_back(&call.here);
    return result;
}
