/* SPDX-License-Identifier: MIT
 *
 * Enter, yield and the end of a coroutine.
 *
 *      caller                         coroutine
 *      co_enter(co, a, &r)
 *        current = co    --- a --->   fn(a) starts, or co_yield() returns a
 *                                     ...
 *        r = b           <-- b ----   co_yield(b), or fn returns b
 *      current = the caller again
 *
 * A coroutine may be resumed in another thread, so that after a switch no
 * address of a thread-local variable computed before it may be used. None is:
 * the functions here that use such variables don't switch, and switch.h, which
 * does, has none.
 */
#include "coro.h"

#include "check.h"
#include "pool.h"

static CO_THREAD_LOCAL struct coro *current;

/* The thread's own flow of control, while a coroutine runs in it. */
static CO_THREAD_LOCAL struct ctx outermost;

static void
run(void *first)
{
    /* Set by co_enter() in the thread where this runs now. */
    struct coro *co = current;
    void *result;

    ARCH_OUTERMOST_FRAME();
    san_after_switch(&co->ctx.san);
    result = co->fn(first);
    co->finished = true;
    ctx_leave(&co->ctx, co->caller, result, ARCH_WATCH_CONTROL);
}

enum co_status
co_create(co_pool *pool, co_fn *fn, co_t **result)
{
    enum co_status status = CO_OK;
    struct block *block = pool_get(pool, &status);
    struct coro *co = (struct coro *)block;

    if (!block)
        return status;
    co->pool = pool;
    co->fn = fn;
    co->caller = NULL;
    co->outer = NULL;
    co->started = co->finished = false;
    ctx_make(&co->ctx, block->low, block_stack_top(block), run);
    *result = co;
    return CO_OK;
}

static void
terminate(struct coro *co)
{
    CO_ASSERT(!co->caller);
    ctx_gone(&co->ctx);
    pool_put(co->pool, &co->block);
}

/* --- enter and yield, around the jump in switch.h ------------------------ */

CTX_STEP struct co_leg
co_enter_begin(co_t *co)
{
    struct coro *outer = current;
    struct ctx *here = outer ? &outer->ctx : &outermost;

    if (CO_UNLIKELY(co->caller || co->finished))
        return (struct co_leg){.to = NULL};
    co->caller = here;
    co->outer = outer;
    current = co;
    if (CO_UNLIKELY(!co->started)) {
        co->started = true;
        ctx_inherit(&co->ctx, here, ARCH_WATCH_CONTROL);
    }
    ctx_depart(here, &co->ctx);
    return (struct co_leg){.from = &here->arch, .to = &co->ctx.arch};
}

CTX_STEP enum co_status
co_enter_end(co_t *co)
{
    CO_ASSERT(current == co);
    ctx_arrive(co->caller);
    current = co->outer;
    co->caller = NULL;
    co->outer = NULL;
    if (CO_LIKELY(!co->finished))
        return CO_OK;
    terminate(co);
    return CO_FINISHED;
}

CTX_STEP struct co_leg
co_yield_begin(void)
{
    struct coro *co = current;

    if (CO_UNLIKELY(!co))
        return (struct co_leg){.to = NULL};
    ctx_depart(&co->ctx, co->caller);
    return (struct co_leg){.from = &co->ctx.arch, .to = &co->caller->arch};
}

#if defined(CO_ASAN)
CTX_STEP void
co_yield_end(void)
{
    ctx_arrive(&current->ctx);
}
#endif

/* --- the thread's own stack ---------------------------------------------- */

/* What runs there enters coroutines as the thread itself does. Where the thread
 * stands meanwhile is put back for the coroutine that is to return to it. */
void *
co_on_thread_stack(co_fn *fn, void *arg)
{
    struct coro *co = current;
    struct ctx before;
    void *result;

    if (!co)
        return fn(arg);
    before = outermost;
    current = NULL;
    result = ctx_call_below(&before, &before, fn, arg);
    CO_ASSERT(!current);
    outermost = before;
    current = co;
    return result;
}

/* --- the rest ----------------------------------------------------------- */

co_t *
co_self(void)
{
    return current;
}

bool
co_entered(const co_t *co)
{
    return co->caller != NULL;
}

enum co_status
co_discard(co_t *co)
{
    if (co->caller)
        return CO_BUSY;
    terminate(co);
    return CO_OK;
}
