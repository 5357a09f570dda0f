/* SPDX-License-Identifier: MIT
 *
 * Names and sentences for the enumerations of copool.h.
 */
#include "copool.h"

const char *
co_status_text(enum co_status status)
{
    switch (status) {
    case CO_OK:
        return "done";
    case CO_FINISHED:
        return "the coroutine has finished";
    case CO_NO_MEMORY:
        return "no memory for another stack";
    case CO_AT_CAP:
        return "the pool is at its cap (max_blocks)";
    case CO_BUSY:
        return "the coroutine is entered already, or has finished";
    case CO_NOT_INSIDE:
        return "not inside a coroutine, or on the stack of the thread";
    case CO_BAD_OPTION:
        return "an option is out of range";
    case CO_IN_USE:
        return "coroutines of this pool are alive";
    case CO_UNSUPPORTED:
        return "this kernel does not offer that kind of guard";
    }
    return "unknown status";
}

const char *
co_policy_name(enum co_policy policy)
{
    static const char *const names[CO_POLICY_COUNT] = {"none", "mutex",
                                                       "release", "magazine"};

    return (unsigned)policy < CO_POLICY_COUNT ? names[policy] : NULL;
}

const char *
co_guard_name(enum co_guard guard)
{
    static const char *const names[CO_GUARD_COUNT] = {"auto", "madvise",
                                                      "mprotect", "none"};

    return (unsigned)guard < CO_GUARD_COUNT ? names[guard] : NULL;
}
