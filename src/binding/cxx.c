/* SPDX-License-Identifier: MIT */
#include "cxx.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "loads.h"
#include "strand.h"

/* Where a runtime of C++ says where the current thread's words are. */
typedef struct cxx_words *get_globals(void);

static _Atomic(get_globals *) runtime; /* NULL while none is known */

static const uint64_t always = 1;

/* --- the watch ---------------------------------------------------------- */

/* For the main interpreter, under its GIL: a thread of another interpreter
 * might look at what is being unloaded. Threads of others look at how much has
 * been loaded at each switch, and so does everybody where no watch can be had.
 */
static void *const volatile *watch; /* NULL before the first look, too */
static bool is_deaf;

/* Beside this module. */
static const char *
sentinel(void)
{
    static char path[4096];
    Dl_info here;
    const char *end;

    if (!dladdr(&always, &here) || !(end = strrchr(here.dli_fname, '/')))
        return "libsentinel.so";
    (void)snprintf(path, sizeof path, "%.*s/libsentinel.so",
                   (int)(end - here.dli_fname), here.dli_fname);
    return path;
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

    watch = loads_watch(sentinel());
    is_deaf = !watch;
    move_watchers(before,
                  is_deaf ? (const void *)&always : (const void *)watch);
}

/* Whether a library may have been loaded since the last look. If so the next
 * one is noticed from here on. */
static bool
has_loaded(struct thread_record *t)
{
    uint64_t loads;

    if (t->ts->interp == PyInterpreterState_Main() && !is_deaf) {
        bool is_quiet = watch && !*watch;

        if (!is_quiet)
            renew_watch();
        if (!is_deaf)
            t->cxx.watched = (const void *)watch;
        if (is_quiet)
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
    t->cxx = (struct cxx_thread){.watched = &always};
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
}

static get_globals *
find_runtime(struct thread_record *t)
{
    get_globals *found = atomic_load_explicit(&runtime, memory_order_acquire);

    if (found || !has_loaded(t))
        return found;
    found = (get_globals *)loads_find("libstdc++.so.6", "__cxa_get_globals");
    if (!found)
        return NULL;
    atomic_store_explicit(&runtime, found, memory_order_release);
    if (t->ts->interp == PyInterpreterState_Main()) {
        /* They must look once more, and nobody has to watch then. */
        move_watchers((const void *)watch, &always);
        watch = NULL;
        loads_unwatch();
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
    s->slice.rest |= TSTATE_REST_OTHER;
    *words = (struct cxx_words){NULL, 0};
}

void
cxx_return(struct strand *s)
{
    *find_words(s->thread) = s->cxx;
}
