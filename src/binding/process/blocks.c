/* SPDX-License-Identifier: MIT */
#include "process/blocks.h"

#include <pthread.h>
#include <stdlib.h>

#include "cpython/limits.h"
#include "process/state.h"

_Atomic(struct pool *) blocks_pool;

/* For all that follows, which interpreters with GILs of their own share. No
 * Python code runs under it, so nobody waits for a GIL who holds it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* That have loaded the module and are not at their end. */
static unsigned interpreters;

/* Called now and then by who finishes a strand. */
static void (*look)(void);

/* What was asked for; the pool may have had to lower max_blocks. */
static struct co_pool_options wanted;

/* Pools that configure() replaced and that still have coroutines. */
struct retired {
    struct retired *next;
    struct pool *pool;
};

static struct retired *retired;

static void
acquire(void)
{
    pthread_mutex_lock(&lock);
}

static void
release(void)
{
    pthread_mutex_unlock(&lock);
}

/* Under the lock. Another interpreter may be about to take a block from a pool
 * that was the current one a moment ago: then it is only emptied. */
static void
collect(void)
{
    struct retired **link = &retired, *r;

    while ((r = *link) != NULL) {
        struct co_pool_stats s;

        if (interpreters > 1) {
            co_pool_stats(r->pool, &s);
            if (!s.live && s.mapped_bytes)
                co_pool_trim(r->pool);
            link = &r->next;
        } else if (co_pool_destroy(r->pool) == CO_OK) {
            *link = r->next;
            free(r);
        } else {
            link = &r->next;
        }
    }
}

void
blocks_collect(void)
{
    acquire();
    collect();
    release();
}

/* What the system charges for the stacks of a pool, against that limit. */
static size_t
charge(const struct pool *pool, const struct co_pool_stats *s,
       enum os_limit_name limit)
{
    size_t blocks = s->live + s->idle_local + s->idle_shared + s->vacant;

    if (limit == OS_ADDRESS_SPACE || limit == OS_NO_LIMIT)
        return s->mapped_bytes;
    return blocks * pool->arena.geometry.stride;
}

/* The largest of halves, quarters and so on of the pool's stack size of which
 * twice as many stacks as there are now, and 64 at least, fit below the limit
 * and leave a quarter for all else; the least that there may be if none does. 0
 * if that is what the pool has. Where no limit is known, what is in use is
 * taken for all that there is. */
static size_t
stack_size_that_fits(const struct pool *pool, const struct co_pool_stats *s,
                     const struct os_limit *limit)
{
    struct arena_options o = pool->arena.options;
    size_t least = tstate_least_stack(), taken = charge(pool, s, limit->name);
    size_t count = s->live > 32 ? 2 * s->live : 64, room = taken;
    struct geometry g;

    if (limit->name != OS_NO_LIMIT && limit->used < limit->bytes)
        room += limit->bytes - limit->used;
    if (o.stack_size <= least)
        return 0;
    while ((o.stack_size /= 2) > least)
        if (geometry_init(&g, &o) && g.stride <= room / 4 * 3 / count)
            return o.stack_size;
    return least;
}

/* In the order of enum os_limit_name: the kernel's limit, and how to raise it.
 */
static const char *const limits[OS_LIMITS][2] = {
    {"", "raise the limit of the process (its control group, "
         "vm.max_map_count)"},
    {"the limit on address space (RLIMIT_AS)", "raise it (ulimit -v)"},
    {"the limit on private memory (RLIMIT_DATA)", "raise it (ulimit -d)"},
    {"what all processes may ask for (vm.overcommit_memory is 2)",
     "raise it (vm.overcommit_ratio)"},
};

static void
raise_no_memory(struct module_state *state, const struct pool *pool,
                const struct co_pool_stats *s)
{
    const struct geometry *g = &pool->arena.geometry;
    struct os_limit limit = os_limit_below(g->stride + g->rest);
    size_t fits = stack_size_that_fits(pool, s, &limit);
    char bites[160] = "", advice[160] = "";

    if (limit.name != OS_NO_LIMIT)
        PyOS_snprintf(bites, sizeof bites,
                      "; %s is %zu KiB, of which %zu are "
                      "taken",
                      limits[limit.name][0], limit.bytes / 1024,
                      limit.used / 1024);
    if (fits)
        PyOS_snprintf(advice, sizeof advice,
                      ", choose smaller stacks with "
                      "copool.configure(stack_size=%zu) or "
                      "COPOOL_STACK_SIZE=%zu",
                      fits, fits);
    PyErr_Format(state->pool_exhausted,
                 "no memory for the stack of another coroutine (%zu KiB of "
                 "address space, with its guard)%s: let coroutines finish, "
                 "close() them%s, or %s",
                 g->stride / 1024, bites, advice, limits[limit.name][1]);
}

void *
blocks_raise(struct module_state *state, struct pool *pool,
             enum co_status status)
{
    const struct co_pool_options *o = &pool->options;
    char used[128] = "in use";
    struct co_pool_stats s;
    bool lowered;

    acquire();
    lowered = pool == blocks_current() && o->max_blocks < wanted.max_blocks;
    co_pool_stats(pool, &s);
    release();
    if (s.idle_local + s.idle_shared)
        PyOS_snprintf(used, sizeof used,
                      "in use (%zu) or kept idle by threads for their next "
                      "coroutines (%zu)",
                      s.live, s.idle_local + s.idle_shared);
    if (status == CO_AT_CAP && lowered)
        PyErr_Format(state->pool_exhausted,
                     "all %zu blocks that the kernel's limit on mappings "
                     "allows are %s: vm.max_map_count is %zu, and a guard "
                     "that is protected memory takes two. Let coroutines "
                     "finish, close() them, "
                     "raise the limit (sysctl vm.max_map_count=%zu) and start "
                     "the program again, or use Linux 6.13 or later with "
                     "guard='auto', where guards take none",
                     o->max_blocks, used, os_max_mappings(),
                     4 * os_max_mappings());
    else if (status == CO_AT_CAP)
        PyErr_Format(state->pool_exhausted,
                     "all %zu blocks are %s: let coroutines finish, "
                     "close() them, or raise the cap with "
                     "copool.configure(max_blocks=...) or COPOOL_MAX_BLOCKS",
                     o->max_blocks, used);
    else
        raise_no_memory(state, pool, &s);
    return NULL;
}

/* Puts a new pool in place of the current one, if there is any. Under the lock.
 */
static enum co_status
replace(struct co_pool_options *options)
{
    struct pool *before = blocks_current(), *pool;
    struct retired *old = NULL;
    enum co_status status;

    if (before) {
        old = malloc(sizeof *old);
        if (!old)
            return CO_NO_MEMORY;
    }
    status = co_pool_create(options, &pool);
    if (status != CO_OK) {
        free(old);
        return status;
    }
    pool->options.user = tstate_budget(pool->arena.geometry.stack_size);
    pool->look = look;
    if (old) {
        co_pool_trim(before);
        old->pool = before;
        old->next = retired;
        retired = old;
    }
    atomic_store_explicit(&blocks_pool, pool, memory_order_release);
    wanted = *options;
    collect();
    return CO_OK;
}

size_t
blocks_trim(void)
{
    size_t n;

    acquire();
    n = co_pool_trim(blocks_current());
    for (struct retired *old = retired; old; old = old->next)
        n += co_pool_trim(old->pool);
    collect();
    release();
    return n;
}

static int
find_name(const char *name, const char *(*get)(int), int *found)
{
    const char *other;

    for (int i = 0; (other = get(i)) != NULL; i++) {
        if (strcmp(name, other) == 0) {
            *found = i;
            return 0;
        }
    }
    return -1;
}

static const char *
policy_name(int i)
{
    return co_policy_name((enum co_policy)i);
}

static const char *
guard_name(int i)
{
    return co_guard_name((enum co_guard)i);
}

/* False with an exception set if the numbers are none that a pool can have. */
static bool
check_numbers(Py_ssize_t stack_size, Py_ssize_t batch, Py_ssize_t max_blocks,
              Py_ssize_t max_idle, Py_ssize_t guard_size, PyObject *guard)
{
    if (stack_size < (Py_ssize_t)tstate_least_stack()) {
        PyErr_Format(PyExc_ValueError,
                     "a stack_size of %zd bytes is too small: CPython "
                     "needs at least %zu",
                     stack_size, tstate_least_stack());
        return false;
    }
    if (batch < 1 || batch > 4096) {
        PyErr_Format(PyExc_ValueError, "batch must be from 1 to 4096, not %zd",
                     batch);
        return false;
    }
    if (max_blocks < 1) {
        PyErr_Format(PyExc_ValueError, "max_blocks must be at least 1, not %zd",
                     max_blocks);
        return false;
    }
    if (max_idle < 0) {
        PyErr_Format(PyExc_ValueError,
                     "max_idle must not be negative, but is %zd", max_idle);
        return false;
    }
    if (guard_size < 0) {
        PyErr_Format(PyExc_ValueError,
                     "guard_size must not be negative, but is %zd", guard_size);
        return false;
    }
    if (!guard_size && guard) {
        PyErr_Format(PyExc_ValueError,
                     "guard_size may be 0 for guard='none' only: with "
                     "guard=%R it is the bytes of each guard",
                     guard);
        return false;
    }
    return true;
}

static PyObject *
core_configure(PyObject *module, PyObject *args)
{
    struct co_pool_options o;
    const char *policy, *guard;
    Py_ssize_t stack_size, batch, max_blocks, max_idle, guard_size;
    enum co_status status;
    int policy_index, index;

    if (!PyArg_ParseTuple(args, "ssnnnnn:configure", &policy, &guard,
                          &stack_size, &batch, &max_blocks, &max_idle,
                          &guard_size))
        return NULL;
    if (find_name(policy, policy_name, &index) < 0)
        return PyErr_Format(PyExc_ValueError,
                            "no pool policy %R: choose 'none', 'mutex', "
                            "'release' or 'magazine'",
                            PyTuple_GET_ITEM(args, 0));
    policy_index = index;
    if (find_name(guard, guard_name, &index) < 0)
        return PyErr_Format(PyExc_ValueError,
                            "no guard %R: choose 'auto', 'madvise', "
                            "'mprotect' or 'none'",
                            PyTuple_GET_ITEM(args, 1));
    if (!check_numbers(stack_size, batch, max_blocks, max_idle, guard_size,
                       index == CO_GUARD_NONE ? NULL
                                              : PyTuple_GET_ITEM(args, 1)))
        return NULL;
    acquire();
    o = wanted;
    o.policy = (enum co_policy)policy_index;
    o.guard = (enum co_guard)index;
    o.stack_size = (size_t)stack_size;
    o.batch = (unsigned)batch;
    o.max_blocks = (size_t)max_blocks;
    o.max_idle = (size_t)max_idle;
    o.guard_size = (size_t)guard_size;
    status = replace(&o);
    release();
    if (status == CO_NO_MEMORY)
        return PyErr_NoMemory();
    if (status == CO_UNSUPPORTED)
        return PyErr_Format(PyExc_ValueError,
                            "guard 'madvise' needs Linux 6.13 or later; "
                            "choose 'auto' or 'mprotect'");
    if (status != CO_OK)
        return PyErr_Format(PyExc_ValueError,
                            "the pool can't be configured so: %s "
                            "(stack_size=%zd may be at most 1 GiB, "
                            "guard_size=%zd at most 64 MiB)",
                            co_status_text(status), stack_size, guard_size);
    Py_RETURN_NONE;
}

static PyObject *
core_options(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct co_pool_options o;

    acquire();
    o = wanted;
    release();
    return Py_BuildValue(
        "{s:s,s:s,s:n,s:n,s:n,s:n,s:n}", "policy", co_policy_name(o.policy),
        "guard", co_guard_name(o.guard), "stack_size", (Py_ssize_t)o.stack_size,
        "batch", (Py_ssize_t)o.batch, "max_blocks", (Py_ssize_t)o.max_blocks,
        "max_idle", (Py_ssize_t)o.max_idle, "guard_size",
        (Py_ssize_t)o.guard_size);
}

static PyObject *
core_stats(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct co_pool_stats s, r;
    size_t live_retired = 0;
    struct pool *pool;

    acquire();
    collect();
    for (struct retired *old = retired; old; old = old->next) {
        co_pool_stats(old->pool, &r);
        live_retired += r.live;
    }
    pool = blocks_current();
    co_pool_stats(pool, &s);
    release();
    return Py_BuildValue(
        "{s:s,s:s,s:n,s:n,s:I,s:n,s:n,s:K,s:K,s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:n,"
        "s:K,"
        "s:K,s:K}",
        "policy", co_policy_name(pool->options.policy), "guard",
        co_guard_name(s.guard), "guard_size",
        (Py_ssize_t)pool->arena.geometry.guard_size, "stack_size",
        (Py_ssize_t)pool->arena.geometry.stack_size, "batch", pool->batch,
        "max_blocks", (Py_ssize_t)s.max_blocks, "max_idle",
        (Py_ssize_t)pool->options.max_idle, "created",
        (unsigned long long)s.created, "reused", (unsigned long long)s.reused,
        "live", (Py_ssize_t)s.live, "live_retired", (Py_ssize_t)live_retired,
        "idle_local", (Py_ssize_t)s.idle_local, "idle_shared",
        (Py_ssize_t)s.idle_shared, "vacant", (Py_ssize_t)s.vacant, "peak",
        (Py_ssize_t)s.peak, "slabs", (Py_ssize_t)s.slabs, "mapped_bytes",
        (Py_ssize_t)s.mapped_bytes, "discards", (unsigned long long)s.discards,
        "contended", (unsigned long long)s.contended, "lost",
        (unsigned long long)s.lost);
}

static PyObject *
core_check(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    bool ok;

    acquire();
    ok = co_pool_check(blocks_current());
    for (struct retired *old = retired; old; old = old->next)
        ok = co_pool_check(old->pool) && ok;
    release();
    return PyBool_FromLong(ok);
}

static PyMethodDef functions[] = {
    {"configure", core_configure, METH_VARARGS,
     PyDoc_STR("configure(policy, guard, stack_size, batch, max_blocks, "
               "max_idle, guard_size)")},
    {"options", core_options, METH_NOARGS,
     PyDoc_STR("What configure() was last told, as a dict.")},
    {"stats", core_stats, METH_NOARGS,
     PyDoc_STR("Counts of the pool: a dict.")},
    {"check", core_check, METH_NOARGS,
     PyDoc_STR("Walk every list of the pool; whether all counts agree. Only "
               "while no other interpreter uses it.")},
    {NULL, NULL, 0, NULL},
};

static void
interpreter_gone(PyObject *capsule)
{
    acquire();
    interpreters--;
    release();
}

/* CPython clears the dictionary of an interpreter after its last thread state,
 * when no coroutine is left. */
static int
count_interpreter(void)
{
    static const char key[] = "copool.blocks";
    PyObject *dict = PyInterpreterState_GetDict(PyInterpreterState_Get());
    PyObject *capsule = PyCapsule_New(&blocks_pool, key, NULL);
    int result = -1;

    if (!dict)
        PyErr_NoMemory();
    else if (capsule)
        result = PyDict_SetItemString(dict, key, capsule);
    if (result == 0) {
        acquire();
        interpreters++;
        release();
        (void)PyCapsule_SetDestructor(capsule, interpreter_gone);
    }
    Py_XDECREF(capsule);
    return result;
}

/* The lock is held while pools are used, so that around a fork() it is taken
 * before theirs. */
static enum co_status
make_first_pool(size_t record_size)
{
    static bool fork_is_safe;
    struct co_pool_options o;

    if (!fork_is_safe)
        fork_is_safe =
            pool_surround_fork() && os_around_fork(acquire, release, release);
    if (!fork_is_safe)
        return CO_NO_MEMORY;
    co_pool_options_init(&o);
    o.stack_size = tstate_default_stack();
    o.data_size = 16 * 1024; /* the size that CPython uses */
    o.record_size = record_size;
    return replace(&o);
}

int
blocks_init(PyObject *module, size_t record_size, void (*look_at_strands)(void))
{
    enum co_status status = CO_OK;

    acquire();
    look = look_at_strands;
    if (!blocks_current())
        status = make_first_pool(record_size);
    release();
    if (status != CO_OK) {
        PyErr_SetString(PyExc_ImportError, co_status_text(status));
        return -1;
    }
    if (count_interpreter() < 0)
        return -1;
    return PyModule_AddFunctions(module, functions);
}
