/* SPDX-License-Identifier: MIT
 *
 * Who holds a thread: what is behind copool.watch(). Nothing is added to a
 * switch; it has two threads of its own, so that what it sees does not depend
 * on the GIL:
 *
 *      looker    never has the GIL. Every few milliseconds it looks at the
 * count of switches of each thread: where one stands still for long while a
 * strand that is not the thread's own runs, that is a stay to be told of. It
 * reads records, which are never freed, and nothing that they point to teller
 * waits to be woken, takes the GIL, sees whose stays last still, and calls
 * Python code; and once more when one is over
 *
 * A C function that keeps the GIL for long is so noticed on time, and told of
 * when the teller gets the GIL: mostly where the interpreter gives it up as
 * that function has returned, in the line which has called it.
 *
 * Thread rule: all functions need the GIL but those that say otherwise. A watch
 * is for the threads of one interpreter.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "bridge/bridge.h"
#include "coroutine/coroutine.h"
#include "cpython/frames.h"
#include "greenlet/greenlet.h"
#include "look/look.h"
#include "process/state.h"
#include "python/dict.h"

enum {
    SECOND = 1000 * 1000 * 1000,
    LOOKS = 2, /* for each stay that is as short as is told of */
    LEAST_PAUSE = 500 * 1000,
    MOST_SHARE = 100,   /* of the time looks take at most one part of so many */
    MOST_FRAMES = 1000, /* that are told of, the innermost */
    STACK_SIZE = 8 << 20,
};

/* What is known of a thread's record. */
struct stay {
    struct thread_record *record;
    uint64_t switches; /* that it had when it was looked at last */
    uint64_t since; /* when these were first seen; nanoseconds, as all here */
    bool seen;      /* there is nothing to tell of these any more */
    bool told;      /* of these or some before: the end is to be told, too */
    uint64_t told_since;
    uint64_t lasts;  /* when it was seen last; only if told */
    uint64_t lasted; /* how long, when there are others, or 0; only if told */
};

struct watch {
    _Atomic(int) users; /* the capsule and the teller */
    _Atomic(bool) stopping;
    PyThread_type_lock alarm; /* is let go of to wake the looker */
    PyThread_type_lock work;  /* is let go of to wake the teller */
    PyThread_type_lock ended; /* is let go of by the teller, last */
    pthread_t looker, teller;
    bool joined;
    bool telling; /* the teller runs Python code */
    uint64_t least;
    PyInterpreterState *interp;
    struct module_state *state;
    PyObject *begun, *over; /* whom to tell, the teller's */

    pthread_mutex_t lock; /* for all that follows; no Python code runs under it
                             and nobody waits for the GIL */
    bool woken;           /* the teller has been, and has not come yet */
    struct thread_record *newest; /* of those that have a stay */
    struct stay *stays;
    size_t count, room;
};

static const char capsule_name[] = "copool.watch";

/* --- time --------------------------------------------------------------- */

/* That this thread has had of a processor. */
static uint64_t
processor_time(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

/* --- without the GIL ---------------------------------------------------- */

static void
watch_free(struct watch *w)
{
    PyThread_type_lock locks[] = {w->alarm, w->work, w->ended};

    for (size_t i = 0; i < Py_ARRAY_LENGTH(locks); i++)
        if (locks[i])
            PyThread_free_lock(locks[i]);
    (void)pthread_mutex_destroy(&w->lock);
    free(w->stays);
    free(w);
}

static void
watch_put(struct watch *w)
{
    if (atomic_fetch_sub(&w->users, 1) > 1)
        return;
    if (!w->joined)
        (void)pthread_detach(w->teller);
    watch_free(w);
}

static void
stop(struct watch *w)
{
    if (!atomic_exchange(&w->stopping, true))
        PyThread_release_lock(w->alarm);
}

static uint64_t
switches_of(struct thread_record *t)
{
    return __atomic_load_n(&t->switches, __ATOMIC_RELAXED);
}

/* Whether it is in a strand that is not the thread's own. */
static bool
is_inside(struct thread_record *t)
{
    struct strand *current = __atomic_load_n(&t->current, __ATOMIC_RELAXED);

    return current && current != &t->own;
}

static bool
is_gone(struct thread_record *t)
{
    return !__atomic_load_n(&t->ts, __ATOMIC_RELAXED);
}

/* Gives a stay to each record that was made since. Without memory they get one
 * later. */
static void
meet_new_records(struct watch *w, uint64_t when)
{
    struct thread_record *newest = atomic_load(&thread_records), *t;
    size_t n = 0;

    for (t = newest; t != w->newest; t = t->next_made)
        n++;
    if (w->count + n > w->room) {
        size_t room = 2 * (w->count + n);
        struct stay *stays = realloc(w->stays, room * sizeof *stays);

        if (!stays)
            return;
        w->stays = stays;
        w->room = room;
    }
    for (t = newest; t != w->newest; t = t->next_made)
        w->stays[w->count++] = (struct stay){
            .record = t, .switches = switches_of(t), .since = when};
    w->newest = newest;
}

static bool
is_due(const struct stay *stay, uint64_t when, uint64_t least)
{
    return !stay->seen && when - stay->since >= least &&
           is_inside(stay->record);
}

/* Whether there is anything to tell. */
static bool
look_at(struct stay *stay, uint64_t when, uint64_t least)
{
    uint64_t switches = switches_of(stay->record);
    bool over = switches != stay->switches;

    if (CO_UNLIKELY(stay->told) && !stay->lasted) {
        if (over || is_gone(stay->record))
            stay->lasted = stay->lasts - stay->told_since;
        else
            stay->lasts = when;
    }
    if (over) {
        stay->switches = switches;
        stay->since = when;
        stay->seen = false;
    }
    return (stay->told && stay->lasted) || is_due(stay, when, least);
}

/* Looks at all of them; whether the teller is to be woken. */
static bool
look(struct watch *w)
{
    uint64_t when = os_monotonic();
    bool found = false, wake;

    (void)pthread_mutex_lock(&w->lock);
    if (atomic_load(&thread_records) != w->newest)
        meet_new_records(w, when);
    for (size_t i = 0; i < w->count; i++)
        if (look_at(&w->stays[i], when, w->least))
            found = true;
    wake = found && !w->woken;
    w->woken = w->woken || found;
    (void)pthread_mutex_unlock(&w->lock);
    return wake;
}

/* With thousands of threads it looks more seldom, so that this stays cheap. */
static void *
look_out(void *arg)
{
    struct watch *w = arg;
    uint64_t spent = 0;
    bool woken;

    for (;;) {
        uint64_t pause = w->least / LOOKS, begun;

        if (pause < MOST_SHARE * spent)
            pause = MOST_SHARE * spent;
        if (pause < LEAST_PAUSE)
            pause = LEAST_PAUSE;
        (void)PyThread_acquire_lock_timed(w->alarm, (long long)pause / 1000, 0);
        if (atomic_load(&w->stopping))
            break;
        begun = processor_time();
        if (look(w))
            PyThread_release_lock(w->work);
        spent = processor_time() - begun;
    }
    (void)pthread_mutex_lock(&w->lock);
    woken = w->woken;
    w->woken = true;
    (void)pthread_mutex_unlock(&w->lock);
    if (!woken)
        PyThread_release_lock(w->work);
    return NULL;
}

/* --- what is told ------------------------------------------------------- */

/* (code, line, name of the module or None). Steals the frame. */
static PyObject *
describe(PyFrameObject *frame)
{
    PyCodeObject *code = PyFrame_GetCode(frame);
    PyObject *globals = PyFrame_GetGlobals(frame);
    PyObject *module =
        PyDict_Check(globals) ? dict_find(globals, "__name__") : NULL;
    PyObject *found = NULL;

    if (!PyErr_Occurred())
        found =
            Py_BuildValue("NiO", (PyObject *)code, PyFrame_GetLineNumber(frame),
                          module ? module : Py_None);
    else
        Py_DECREF(code);
    Py_DECREF(globals);
    Py_DECREF(frame);
    return found;
}

/* Appends what frames there are from this one on, which it steals, before
 * `end`: that is what comes next, a borrowed reference, or NULL. NULL with an
 * exception set. */
static PyObject *
describe_all(PyFrameObject *frame, const PyFrameObject *end)
{
    PyObject *all = PyList_New(0);

    while (all && frame && frame != end && PyList_GET_SIZE(all) < MOST_FRAMES) {
        PyFrameObject *next = PyFrame_GetBack(frame);
        PyObject *one = describe(frame);

        frame = next;
        if (!one || PyList_Append(all, one) < 0)
            Py_CLEAR(all);
        Py_XDECREF(one);
    }
    Py_XDECREF(frame);
    return all;
}

/* What helps to name a face, a new reference: the name that it was given, what
 * it runs, the task that drives it, or None. What has ended meanwhile has none
 * of them any more. */
static PyObject *
hint(const struct strand *s)
{
    const Coroutine *co = (const Coroutine *)s->face;
    const Bridge *bridge = (const Bridge *)s->face;
    PyObject *found = NULL;

    switch (s->ops->kind) {
    case FACE_COROUTINE:
        found = co->label && co->label->name ? co->label->name : co->fn;
        break;
    case FACE_GREENLET:
        found = ((const PyGreenlet *)s->face)->pimpl->run;
        break;
    case FACE_BRIDGE:
        if (bridge->task)
            return PyObject_CallNoArgs(bridge->task);
        break;
    }
    return Py_NewRef(found ? found : Py_None);
}

/* [(kind, face, hint)] of the strand and of those that wait for it. */
static PyObject *
faces(const struct strand *s)
{
    PyObject *all = PyList_New(0);

    for (; all && s && s->face; s = s->caller) {
        PyObject *one =
            Py_BuildValue("iON", (int)s->ops->kind, s->face, hint(s));

        if (!one || PyList_Append(all, one) < 0)
            Py_CLEAR(all);
        Py_XDECREF(one);
    }
    return all;
}

/* What to tell, with its stay as it was when the teller came. */
struct item {
    size_t index;
    struct stay stay;
    uint64_t lasted; /* of the one that was told of before, or 0 */
    PyObject *args;  /* or NULL */
};

/* The arguments that say so. The GIL is ours since the stay was looked at last:
 * it lasts. */
static PyObject *
tell_of(const struct item *item, uint64_t when)
{
    struct thread_record *t = item->stay.record;
    double held = (double)(when - item->stay.since) / SECOND;
    PyFrameObject *frame = tstate_running_frame(t->ts, &t->current->root);
    PyFrameObject *caller =
        PyErr_Occurred() ? NULL : tstate_frame_behind(t->ts, &t->current->root);
    PyObject *own = PyErr_Occurred() ? NULL : describe_all(frame, caller);
    PyObject *callers;

    if (!own) {
        Py_XDECREF(caller);
        return NULL;
    }
    callers = describe_all(caller, NULL);
    if (!callers) {
        Py_DECREF(own);
        return NULL;
    }
    return Py_BuildValue("ndksNNN", (Py_ssize_t)item->index, held, t->ident,
                         t->name, faces(t->current), own, callers);
}

/* Takes what there is to tell: how many; NULL in *items if there is no memory,
 * for the next time. */
static size_t
collect(struct watch *w, uint64_t when, struct item **items)
{
    size_t n = 0;

    (void)pthread_mutex_lock(&w->lock);
    w->woken = false;
    *items = w->count ? calloc(w->count, sizeof **items) : NULL;
    for (size_t i = 0; *items && i < w->count; i++) {
        struct stay *stay = &w->stays[i];

        if (!look_at(stay, when, w->least))
            continue;
        (*items)[n++] =
            (struct item){.index = i, .stay = *stay, .lasted = stay->lasted};
        if (stay->lasted)
            stay->told = false;
        stay->lasted = 0;
        if (is_due(stay, when, w->least)) {
            stay->seen = stay->told = true;
            stay->told_since = stay->since;
            stay->lasts = when;
        }
    }
    (void)pthread_mutex_unlock(&w->lock);
    return n;
}

static void
want_no_end(struct watch *w, size_t index)
{
    (void)pthread_mutex_lock(&w->lock);
    w->stays[index].told = false;
    w->stays[index].lasted = 0;
    (void)pthread_mutex_unlock(&w->lock);
}

/* Whether it wants to be told of the end, too. Steals args. */
static bool
report(struct watch *w, PyObject *to, PyObject *args)
{
    PyObject *result = NULL;
    bool wanted = false;

    w->telling = true;
    if (args)
        result = PyObject_CallObject(to, args);
    if (result)
        wanted = PyObject_IsTrue(result) > 0;
    if (PyErr_Occurred())
        PyErr_WriteUnraisable(to);
    w->telling = false;
    Py_XDECREF(result);
    Py_XDECREF(args);
    return wanted;
}

/* All stacks are taken before any Python code runs, which gives up the GIL. */
static void
tell(struct watch *w)
{
    uint64_t when = os_monotonic();
    struct item *items;
    size_t n = collect(w, when, &items);

    for (size_t i = 0; i < n; i++) {
        const struct stay *stay = &items[i].stay;
        const struct thread_record *t = stay->record;

        if (!is_due(stay, when, w->least))
            continue;
        if (t->ts && t->state == w->state)
            items[i].args = tell_of(&items[i], when);
        if (PyErr_Occurred())
            PyErr_WriteUnraisable(w->begun);
        if (!items[i].args)
            want_no_end(w, items[i].index);
    }
    for (size_t i = 0; i < n; i++) {
        struct item *item = &items[i];

        if (item->lasted)
            (void)report(w, w->over,
                         Py_BuildValue("nd", (Py_ssize_t)item->index,
                                       (double)item->lasted / SECOND));
        if (item->args && !report(w, w->begun, item->args))
            want_no_end(w, item->index);
    }
    free(items);
}

/* --- the threads -------------------------------------------------------- */

static void *
teller(void *arg)
{
    struct watch *w = arg;
    PyThreadState *ts = PyThreadState_New(w->interp);

    if (!ts)
        stop(w); /* there is no memory */
    while (!atomic_load(&w->stopping)) {
        (void)PyThread_acquire_lock(w->work, WAIT_LOCK);
        if (atomic_load(&w->stopping))
            break;
        PyEval_AcquireThread(ts);
        if (!atomic_load(&w->stopping))
            tell(w);
        PyEval_ReleaseThread(ts);
    }
    (void)pthread_join(w->looker, NULL);
    if (ts) {
        PyEval_AcquireThread(ts);
        Py_CLEAR(w->begun);
        Py_CLEAR(w->over);
        PyThreadState_Clear(ts);
        PyThreadState_DeleteCurrent();
    }
    PyThread_release_lock(w->ended);
    watch_put(w);
    return NULL;
}

/* Signals are for the threads that the program has. */
static bool
start_thread(pthread_t *thread, void *(*function)(void *), struct watch *w)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    int failed;

    if (pthread_attr_init(&attributes) != 0)
        return false;
    (void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(thread, &attributes, function, w);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    return !failed;
}

static bool
start_threads(struct watch *w)
{
    if (!start_thread(&w->looker, look_out, w))
        return false;
    if (start_thread(&w->teller, teller, w))
        return true;
    stop(w);
    (void)pthread_join(w->looker, NULL);
    return false;
}

static void
capsule_gone(PyObject *capsule)
{
    struct watch *w = PyCapsule_GetPointer(capsule, capsule_name);

    stop(w);
    watch_put(w);
}

static PyThread_type_lock
new_held_lock(void)
{
    PyThread_type_lock lock = PyThread_allocate_lock();

    if (lock)
        (void)PyThread_acquire_lock(lock, WAIT_LOCK);
    return lock;
}

static struct watch *
watch_alloc(void)
{
    struct watch *w = calloc(1, sizeof *w);

    if (!w)
        return NULL;
    (void)pthread_mutex_init(&w->lock, NULL);
    w->alarm = new_held_lock();
    w->work = new_held_lock();
    w->ended = new_held_lock();
    if (w->alarm && w->work && w->ended)
        return w;
    watch_free(w);
    return NULL;
}

/* --- functions of the module -------------------------------------------- */

static PyObject *
core_watch_start(PyObject *module, PyObject *args)
{
    struct module_state *state = state_get();
    PyObject *begun, *over, *capsule;
    struct watch *w;
    double seconds;

    if (!state ||
        !PyArg_ParseTuple(args, "dOO:_watch_start", &seconds, &begun, &over))
        return NULL;
    w = watch_alloc();
    if (!w)
        return PyErr_NoMemory();
    w->least = (uint64_t)(seconds * SECOND);
    w->interp = PyInterpreterState_Get();
    w->state = state;
    capsule = PyCapsule_New(w, capsule_name, NULL);
    if (!capsule) {
        watch_free(w);
        return NULL;
    }
    w->users = 2;
    w->begun = Py_NewRef(begun);
    w->over = Py_NewRef(over);
    if (start_threads(w)) {
        (void)PyCapsule_SetDestructor(capsule, capsule_gone);
        return capsule;
    }
    Py_DECREF(w->begun);
    Py_DECREF(w->over);
    Py_DECREF(capsule);
    watch_free(w);
    return PyErr_Format(PyExc_RuntimeError,
                        "can't start the threads of copool.watch(): the system "
                        "has no memory for them or allows no more");
}

static PyObject *
core_watch_stop(PyObject *module, PyObject *args)
{
    struct watch *w;
    PyObject *capsule;
    PyLockStatus ended;
    double seconds;

    if (!PyArg_ParseTuple(args, "Od:_watch_stop", &capsule, &seconds) ||
        !(w = PyCapsule_GetPointer(capsule, capsule_name)))
        return NULL;
    if (w->joined)
        Py_RETURN_TRUE;
    stop(w);
    if (pthread_equal(pthread_self(), w->teller))
        Py_RETURN_NONE;
    Py_BEGIN_ALLOW_THREADS;
    ended =
        PyThread_acquire_lock_timed(w->ended, (long long)(seconds * 1e6), 0);
    Py_END_ALLOW_THREADS;
    if (ended != PY_LOCK_ACQUIRED)
        Py_RETURN_FALSE;
    if (!w->joined)
        (void)pthread_join(w->teller, NULL);
    w->joined = true;
    PyThread_release_lock(w->ended); /* for others who wait for it */
    Py_RETURN_TRUE;
}

static PyObject *
core_watch_tells(PyObject *module, PyObject *capsule)
{
    struct watch *w = PyCapsule_GetPointer(capsule, capsule_name);

    return w ? PyBool_FromLong(w->telling) : NULL;
}

static PyMethodDef functions[] = {
    {"_watch_start", core_watch_start, METH_VARARGS,
     PyDoc_STR("_watch_start(seconds, begun, over)\n--\n\n"
               "Look, in a thread of its own, for strands that hold their "
               "thread for that long.\n\n"
               "Calls begun(key, held, ident, thread, faces, frames, callers) "
               "for each and,\nif that returned true, over(key, held) when "
               "it has switched.")},
    {"_watch_stop", core_watch_stop, METH_VARARGS,
     PyDoc_STR("_watch_stop(watch, seconds)\n--\n\n"
               "End it; whether it has ended within that time, or None in its "
               "own thread.")},
    {"_watch_tells", core_watch_tells, METH_O,
     PyDoc_STR("_watch_tells(watch)\n--\n\n"
               "Whether it is running Python code.")},
    {NULL, NULL, 0, NULL},
};

int
watch_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
