/* SPDX-License-Identifier: MIT
 *
 * What AddressSanitizer, ThreadSanitizer and Valgrind must be told of stacks
 * that they did not make. Every function is empty when its tool is off, and
 * struct san_ctx then has no members. Called by ctx.h and block.c only.
 */
#ifndef COPOOL_SAN_H
#define COPOOL_SAN_H

#include <stdbool.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature)
#    if __has_feature(address_sanitizer)
#        define CO_ASAN 1
#    endif
#    if __has_feature(thread_sanitizer)
#        define CO_TSAN 1
#    endif
#endif
#ifdef __SANITIZE_ADDRESS__
#    define CO_ASAN 1
#endif
#ifdef __SANITIZE_THREAD__
#    define CO_TSAN 1
#endif

#ifdef CO_ASAN
#    include <sanitizer/asan_interface.h>
#    include <sanitizer/common_interface_defs.h>
#endif
#ifdef CO_TSAN
#    include <sanitizer/tsan_interface.h>
#endif
#ifdef CO_VALGRIND
#    include <valgrind/memcheck.h>
#    include <valgrind/valgrind.h>
#endif

struct san_ctx {
#if defined(CO_ASAN) || defined(CO_VALGRIND)
    const void *low;
    size_t size;
#endif
#ifdef CO_ASAN
    void *fake_stack; /* ASan's own, while the context is not running */
    struct san_ctx *came_from; /* whose bounds the arriving side fills in */
#endif
#ifdef CO_TSAN
    void *fiber;
#endif
};

static inline void
san_make(struct san_ctx *ctx, void *low, size_t size)
{
    (void)ctx, (void)low, (void)size;
#if defined(CO_ASAN) || defined(CO_VALGRIND)
    ctx->low = low;
    ctx->size = size;
#endif
#ifdef CO_ASAN
    ctx->fake_stack = NULL;
    ctx->came_from = NULL;
#endif
#ifdef CO_TSAN
    ctx->fiber = __tsan_create_fiber(0);
#endif
}

static inline void
san_before_switch(struct san_ctx *from, struct san_ctx *to)
{
    (void)from, (void)to;
#ifdef CO_ASAN
    to->came_from = from;
    __sanitizer_start_switch_fiber(&from->fake_stack, to->low, to->size);
#endif
#ifdef CO_TSAN
    from->fiber = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
}

static inline void
san_before_leave(struct san_ctx *from, struct san_ctx *to)
{
    (void)from, (void)to;
#ifdef CO_ASAN
    to->came_from = from;
    __sanitizer_start_switch_fiber(NULL, to->low, to->size);
#endif
#ifdef CO_TSAN
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
}

/* On arrival in a context, for the first time (fake_stack NULL) or again. A
 * thread's own stack is not known to us: its bounds are learnt here, by the
 * context that it switched to. */
static inline void
san_after_switch(struct san_ctx *self)
{
    (void)self;
#ifdef CO_ASAN
    __sanitizer_finish_switch_fiber(self->fake_stack, &self->came_from->low,
                                    &self->came_from->size);
#endif
}

/* Around a call on another stack, that of `there`, from sp on: ahead of it and
 * behind it, and on the other stack likewise. `here` is filled in by them. */
static inline void
san_call_depart(struct san_ctx *here, const struct san_ctx *there, void *sp)
{
    (void)here, (void)there, (void)sp;
#ifdef CO_VALGRIND
    /* It takes no notice of a call that is the first thing on a stack. */
    VALGRIND_MAKE_MEM_UNDEFINED((char *)sp - 256, 256);
#endif
#ifdef CO_ASAN
    __sanitizer_start_switch_fiber(&here->fake_stack, there->low, there->size);
#endif
}

static inline void
san_call_arrive(struct san_ctx *here)
{
    (void)here;
#ifdef CO_ASAN
    __sanitizer_finish_switch_fiber(NULL, &here->low, &here->size);
#endif
}

static inline void
san_call_return(const struct san_ctx *here)
{
    (void)here;
#ifdef CO_ASAN
    __sanitizer_start_switch_fiber(NULL, here->low, here->size);
#endif
}

static inline void
san_call_back(const struct san_ctx *here)
{
    (void)here;
#ifdef CO_ASAN
    __sanitizer_finish_switch_fiber(here->fake_stack, NULL, NULL);
#endif
}

/* The context's code runs on the stack of `on` from now on. */
static inline void
san_move(struct san_ctx *ctx, const struct san_ctx *on)
{
    (void)ctx, (void)on;
#if defined(CO_ASAN) || defined(CO_VALGRIND)
    ctx->low = on->low;
    ctx->size = on->size;
#endif
}

static inline void
san_gone(struct san_ctx *ctx)
{
    (void)ctx;
    /* Its frames did not return, so what the tools noted about them is still
     * there, and the memory will be used for other things. */
#ifdef CO_ASAN
    __asan_unpoison_memory_region(ctx->low, ctx->size);
#endif
#ifdef CO_VALGRIND
    VALGRIND_MAKE_MEM_UNDEFINED(ctx->low, ctx->size);
#endif
#ifdef CO_TSAN
    __tsan_destroy_fiber(ctx->fiber);
#endif
}

/* Whether memory may be a guard region. Valgrind takes it for what can be read,
 * and reads it itself where a stack ends; from some version on it knows better,
 * but of few pages. A program is told of it by what is loaded first, in builds
 * without its header, too. */
static inline bool
san_knows_guard_regions(void)
{
    const char *loaded = getenv("LD_PRELOAD");

    while (loaded && (loaded = strstr(loaded, "/vgpreload_"))) {
        loaded++;
        if (strcspn(loaded, "/") >= strcspn(loaded, ": "))
            return false; /* it is a file, not a folder */
    }
    return true;
}

/* A range of memory becomes a stack; returns what san_stack_gone() needs. */
static inline unsigned
san_stack_new(void *low, void *high)
{
    (void)low, (void)high;
#ifdef CO_VALGRIND
    return VALGRIND_STACK_REGISTER(low, high);
#else
    return 0;
#endif
}

static inline void
san_stack_gone(unsigned id)
{
    (void)id;
#ifdef CO_VALGRIND
    VALGRIND_STACK_DEREGISTER(id);
#endif
}

#endif
