/* SPDX-License-Identifier: MIT
 *
 * What shared libraries this process has loaded, asked of the dynamic loader.
 * Used by the binding's cxx.c.
 *
 * Thread rule: any thread may call loads_count() and loads_find(); a watch is
 * for one thread at a time, and so is what loads_watch() returns.
 */
#ifndef COPOOL_LOADS_H
#define COPOOL_LOADS_H

#include <stdint.h>

struct loads_watch {
    void *last; /* a handle, or NULL */
};

/* A pointer that is NULL until the next library is loaded, by whomever and
 * however; NULL if there can be none. What an earlier call for the watch has
 * returned is not valid any more. `sentinel` is the path of a library that
 * nobody else loads. */
void *const volatile *loads_watch(struct loads_watch *watch,
                                  const char *sentinel);

/* Ends that. */
void loads_unwatch(struct loads_watch *watch);

/* A number that changes when a library is loaded; never 0. Takes a lock. */
uint64_t loads_count(void);

/* What the name stands for in the program and all that it has loaded for
 * everybody, or in that library, if it is loaded. NULL if it is in neither.
 * Loads nothing; what it finds stays loaded. */
void *loads_find(const char *library, const char *name);

#endif
