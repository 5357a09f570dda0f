/* SPDX-License-Identifier: MIT */
#include "blocks.h"

#include <stdlib.h>

#include "module.h"
#include "strand.h"

struct pool *blocks_pool;
int blocks_budget;

/* What was asked for; the pool may have had to lower max_blocks. */
static struct co_pool_options wanted;

/* Pools that configure() replaced and that still have coroutines. */
struct retired {
    struct retired *next;
    struct pool *pool;
};

static struct retired *retired;

void
blocks_collect(void)
{
    struct retired **link = &retired, *r;

    while ((r = *link) != NULL) {
        if (co_pool_destroy(r->pool) == CO_OK) {
            *link = r->next;
            free(r);
        } else {
            link = &r->next;
        }
    }
}

void *
blocks_raise(struct module_state *state, enum co_status status)
{
    const struct co_pool_options *o = &blocks_pool->options;

    if (status == CO_AT_CAP && o->max_blocks < wanted.max_blocks)
        PyErr_Format(state->pool_exhausted,
                     "all %zu blocks that vm.max_map_count allows are in use "
                     "(a guard page takes two mappings): let coroutines "
                     "finish, close() them, raise that limit with sysctl, or "
                     "use Linux 6.13 or later, where guards take none",
                     o->max_blocks);
    else if (status == CO_AT_CAP)
        PyErr_Format(state->pool_exhausted,
                     "all %zu blocks are in use: let coroutines finish, "
                     "close() them, or raise the cap with "
                     "copool.configure(max_blocks=...) or COPOOL_MAX_BLOCKS",
                     o->max_blocks);
    else
        PyErr_Format(state->pool_exhausted,
                     "no memory for the stack of another coroutine (%zu KiB "
                     "of address space): let coroutines finish, close() them, "
                     "lower copool.configure(stack_size=...), or raise the "
                     "limit of the process (ulimit -v, its control group, "
                     "vm.max_map_count)",
                     o->stack_size / 1024);
    return NULL;
}

/* Puts a new pool in place of the current one; NULL keeps that. */
static enum co_status
replace(const struct co_pool_options *options)
{
    struct retired *old = NULL;
    enum co_status status;
    struct pool *pool;

    if (blocks_pool) {
        old = malloc(sizeof *old);
        if (!old)
            return CO_NO_MEMORY;
    }
    status = co_pool_create(options, &pool);
    if (status != CO_OK) {
        free(old);
        return status;
    }
    if (old) {
        co_pool_trim(blocks_pool);
        old->pool = blocks_pool;
        old->next = retired;
        retired = old;
    }
    blocks_pool = pool;
    blocks_budget = tstate_budget(pool->arena.geometry.stack_size);
    wanted = *options;
    blocks_collect();
    return CO_OK;
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

static PyObject *
core_configure(PyObject *module, PyObject *args)
{
    struct co_pool_options o = wanted;
    const char *policy, *guard;
    Py_ssize_t stack_size, batch, max_blocks, max_idle;
    enum co_status status;
    int index;

    if (!PyArg_ParseTuple(args, "ssnnnn:configure", &policy, &guard,
                          &stack_size, &batch, &max_blocks, &max_idle))
        return NULL;
    if (find_name(policy, policy_name, &index) < 0)
        return PyErr_Format(PyExc_ValueError,
                            "no pool policy %R: choose 'none', 'mutex', "
                            "'release' or 'magazine'",
                            PyTuple_GET_ITEM(args, 0));
    o.policy = (enum co_policy)index;
    if (find_name(guard, guard_name, &index) < 0)
        return PyErr_Format(PyExc_ValueError,
                            "no guard %R: choose 'auto', 'madvise', "
                            "'mprotect' or 'none'",
                            PyTuple_GET_ITEM(args, 1));
    o.guard = (enum co_guard)index;
    if (stack_size < (Py_ssize_t)tstate_least_stack())
        return PyErr_Format(PyExc_ValueError,
                            "a stack_size of %zd bytes is too small: CPython "
                            "needs at least %zu",
                            stack_size, tstate_least_stack());
    if (batch < 1 || batch > 4096)
        return PyErr_Format(PyExc_ValueError,
                            "batch must be from 1 to 4096, not %zd", batch);
    if (max_blocks < 1)
        return PyErr_Format(PyExc_ValueError,
                            "max_blocks must be at least 1, not %zd",
                            max_blocks);
    if (max_idle < 0)
        return PyErr_Format(PyExc_ValueError,
                            "max_idle must not be negative, but is %zd",
                            max_idle);
    o.stack_size = (size_t)stack_size;
    o.batch = (unsigned)batch;
    o.max_blocks = (size_t)max_blocks;
    o.max_idle = (size_t)max_idle;
    status = replace(&o);
    if (status == CO_NO_MEMORY)
        return PyErr_NoMemory();
    if (status == CO_UNSUPPORTED)
        return PyErr_Format(PyExc_ValueError,
                            "guard 'madvise' needs Linux 6.13 or later; "
                            "choose 'auto' or 'mprotect'");
    if (status != CO_OK)
        return PyErr_Format(PyExc_ValueError,
                            "the pool can't be configured so: %s "
                            "(stack_size=%zd may be at most 1 GiB)",
                            co_status_text(status), stack_size);
    Py_RETURN_NONE;
}

static PyObject *
core_options(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return Py_BuildValue(
        "{s:s,s:s,s:n,s:n,s:n,s:n}", "policy", co_policy_name(wanted.policy),
        "guard", co_guard_name(wanted.guard), "stack_size",
        (Py_ssize_t)wanted.stack_size, "batch", (Py_ssize_t)wanted.batch,
        "max_blocks", (Py_ssize_t)wanted.max_blocks, "max_idle",
        (Py_ssize_t)wanted.max_idle);
}

static PyObject *
core_stats(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct co_pool_stats s, r;
    size_t live_retired = 0;

    blocks_collect();
    for (struct retired *old = retired; old; old = old->next) {
        co_pool_stats(old->pool, &r);
        live_retired += r.live;
    }
    co_pool_stats(blocks_pool, &s);
    return Py_BuildValue(
        "{s:s,s:s,s:n,s:I,s:n,s:n,s:K,s:K,s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:K,"
        "s:K,s:K}",
        "policy", co_policy_name(blocks_pool->options.policy), "guard",
        co_guard_name(s.guard), "stack_size",
        (Py_ssize_t)blocks_pool->arena.geometry.stack_size, "batch",
        blocks_pool->batch, "max_blocks", (Py_ssize_t)s.max_blocks, "max_idle",
        (Py_ssize_t)blocks_pool->options.max_idle, "created",
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
core_trim(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct thread_record *t = thread_record_get();
    size_t n;

    if (!t)
        return NULL;
    strand_dismiss_parked(t);
    n = co_pool_trim(blocks_pool);

    for (struct retired *old = retired; old; old = old->next)
        n += co_pool_trim(old->pool);
    blocks_collect();
    return PyLong_FromSize_t(n);
}

static PyObject *
core_check(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    bool ok = co_pool_check(blocks_pool);

    for (struct retired *old = retired; old; old = old->next)
        ok = co_pool_check(old->pool) && ok;
    return PyBool_FromLong(ok);
}

static PyMethodDef functions[] = {
    {"configure", core_configure, METH_VARARGS,
     PyDoc_STR("configure(policy, guard, stack_size, batch, max_blocks, "
               "max_idle)")},
    {"options", core_options, METH_NOARGS,
     PyDoc_STR("What configure() was last told, as a dict.")},
    {"stats", core_stats, METH_NOARGS,
     PyDoc_STR("Counts of the pool: a dict.")},
    {"trim", core_trim, METH_NOARGS,
     PyDoc_STR("trim($module, /)\n--\n\n"
               "Give idle blocks back to the system; return how many.")},
    {"check", core_check, METH_NOARGS,
     PyDoc_STR("Walk every list of the pool; whether all counts agree.")},
    {NULL, NULL, 0, NULL},
};

int
blocks_init(PyObject *module, struct module_state *state)
{
    if (!blocks_pool) {
        struct co_pool_options o;
        enum co_status status;

        co_pool_options_init(&o);
        o.stack_size = tstate_default_stack();
        o.data_size = 16 * 1024; /* the size that CPython uses */
        o.record_size = sizeof(struct strand);
        status = replace(&o);
        if (status != CO_OK) {
            PyErr_SetString(PyExc_ImportError, co_status_text(status));
            return -1;
        }
    }
    return PyModule_AddFunctions(module, functions);
}
