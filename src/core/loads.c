/* SPDX-License-Identifier: MIT
 *
 * Loaders keep what they have loaded in a list, of which debuggers know, and
 * put what they load next at its end. So the last one tells when another comes.
 *
 * It must not be unloaded meanwhile. glibc unloads: there the last one is a
 * library of our own, which is loaded anew to be the last again. musl never
 * does: there it is whichever is the last.
 */
#include "loads.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stddef.h>

void
loads_unwatch(struct loads_watch *watch)
{
    if (watch->last)
        (void)dlclose(watch->last);
    watch->last = NULL;
}

void *const volatile *
loads_watch(struct loads_watch *watch, const char *sentinel)
{
    struct link_map *map = NULL;
    int saved = errno;

    loads_unwatch(watch);
#ifdef __GLIBC__
    watch->last = dlopen(sentinel, RTLD_LAZY);
#else
    (void)sentinel;
    watch->last = dlopen(NULL, RTLD_LAZY);
#endif
    if (watch->last && dlinfo(watch->last, RTLD_DI_LINKMAP, &map) != 0)
        map = NULL;
#ifndef __GLIBC__
    while (map && map->l_next)
        map = map->l_next;
#endif
    errno = saved;
    return map ? (void *const volatile *)&map->l_next : NULL;
}

static int
get_count(struct dl_phdr_info *info, size_t size, void *count)
{
    (void)size;
    *(uint64_t *)count = info->dlpi_adds;
    return 1;
}

uint64_t
loads_count(void)
{
    uint64_t count = 0;

    (void)dl_iterate_phdr(get_count, &count);
    return count;
}

void *
loads_find(const char *library, const char *name)
{
    int saved = errno;
    void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
    void *found = dlsym(RTLD_DEFAULT, name);

    if (!found && handle)
        found = dlsym(handle, name);
    if (!found && handle)
        (void)dlclose(handle);
    errno = saved;
    return found;
}
