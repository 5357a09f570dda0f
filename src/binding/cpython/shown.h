/* SPDX-License-Identifier: MIT
 *
 * The tools that show the tasks of another process, from 3.14 on, read its
 * memory: the coroutine that a task drives, where its frame stands, and what it
 * awaits there, as long as that is a coroutine too. They know one by its type,
 * which must be none that was made at run time, and bear the name; and they
 * look through what an asynchronous generator is awaited by, whose first field
 * leads to the generator. So an object of ours that is to be looked through,
 * too, has that first, and a type that passes for such a one (see
 * bridge/call_graph.c).
 *
 * It leads to the coroutine that the object drives; and, while a chain of calls
 * waits, to shadows, one for each frame: memory that looks like a coroutine
 * which stands there and awaits the next, the last one what the chain waits
 * for.
 *
 *      task -> object -> coroutine ->  ...
 *      task -> object -> shadow -> shadow -> ... -> what is awaited -> ...
 *
 * Shadows are not looked at in this process, and keep nothing alive.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_CPYTHON_SHOWN_H
#define COPOOL_CPYTHON_SHOWN_H

#include "cpython/tstate.h"

#ifdef CO_SHOWS_TASKS
enum { TSTATE_SHOWS_TASKS = 1 };

struct tstate_shadow;

struct tstate_shown {
    const void *coroutine; /* or shadow, or NULL; must be the first field */
    struct tstate_shadow *shadows, *end; /* from PyMem_Calloc(), or NULL */
};

/* The tools of 3.14.9 and 3.15.1 took everything for a coroutine: to them, one
 * that has ended. */
struct tstate_ended {
    int8_t frame_state;
};

#    define TSTATE_ASSERT_SHOWN(type, shown, ended)                            \
        static_assert(offsetof(type, shown.coroutine) == sizeof(PyObject) &&   \
                          offsetof(type, ended.frame_state) ==                 \
                              offsetof(PyGenObject, gi_frame_state),           \
                      "not where readers look")

static inline void
tstate_shown_init(struct tstate_shown *shown, struct tstate_ended *ended)
{
    shown->coroutine = NULL;
    shown->shadows = shown->end = NULL;
    ended->frame_state = FRAME_CLEARED;
}

/* The object leads to that from now on, if it is a coroutine or a generator,
 * and else to nothing. */
static inline void
tstate_show(struct tstate_shown *shown, PyObject *coroutine)
{
    bool is = coroutine &&
              (PyCoro_CheckExact(coroutine) || PyGen_CheckExact(coroutine));

    shown->coroutine = is ? coroutine : NULL;
}

/* It leads to the running chain of calls from that root on, which is about to
 * wait. Of many frames the outermost is shown and those near to the wait, with
 * one by the name of "..." between them. */
void tstate_show_wait(struct tstate_shown *shown, const PyThreadState *ts,
                      const struct tstate_root *root, PyObject *awaited);

void tstate_free_shadows(struct tstate_shown *shown);

static inline void
tstate_shown_clear(struct tstate_shown *shown)
{
    shown->coroutine = NULL;
    if (__builtin_expect(shown->shadows != NULL, 0))
        tstate_free_shadows(shown);
}
#else
enum { TSTATE_SHOWS_TASKS = 0 };

struct tstate_shown {
};

struct tstate_ended {
};

#    define TSTATE_ASSERT_SHOWN(type, shown, ended)                            \
        static_assert(sizeof(struct tstate_shown) == 0, "it is for free")
#    define tstate_shown_init(shown, ended) ((void)0)
#    define tstate_show(shown, coroutine) ((void)0)
#    define tstate_show_wait(shown, ts, root, awaited) ((void)0)
#    define tstate_shown_clear(shown) ((void)0)
#endif

#endif
