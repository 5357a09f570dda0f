/* SPDX-License-Identifier: MIT
 *
 * The process-wide pool of blocks for strands, behind copool.configure(),
 * stats() and trim(). All interpreters of the process share it.
 *
 * configure() makes a new pool. Coroutines that live on blocks of an older one
 * keep them; it is destroyed when the last of them has finished.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_BLOCKS_H
#define COPOOL_BLOCKS_H

#include "tstate.h"

#include "pool.h"

struct module_state;

/* Never NULL once the module is loaded. */
extern struct pool *blocks_pool;

/* Calls through C that a stack of blocks_pool holds, for strand_begin(). */
extern int blocks_budget;

/* Raises PoolExhausted with what to do about the status, returns NULL. */
void *blocks_raise(struct module_state *state, enum co_status status);

/* To be called after a block went back to a pool other than blocks_pool. */
void blocks_collect(void);

#endif
