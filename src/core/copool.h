/* SPDX-License-Identifier: MIT
 *
 * copool: stackful coroutines for C, made cheap by a pool of stacks.
 *
 * A coroutine is a function with a stack of its own. Entering it runs it until
 * it yields or returns; then control is back with whoever entered it. Yielding
 * works from any depth of calls below the function.
 *
 * Thread rule: a coroutine runs in the thread that enters it. It may be made
 * in one thread, entered in a second and finished in a third, but it must not
 * be entered by two threads at once, and the caller orders those threads (a
 * queue with a lock does). A pool may be used by any number of threads.
 *
 * No function here aborts. Each returns a status; co_status_text() has the
 * sentence for it. A second, C++-exception or longjmp() may not leave the
 * coroutine's function.
 *
 * In C++ a `catch` block, and a destructor that an exception has called, may
 * switch if the caller puts back afterwards what the thread had before, and
 * begins coroutines without: the two words at abi::__cxa_get_globals(), a
 * function that must be called anew if another thread may have taken over.
 */
#ifndef COPOOL_H
#define COPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__cplusplus) && __cplusplus >= 202002L
#    error "co_yield is a keyword of C++20: include copool.h from C or C++17"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Everything that can go wrong is negative, everything that went well is not.
 */
enum co_status {
    CO_OK = 0,       /* done; from co_enter(): it yielded */
    CO_FINISHED = 1, /* co_enter(): its function returned, the handle is gone */
    CO_NO_MEMORY = -1,   /* the kernel or malloc() refused */
    CO_AT_CAP = -2,      /* max_blocks exist, in use or idle in other threads */
    CO_BUSY = -3,        /* it is running, or waits for one that it entered */
    CO_NOT_INSIDE = -4,  /* co_yield() outside a coroutine */
    CO_BAD_OPTION = -5,  /* a pool option that cannot be */
    CO_IN_USE = -6,      /* a pool cannot be destroyed: coroutines are alive */
    CO_UNSUPPORTED = -7, /* this kernel lacks what an option asks for */
};

/* A sentence in English, without a final stop. Static storage. */
const char *co_status_text(enum co_status status);

/* How unused stacks are kept. docs/design.md compares the policies. */
enum co_policy {
    CO_POLICY_NONE,    /* map each, unmap each */
    CO_POLICY_MUTEX,   /* one list under a lock */
    CO_POLICY_RELEASE, /* thread's list to take from, a shared one to give to */
    CO_POLICY_MAGAZINE, /* thread's own magazines, batches by way of a store */
    CO_POLICY_COUNT
};

/* "none", "mutex", "release", "magazine"; NULL for no policy. */
const char *co_policy_name(enum co_policy policy);

/* What lies below each stack and turns an overflow into a fault. */
enum co_guard {
    CO_GUARD_AUTO,     /* the first of the next two that the kernel has */
    CO_GUARD_MADVISE,  /* a guard region, which costs no mapping (Linux 6.13) */
    CO_GUARD_MPROTECT, /* protected memory: two mappings a stack */
    CO_GUARD_NONE,     /* nothing: an overflow corrupts memory */
    CO_GUARD_COUNT
};

/* "auto", "madvise", "mprotect", "none"; NULL for no guard. */
const char *co_guard_name(enum co_guard guard);

/* Sizes are in bytes. co_pool_options_init() fills in the defaults; change
 * what you need and leave the rest. */
struct co_pool_options {
    enum co_policy policy;
    enum co_guard guard;
    size_t stack_size;  /* usable, rounded up to pages; at least 32 KiB */
    size_t guard_size;  /* rounded up to pages; at most 64 MiB. A frame that is
                           no larger can't leap over the guard. Not zero, but
                           for CO_GUARD_NONE, which has no use for it */
    unsigned batch;     /* blocks moved between thread and shared pool at once,
                           and the reuse threshold; 1 to 4096, and at most a
                           sixteenth of max_blocks and what a store keeps */
    size_t max_blocks;  /* the cap on coroutines alive and idle together */
    size_t max_idle;    /* blocks kept in the magazine policy's store */
    unsigned idle_ms;   /* after which the memory of those that nobody took is
                           given back, if the pool is in use; 0 for never */
    size_t data_size;   /* bytes above the stack for the caller's own use */
    size_t record_size; /* of the control record; 0 for co_create()'s own, which
                           is the least */
    int user;           /* the caller's own: the pool only keeps it */
};

/* Fills in the defaults. */
void co_pool_options_init(struct co_pool_options *options);

/* A pool of stacks. Any thread may use it. */
typedef struct pool co_pool;

/* CO_BAD_OPTION, CO_UNSUPPORTED or CO_NO_MEMORY; then *pool is untouched.
 * When max_blocks is above what the kernel's vm.max_map_count allows for the
 * chosen guard, the lower figure is used. */
enum co_status co_pool_create(const struct co_pool_options *options,
                              co_pool **pool);

/* Frees the pool with all its stacks, also those cached in other threads,
 * which must not use it any more. CO_IN_USE while coroutines of it exist. */
enum co_status co_pool_destroy(co_pool *pool);

/* Moves the size that the mutex policy keeps by n and trims what is above it.
 * Does nothing under the other policies, which adapt by themselves.
 * CO_BAD_OPTION when more would be taken away than was added. */
enum co_status co_pool_adjust(co_pool *pool, int n);

/* Gives memory back: what the calling thread and the shared part keep idle,
 * and mappings in which no stack is used. Returns the number of blocks. */
size_t co_pool_trim(co_pool *pool);

/* Counts at one moment; exact when no other thread uses the pool. In blocks
 * unless it says bytes. Every block is live, idle or vacant. */
struct co_pool_stats {
    uint64_t created;    /* blocks handed out since the beginning */
    uint64_t reused;     /* of those, how many came out of the pool */
    size_t live;         /* in use now */
    size_t idle_local;   /* kept by threads */
    size_t idle_shared;  /* kept by the shared list or store */
    size_t vacant;       /* mapped once, their pages given back */
    size_t peak;         /* the most that ever held pages at once */
    size_t slabs;        /* mappings */
    size_t mapped_bytes; /* of address space; pages are taken on touch */
    uint64_t discards;   /* times that the pages of a block were given back */
    uint64_t contended;  /* times that a lock or an exchange had to wait */
    uint64_t lost;       /* idle in threads that fork() has left behind */
    size_t max_blocks;   /* the cap in force */
    enum co_guard guard; /* the guard in force */
};

/* Counts, in any thread. */
void co_pool_stats(co_pool *pool, struct co_pool_stats *stats);

/* Walks every list and compares it with the counts. True when all agree.
 * Only while no other thread uses the pool. */
bool co_pool_check(co_pool *pool);

/* --- coroutines --------------------------------------------------------- */

typedef struct coro co_t;

/* The body. `first` is what the first co_enter() sent; what it returns is
 * received by the co_enter() that saw it finish. */
typedef void *co_fn(void *first);

/* Makes a coroutine that will run fn. CO_NO_MEMORY or CO_AT_CAP on failure.
 * It must be entered until it finishes, or given to co_discard(). */
enum co_status co_create(co_pool *pool, co_fn *fn, co_t **co);

/* Runs it until it yields (CO_OK) or finishes (CO_FINISHED; the handle is
 * gone then). `send` arrives in it, what it yields or returns is stored
 * through `received` unless that is NULL. CO_BUSY if it is entered already:
 * then nothing has happened. */
static inline enum co_status co_enter(co_t *co, void *send, void **received);

/* Hands control back to whoever entered the running coroutine, which receives
 * `send`. Returns when entered again; `*received` is what was sent then. May
 * return in another thread: don't keep addresses of thread-local variables
 * across it. CO_NOT_INSIDE outside a coroutine. */
static inline enum co_status co_yield(void *send, void **received);

/* The running coroutine, or NULL outside one. */
co_t *co_self(void);

/* True between co_enter() and the yield or return that ends it. */
bool co_entered(const co_t *co);

/* Calls fn(arg) on the thread's own C stack, below what stands there, and
 * returns what it returns: for libraries that compare the stack pointer with
 * the bounds of the thread. Outside a coroutine it is a plain call. fn counts
 * as outside one: co_self() is NULL there, co_yield() says CO_NOT_INSIDE, and
 * it may enter coroutines, which may call this in turn. */
void *co_on_thread_stack(co_fn *fn, void *arg);

/* Takes back a coroutine that never ran or is suspended. Nothing of it runs
 * any more: what its frames own is the caller's business. CO_BUSY if it is
 * entered. */
enum co_status co_discard(co_t *co);

#include "switch.h"

#ifdef __cplusplus
}
#endif

#endif
