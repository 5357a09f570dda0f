/* SPDX-License-Identifier: MIT
 *
 * Dumps that the program asks for, and those on a signal: these work in a
 * process that is stuck as well, since the handler is the kernel's to call and
 * needs nothing of the interpreter's.
 *
 * Thread rule: the functions need the GIL; the handler needs nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "look/dump.h"
#include "look/dump_json.h"
#include "look/look.h"
#include "process/state.h"

/* --- at once ------------------------------------------------------------- */

static bool
grow(struct text *text)
{
    size_t size = text->size ? text->size * 2 : 1 << 16;
    char *bytes = PyMem_RawRealloc(text->bytes, size);

    if (!bytes)
        return false;
    text->bytes = bytes;
    text->size = size;
    return true;
}

/* Takes a limit from None or an int that is not negative. */
static bool
parse_limit(PyObject *object, size_t *limit)
{
    *limit = SIZE_MAX;
    if (object == Py_None)
        return true;
    *limit = PyLong_AsSize_t(object);
    return !PyErr_Occurred();
}

static PyObject *
core_dump(PyObject *module, PyObject *args)
{
    struct dump_options options = {.ts_here = (uintptr_t)tstate_get()};
    struct text text = {.make_room = grow};
    PyObject *limit, *result = NULL;
    double seconds;
    int json;

    if (!PyArg_ParseTuple(args, "pOdz:_dump", &json, &limit, &seconds,
                          &options.age) ||
        !parse_limit(limit, &options.limit))
        return NULL;
    options.json = json;
    options.older_than = (uint64_t)(seconds * 1e9);
    if (!dump_write(&text, &options) || text.is_cut)
        PyErr_NoMemory();
    else
        result =
            PyUnicode_DecodeUTF8(text.bytes, (Py_ssize_t)text.length, NULL);
    PyMem_RawFree(text.bytes);
    return result;
}

/* --- on a signal -----------------------------------------------------------
 */

/* What is asked for on a signal; only changed while its handler is not in
 * force, or by what the handler reads at once. */
struct request {
    _Atomic(bool) is_on;
    bool json, chains, is_there; /* is_there: `before` is known */
    int fd;                      /* a copy, but for standard error */
    size_t limit;
    struct sigaction before;
};

static struct request requests[NSIG];

/* The process that is writing one, or 0: one at a time, so that they don't mix.
 * In the child of a fork that came meanwhile it is the parent's. */
static _Atomic(pid_t) writing;

/* A pipe that nobody reads, if it does not block. */
enum { PATIENCE_MS = 2000, BUFFER = 1 << 16 };

static bool
flush(struct text *text)
{
    bool done = os_write(text->fd, text->bytes, text->length, PATIENCE_MS);

    text->length = 0;
    if (!done)
        text->make_room = NULL, text->size = 0; /* nobody takes the rest */
    return done;
}

static void
dump_to(const struct request *request)
{
    struct dump_options options = {.json = request->json,
                                   .limit = request->limit};
    struct text text = {.bytes = os_map(BUFFER),
                        .size = BUFFER,
                        .make_room = flush,
                        .fd = request->fd};

    if (!text.bytes || !dump_write(&text, &options)) {
        static const char sorry[] = "copool: no memory for a dump\n";

        (void)os_write(request->fd, sorry, sizeof sorry - 1, PATIENCE_MS);
    } else if (text.size) {
        (void)flush(&text);
    }
    if (text.bytes)
        (void)os_unmap(text.bytes, BUFFER);
}

static void on_signal(int number, siginfo_t *info, void *context);

/* What the signal would have done without us, if that is another handler, or
 * the end of the process. */
static void
call_before(struct request *request, int number, siginfo_t *info, void *context)
{
    struct sigaction ours;
    sigset_t set, saved;

    if (request->before.sa_flags & SA_SIGINFO) {
        request->before.sa_sigaction(number, info, context);
    } else if (request->before.sa_handler == SIG_DFL) {
        (void)sigemptyset(&set);
        (void)sigaddset(&set, number);
        if (sigaction(number, &request->before, &ours) != 0)
            return;
        (void)raise(number);
        (void)pthread_sigmask(SIG_UNBLOCK, &set, &saved);
        (void)pthread_sigmask(SIG_SETMASK, &saved, NULL);
        (void)sigaction(number, &ours, NULL);
    } else if (request->before.sa_handler != SIG_IGN) {
        request->before.sa_handler(number);
    }
}

static void
on_signal(int number, siginfo_t *info, void *context)
{
    struct request *request = &requests[number];
    int saved = errno;
    pid_t ours = getpid(), found = 0;

    if (atomic_load(&request->is_on)) {
        while (found != ours &&
               !atomic_compare_exchange_weak(&writing, &found, ours))
            ;
        if (found != ours) {
            dump_to(request);
            atomic_store(&writing, 0);
        }
    }
    errno = saved;
    if (request->chains)
        call_before(request, number, info, context);
}

/* Signals that the faults of a program raise are for those who can stop it. */
static bool
is_allowed(int number)
{
    static const int others[] = {SIGKILL, SIGSTOP, SIGSEGV,
                                 SIGBUS,  SIGFPE,  SIGILL};

    for (size_t i = 0; i < Py_ARRAY_LENGTH(others); i++)
        if (number == others[i])
            return false;
    return number > 0 && number < NSIG;
}

static bool
is_in_force(int number)
{
    struct sigaction now;

    return sigaction(number, NULL, &now) == 0 && now.sa_flags & SA_SIGINFO &&
           now.sa_sigaction == on_signal;
}

/* What has come in front since it first was in force may have it for its
 * predecessor, and is not called: they would call each other. */
static bool
put_in_force(int number)
{
    struct request *request = &requests[number];
    struct sigaction ours = {.sa_sigaction = on_signal,
                             .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};

    (void)sigemptyset(&ours.sa_mask);
    if (!is_in_force(number) &&
        sigaction(number, &ours, request->is_there ? NULL : &request->before) !=
            0)
        return false;
    request->is_there = true;
    return true;
}

/* The file may be closed while the handler is at work: waits for that, but not
 * for one that has been stuck in the middle of it. */
static void
drop_file(struct request *request)
{
    struct timespec pause = {.tv_nsec = 1000000};
    int fd = request->fd;

    request->fd = -1;
    if (fd <= STDERR_FILENO)
        return;
    for (int i = 0; i < PATIENCE_MS && atomic_load(&writing) == getpid(); i++)
        (void)nanosleep(&pause, NULL);
    (void)close(fd);
}

static PyObject *
raise_not_allowed(int number)
{
    return PyErr_Format(
        PyExc_ValueError,
        "dump_on() can't have signal %d: it is no signal, can't be "
        "caught, or is a fault of the program's, for which there is "
        "faulthandler",
        number);
}

static PyObject *
core_dump_on(PyObject *module, PyObject *args)
{
    struct request *request;
    int number, fd, json, chains;
    PyObject *limit_given;
    size_t limit;

    if (!PyArg_ParseTuple(args, "iipOp:_dump_on", &number, &fd, &json,
                          &limit_given, &chains) ||
        !parse_limit(limit_given, &limit))
        return NULL;
    if (!is_allowed(number))
        return raise_not_allowed(number);
    if (fd != STDERR_FILENO && (fd = fcntl(fd, F_DUPFD_CLOEXEC, 3)) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    request = &requests[number];
    if (atomic_exchange(&request->is_on, false))
        drop_file(request);
    request->json = json;
    request->chains = chains;
    request->limit = limit;
    request->fd = fd;
    if (!put_in_force(number)) {
        drop_file(request);
        return raise_not_allowed(number);
    }
    atomic_store(&request->is_on, true);
    Py_RETURN_NONE;
}

/* Where another handler has come in front of it, it stays behind that, and only
 * passes on what it gets. */
static PyObject *
core_dump_off(PyObject *module, PyObject *args)
{
    struct request *request;
    int number;

    if (!PyArg_ParseTuple(args, "i:_dump_off", &number))
        return NULL;
    if (!is_allowed(number))
        return raise_not_allowed(number);
    request = &requests[number];
    if (!atomic_exchange(&request->is_on, false))
        Py_RETURN_FALSE;
    if (is_in_force(number)) {
        (void)sigaction(number, &request->before, NULL);
        request->is_there = false;
    } else {
        request->chains = true;
    }
    drop_file(request);
    Py_RETURN_TRUE;
}

/* --- what is noted ---------------------------------------------------------
 */

static PyObject *
core_noted(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    const struct module_state *state = state_get();

    if (!state)
        return NULL;
    return Py_BuildValue("(NN)", PyBool_FromLong(state->notes_makers),
                         PyBool_FromLong(state->notes_times));
}

static PyMethodDef functions[] = {
    {"_dump", core_dump, METH_VARARGS,
     PyDoc_STR("_dump($module, json, limit, older_than, age, /)\n--\n\n"
               "All chains of calls as text; see copool.dump().")},
    {"_dump_on", core_dump_on, METH_VARARGS,
     PyDoc_STR("_dump_on($module, signum, fd, json, limit, chain, /)\n--\n\n"
               "See copool.dump_on().")},
    {"_dump_off", core_dump_off, METH_VARARGS,
     PyDoc_STR("_dump_off($module, signum, /)\n--\n\n"
               "See copool.dump_off().")},
    {"_noted", core_noted, METH_NOARGS,
     PyDoc_STR("_noted($module, /)\n--\n\n"
               "Whether makers and times are noted.")},
    {NULL, NULL, 0, NULL},
};

int
dump_init(PyObject *module)
{
    dump_know();
    peek_init();
    return PyModule_AddFunctions(module, functions);
}
