/* SPDX-License-Identifier: MIT */
#include "strand/cxx.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "loads.h"

/* Where a runtime of C++ says where the current thread's words are. */
typedef struct cxx_words *get_globals(void);

static _Atomic(get_globals *) runtime; /* NULL while none is known */

/* What is found is known to all from then on. */
static get_globals *
look_for_runtime(void)
{
    get_globals *found =
        (get_globals *)loads_find("libstdc++.so.6", "__cxa_get_globals");

    if (found)
        atomic_store_explicit(&runtime, found, memory_order_release);
    return found;
}

static const uint64_t always = 1;

static bool
is_main(const struct thread_record *t)
{
    return t->ts->interp == PyInterpreterState_Main();
}

/* --- the watch ---------------------------------------------------------- */

/* For the main interpreter, under its GIL: a thread of another interpreter
 * might look at what is being unloaded. Threads of others have a watch of their
 * own. Where none can be had everybody looks at how much has been loaded.
 */
static struct loads_watch own_watch;
static void *const volatile *watch; /* NULL before the first look, too */
static bool is_deaf;

/* A library beside this module. */
static void *const volatile *
watch_by(struct loads_watch *by, const char *sentinel)
{
    char path[4096];
    Dl_info here;
    const char *end;

    if (!dladdr(&always, &here) || !(end = strrchr(here.dli_fname, '/')))
        return loads_watch(by, sentinel);
    (void)snprintf(path, sizeof path, "%.*s/%s", (int)(end - here.dli_fname),
                   here.dli_fname, sentinel);
    return loads_watch(by, path);
}

static void
move_watchers(const void *from, const void *to)
{
    struct thread_record *t = atomic_load(&thread_records);

    for (; from && t; t = t->next_made)
        if (t->cxx.watched == from)
            t->cxx.watched = to;
}

static void
renew_watch(void)
{
    const void *before = (const void *)watch;

    watch = watch_by(&own_watch, "libsentinel.so");
    is_deaf = !watch;
    move_watchers(before,
                  is_deaf ? (const void *)&always : (const void *)watch);
}

/* --- the watch of other interpreters ------------------------------------- */

/* NULL while it is being moved, from before what it pointed to is unloaded
 * until a runtime has been looked for, and where there is none. Who looks says
 * so before reading it: the mover waits for these. */
static _Atomic(void *const volatile *) shared;
static struct loads_watch shared_watch;

/* For who moves it. Nobody waits for it: a fork may leave it locked. */
static pthread_mutex_t moving = PTHREAD_MUTEX_INITIALIZER;

static bool
shared_is_quiet(struct thread_record *t)
{
    void *const volatile *next;
    bool is_quiet;

    atomic_store(&t->cxx.looks, true);
    next = atomic_load(&shared);
    is_quiet = next && !*next;
    atomic_store_explicit(&t->cxx.looks, false, memory_order_release);
    return is_quiet;
}

/* False if one does not end, as of a thread that a fork has left behind. */
static bool
wait_for_lookers(void)
{
    struct thread_record *t = atomic_load(&thread_records);
    int patience = 100;

    for (; t; t = t->next_made)
        while (atomic_load(&t->cxx.looks))
            if (!patience-- || sched_yield() != 0)
                return false;
    return true;
}

/* Moves the watch if something has been loaded since it was moved last, and
 * looks for a runtime then. False if another thread does so, or it can't be
 * had: then there is no telling by it. */
static bool
renew_shared(void)
{
    void *const volatile *next;
    bool is_there;

    if (pthread_mutex_trylock(&moving) != 0)
        return false;
    next = atomic_load(&shared);
    if (next && !*next) {
        is_there = true; /* another thread has just moved it */
    } else {
        atomic_store(&shared, NULL);
        next = wait_for_lookers()
                   ? watch_by(&shared_watch, "libsentinel-shared.so")
                   : NULL;
        is_there = next != NULL;
        if (is_there && look_for_runtime())
            loads_unwatch(
                &shared_watch); /* nobody has to look at it any more */
        else
            atomic_store(&shared, next);
    }
    pthread_mutex_unlock(&moving);
    return is_there;
}

/* --- a look -------------------------------------------------------------- */

/* Whether a library may have been loaded since the last look. If so the next
 * one is noticed from here on. */
static bool
has_loaded(struct thread_record *t)
{
    uint64_t loads;

    if (is_main(t) && !is_deaf) {
        bool is_quiet = watch && !*watch;

        if (!is_quiet)
            renew_watch();
        if (!is_deaf)
            t->cxx.watched = (const void *)watch;
        if (is_quiet)
            return false;
    } else if (!is_main(t) && (shared_is_quiet(t) || renew_shared())) {
        return false;
    }
    loads = loads_count();
    if (loads == t->cxx.loads)
        return false;
    t->cxx.loads = loads;
    return true;
}

/* --- the thread --------------------------------------------------------- */

void
cxx_start(struct thread_record *t)
{
    t->cxx.watched = &always;
    t->cxx.words = NULL;
    t->cxx.loads = 0;
    t->cxx.wanders = false;
    atomic_store(&t->cxx.looks, false);
}

void
cxx_adopt(struct thread_record *t)
{
    if (t->ident == PyThread_get_thread_ident())
        return;
    cxx_start(t);
    t->cxx.wanders = true;
}

void
cxx_end(struct thread_record *t)
{
    t->cxx.watched = NULL;
    atomic_store(&t->cxx.looks, false); /* a fork may have left it so */
}

static get_globals *
find_runtime(struct thread_record *t)
{
    get_globals *found = atomic_load_explicit(&runtime, memory_order_acquire);

    if (found)
        return found;
    if (!has_loaded(t))
        return atomic_load_explicit(&runtime, memory_order_acquire);
    found = look_for_runtime();
    if (found && is_main(t)) {
        /* They must look once more, and nobody has to watch then. */
        move_watchers((const void *)watch, &always);
        watch = NULL;
        loads_unwatch(&own_watch);
    }
    return found;
}

/* The current thread's words, or NULL. */
static struct cxx_words *
find_words(struct thread_record *t)
{
    get_globals *get = t->cxx.words ? NULL : find_runtime(t);
    struct cxx_words *words = get ? get() : t->cxx.words;

    if (words && !t->cxx.wanders) {
        t->cxx.words = words;
        t->cxx.watched = (const char *)words + 2;
    }
    return words;
}

/* --- a switch ----------------------------------------------------------- */

void
cxx_leave(struct strand *s)
{
    struct cxx_words *words = find_words(s->thread);

    if (!words || (!words->caught && !words->uncaught))
        return;
    s->cxx = *words;
    s->slice.rest |= TSTATE_REST_CXX;
    *words = (struct cxx_words){NULL, 0};
}

void
cxx_return(struct strand *s)
{
    *find_words(s->thread) = s->cxx;
}
