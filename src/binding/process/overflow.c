/* SPDX-License-Identifier: MIT */
#include "process/overflow.h"

#include <pthread.h>

#include "os.h"
#include "segv.h"

/* Interpreters with GILs of their own share them, and the handler. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool wanted = true, watching, used;
static bool (*report)(const void *address);

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

void
overflow_watch(void)
{
    bool needs_stack;

    acquire();
    used = true;
    needs_stack = wanted;
    if (wanted && !watching) {
        watching = true;
        (void)segv_watch(report);
    }
    release();
    if (needs_stack)
        (void)segv_stack();
}

static PyObject *
core_report_overflows(PyObject *module, PyObject *flag)
{
    int is = PyObject_IsTrue(flag);
    bool was;

    if (is < 0)
        return NULL;
    acquire();
    was = wanted;
    wanted = is;
    if (!is) {
        segv_unwatch();
        watching = false;
    } else if (used) {
        watching = true;
        (void)segv_watch(report);
    }
    is = watching;
    release();
    if (is)
        (void)segv_stack();
    return PyBool_FromLong(was);
}

static PyMethodDef functions[] = {
    {"report_overflows", core_report_overflows, METH_O,
     PyDoc_STR("report_overflows(wanted): return what was wanted before.")},
    {NULL, NULL, 0, NULL},
};

int
overflow_init(PyObject *module, bool (*report_overflow)(const void *address))
{
    static bool fork_is_safe;
    bool is_safe;

    acquire();
    if (!fork_is_safe)
        fork_is_safe = os_around_fork(acquire, release, release);
    is_safe = fork_is_safe;
    report = report_overflow;
    release();
    if (!is_safe) {
        PyErr_NoMemory();
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
