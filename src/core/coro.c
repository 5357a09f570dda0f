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
 * address of a thread-local variable computed before it may be used. Only who
 * enters touches such a variable after a switch, and control always comes back
 * to it in the thread that it left: what it entered runs there until then.
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
    ctx_leave(&co->ctx, co->caller, result);
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

/* --- enter and yield ---------------------------------------------------- */

/* From where to where to switch; if `to` is NULL, the status is in its place.
 * Two registers by the ABIs of both machines. */
struct leg {
    union {
        struct ctx *from;
        long status;
    };
    struct ctx *to;
};

static inline struct leg
refuse(enum co_status status)
{
    struct leg leg = {.status = status, .to = NULL};

    return leg;
}

static inline struct leg
enter_begin(co_t *co)
{
    struct coro *outer = current;
    struct ctx *here = outer ? &outer->ctx : &outermost;
    struct leg leg = {.from = here, .to = &co->ctx};

    if (CO_UNLIKELY(co->caller || co->finished))
        return refuse(CO_BUSY);
    co->caller = here;
    co->outer = outer;
    current = co;
    if (CO_UNLIKELY(!co->started)) {
        co->started = true;
        ctx_inherit(&co->ctx, here);
    }
    return leg;
}

static inline enum co_status
enter_end(co_t *co)
{
    CO_ASSERT(current == co);
    current = co->outer;
    co->caller = NULL;
    co->outer = NULL;
    if (CO_LIKELY(!co->finished))
        return CO_OK;
    terminate(co);
    return CO_FINISHED;
}

static inline struct leg
yield_begin(void)
{
    struct coro *co = current;
    struct leg leg;

    if (CO_UNLIKELY(!co))
        return refuse(CO_NOT_INSIDE);
    leg.from = &co->ctx;
    leg.to = co->caller;
    return leg;
}

#ifdef CTX_RETURNS_BY_JUMP

/* arch/ has co_enter() and co_yield(), around these. */
struct leg coro_enter_begin(co_t *co);
enum co_status coro_enter_end(co_t *co);
struct leg coro_yield_begin(void);

struct leg
coro_enter_begin(co_t *co)
{
    struct leg leg = enter_begin(co);

    if (CO_LIKELY(leg.to != NULL))
        ctx_prepare(leg.from, leg.to);
    return leg;
}

enum co_status
coro_enter_end(co_t *co)
{
    return enter_end(co);
}

struct leg
coro_yield_begin(void)
{
    struct leg leg = yield_begin();

    if (CO_LIKELY(leg.to != NULL))
        ctx_prepare(leg.from, leg.to);
    return leg;
}

#else

/* Not to be inlined into a function that yields: it would then be free to
 * compute the address of `current` only once. */
__attribute__((noinline)) enum co_status
co_enter(co_t *co, void *send, void **received)
{
    struct leg leg = enter_begin(co);

    if (CO_UNLIKELY(!leg.to))
        return (enum co_status)leg.status;
    send = ctx_switch(leg.from, leg.to, send);
    if (received)
        *received = send;
    return enter_end(co);
}

__attribute__((noinline)) enum co_status
co_yield(void *send, void **received)
{
    struct leg leg = yield_begin();

    if (CO_UNLIKELY(!leg.to))
        return (enum co_status)leg.status;
    send = ctx_switch(leg.from, leg.to, send);
    if (received)
        *received = send;
    return CO_OK;
}

#endif

/* --- the rest ----------------------------------------------------------- */

__attribute__((noinline)) co_t *
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
