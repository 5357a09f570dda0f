/* SPDX-License-Identifier: MIT */
#include "cpython/limits.h"

#include <limits.h>

#include "cpython/inside.h"

#ifdef CO_COUNTS_C_CALLS

/* The calls through C that a thread may make. */
static _Atomic(int) thread_budget;

/* Releases of one minor version differ in it, and the headers have that of the
 * one that copool was built with: so a thread state that is new is asked. */
bool
tstate_know_thread_budget(void)
{
    PyThreadState *ts = PyThreadState_New(PyInterpreterState_Get());

    if (!ts) {
        PyErr_NoMemory();
        return false;
    }
    thread_budget = ts->c_recursion_remaining;
    PyThreadState_Clear(ts);
    PyThreadState_Delete(ts);
    return true;
}

#endif

/* What a thread of a Linux program has, by which libraries and CPython's own
 * limits are chosen. */
enum { THREAD_STACK = 8 * 1024 * 1024 };

size_t
tstate_default_stack(void)
{
    return THREAD_STACK;
}

#ifdef CO_HAS_STACK_LIMITS

int
tstate_budget(size_t stack_size)
{
    (void)stack_size;
    return 0;
}

/* CPython frees containers at once only while four margins are left above the
 * soft limit, which is two above the end of the stack; and a coroutine takes
 * some before it frees any. */
size_t
tstate_least_stack(void)
{
    return 8 * tstate_limits_margin;
}

#else

/* Measured bytes of C stack from one call counted by the recursion counter to
 * the next; the greediest way found (__lt__ that sorts a list of its own kind)
 * takes less. 3.11 counts it once where the others count twice.
 */
enum {
#    ifdef CO_COUNTS_ALL_CALLS
    BYTES_PER_CALL = 5000,
#    else
    BYTES_PER_CALL = 2600,
#    endif
    RESERVE = 64 * 1024, /* for C code that does not count its calls */
    /* 3.13 frees containers at once only while more than 100 calls remain;
     * before it goes by how deep the deallocations are nested. */
    LEAST_CALLS = PY_VERSION_HEX >= 0x030D0000 ? 160 : 60,
};

#    ifdef CO_COUNTS_ALL_CALLS
enum { thread_budget = INT_MAX }; /* what is set is all there is */
#    endif

/* A stack as large as a thread's has the thread's own limit, whether or not it
 * holds as many of the greediest calls. */
int
tstate_budget(size_t stack_size)
{
    size_t usable = stack_size > RESERVE ? stack_size - RESERVE : 0;
    size_t held = usable / BYTES_PER_CALL;
    int most = thread_budget;

    return stack_size >= THREAD_STACK || held > (size_t)most ? most : (int)held;
}

size_t
tstate_least_stack(void)
{
    return RESERVE + LEAST_CALLS * BYTES_PER_CALL;
}

#endif

void
tstate_hide_limit(PyThreadState *ts, struct tstate_slice *s, bool hide)
{
#ifdef CO_COUNTS_ALL_CALLS
    ts->recursion_remaining += s->hidden;
    s->hidden = hide ? tstate_hide(ts, s->max_depth) : 0;
    ts->recursion_remaining -= s->hidden;
#else
    (void)ts;
    (void)s;
    (void)hide;
#endif
}

#ifdef CO_COUNTS_ALL_CALLS
static void
set_max_depth(PyThreadState *ts, struct tstate_slice *s, int max_depth)
{
    ts->recursion_remaining += s->hidden;
    s->max_depth = max_depth;
    s->hidden = tstate_hide(ts, max_depth);
    ts->recursion_remaining -= s->hidden;
}
#endif

struct tstate_limit
tstate_enter_stack(PyThreadState *ts, struct tstate_slice *s,
                   const struct tstate_slice *other)
{
    struct tstate_limit before;

#ifdef CO_COUNTS_ALL_CALLS
    before.max_depth = s->max_depth;
    before.deeper = other->depth - tstate_depth(ts, s);
    if (before.deeper < 0)
        before.deeper = 0;
    set_max_depth(ts, s, other->max_depth);
    ts->recursion_remaining -= before.deeper;
#elif defined(CO_COUNTS_C_CALLS)
    (void)s;
    before.c_remaining = ts->c_recursion_remaining;
    ts->c_recursion_remaining = other->c_remaining;
#else
    (void)s;
    before.limits = *tstate_get_limits(ts);
    *tstate_get_limits(ts) = other->limits;
#endif
    return before;
}

void
tstate_leave_stack(PyThreadState *ts, struct tstate_slice *s,
                   const struct tstate_limit *before)
{
    (void)s;
#ifdef CO_COUNTS_ALL_CALLS
    ts->recursion_remaining += before->deeper;
    set_max_depth(ts, s, before->max_depth);
#elif defined(CO_COUNTS_C_CALLS)
    ts->c_recursion_remaining = before->c_remaining;
#else
    *tstate_get_limits(ts) = before->limits;
#endif
}

#ifdef CO_COUNTS_TRASH
int
tstate_trash_nesting(PyThreadState *ts)
{
#    if PY_VERSION_HEX < 0x030C0000
    return ts->trash_delete_nesting;
#    else
    return ts->trash.delete_nesting;
#    endif
}
#endif
