/* SPDX-License-Identifier: MIT
 *
 * The control record of a coroutine made by co_create(): the block's record.
 * copool.h has the contract.
 */
#ifndef COPOOL_CORO_H
#define COPOOL_CORO_H

#include <stdbool.h>

#include "block.h"
#include "ctx.h"

struct pool;

/* What a switch reads and writes lies in one cache line, the second. */
struct coro {
    struct block block; /* must be first */
    struct pool *pool;
    struct ctx ctx; /* only valid when not running */
    /* Who entered it: a coroutine's context or a thread's own. NULL when it is
     * not entered, which is how that is known. */
    struct ctx *caller;
    struct coro *outer; /* the coroutine that entered it, or NULL */
    bool started, finished;
    co_fn *fn;
};

_Static_assert(offsetof(struct coro, ctx) == CACHE_LINE, "where it begins");
_Static_assert(sizeof(struct coro) <= DEFAULT_RECORD, "the record's size");

#endif
