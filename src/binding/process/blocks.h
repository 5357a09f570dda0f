/* SPDX-License-Identifier: MIT
 *
 * The process-wide pool of blocks for strands, behind copool.configure(),
 * stats() and trim(). All interpreters of the process share it.
 *
 * configure() makes a new pool. Coroutines that live on blocks of an older one
 * keep them; it is destroyed when the last of them has finished.
 *
 * Thread rule: all functions need the GIL, of whichever interpreter: they may
 * be called by several at once.
 */
#ifndef COPOOL_PROCESS_BLOCKS_H
#define COPOOL_PROCESS_BLOCKS_H

#include "cpython/tstate.h"

#include "pool.h"

struct module_state;

extern _Atomic(struct pool *) blocks_pool;

/* The pool to take a block from now: never NULL once the module is loaded. Its
 * options.user are the calls through C that one of its stacks holds. It is not
 * destroyed while the caller keeps its GIL. */
static inline struct pool *
blocks_current(void)
{
    return atomic_load_explicit(&blocks_pool, memory_order_acquire);
}

/* Raises PoolExhausted with what to do about that status of the pool, returns
 * NULL. */
void *blocks_raise(struct module_state *state, struct pool *pool,
                   enum co_status status);

/* To be called after a block went back to a pool other than the current one. */
void blocks_collect(void);

/* Gives what is idle back to the system; how many blocks. */
size_t blocks_trim(void);

/* Adds its functions to the module; -1 with an exception set. A strand's record
 * has that size; the other is called now and then by who finishes a strand, in
 * its thread. */
int blocks_init(PyObject *module, size_t record_size,
                void (*look_at_strands)(void));

#endif
