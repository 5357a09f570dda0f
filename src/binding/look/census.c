/* SPDX-License-Identifier: MIT
 *
 * How many chains there are, by face and state, for copool.stats(): counted
 * when that is asked for, in the lists of the interpreter's threads. What is
 * looked at of a strand lies together, beside the link to the next one.
 *
 * Thread rule: all functions need the GIL.
 */
#include "bridge/bridge.h"
#include "greenlet/thread.h"
#include "look/look.h"
#include "process/state.h"

enum { AHEAD = 4 };

struct counts {
    Py_ssize_t running, waiting, suspended;
};

struct census {
    struct counts of[FACE_BRIDGE + 1]; /* by kind */
    uint64_t left_first; /* when the longest suspended was; 0 if none */
    bool has_times;
};

/* Of the interpreter's threads only: others have GILs of their own. */
static bool
is_of(const struct thread_record *t, const struct module_state *state)
{
    return t->ts && t->state == state;
}

/* All switches of the process, since records keep their counts. */
static unsigned long long
count_switches(void)
{
    struct thread_record *t = atomic_load(&thread_records);
    unsigned long long sum = 0;

    for (; t; t = t->next_made)
        sum += __atomic_load_n(&t->switches, __ATOMIC_RELAXED);
    return sum;
}

/* Where control has left what is suspended: in itself, or in a coroutine that
 * it has entered. */
static const struct strand *
top_of(const struct strand *s)
{
    if (s->ops->kind == FACE_GREENLET)
        return ((PyGreenlet *)s->face)->pimpl->top;
    if (s->ops->kind == FACE_BRIDGE)
        return ((Bridge *)s->face)->top;
    return s;
}

/* One without a caller is suspended, but for the current greenlet. */
static bool
is_suspended(const struct strand *s, const PyObject *current_greenlet)
{
    return !s->caller && s->face != current_greenlet;
}

/* Stacks are far apart, so that each strand takes the processor a translation
 * of its address and a line of memory. Those of a crowd mostly lie as far from
 * each other as the first two: it may begin on some that come later. Where that
 * is wrong nothing is lost. */
static void
prefetch(const struct strand *s)
{
    ptrdiff_t step = (const char *)s->next - (const char *)s;

    __builtin_prefetch((const char *)&s->face + AHEAD * step);
}

/* Those that are parked are nobody's, and bridges are counted by themselves. */
static void
count_list(struct census *census, const struct strand *s)
{
    const struct thread_record *t = s ? s->thread : NULL;
    const PyObject *greenlet =
        t && t->greenlets
            ? (PyObject *)((struct greenlet_thread *)t->greenlets)->current
            : NULL;

    for (; s; s = s->next) {
        struct counts *counts = s->face ? &census->of[s->ops->kind] : NULL;

        prefetch(s);
        if (!counts)
            continue;
        if (!is_suspended(s, greenlet)) {
            counts->running += t->current == s;
            counts->waiting += t->current != s;
            continue;
        }
        counts->suspended++;
        if (census->has_times) {
            const struct strand *top = top_of(s);

            if (top && top->since &&
                (!census->left_first || top->since < census->left_first))
                census->left_first = top->since;
        }
    }
}

/* Most of those that are suspended have no strand. */
static void
count_bridges(struct census *census, const struct module_state *state)
{
    struct counts counts = {0};

    for (const Bridge *b = state->bridges; b; b = b->next) {
        bool runs = b->strand && b->strand->thread->current == b->strand;

        counts.running += b->state == ENTERED && runs;
        counts.waiting += b->state == ENTERED && !runs;
        counts.suspended += b->state == SUSPENDED;
    }
    census->of[FACE_BRIDGE] = counts;
}

static PyObject *
oldest(const struct census *census)
{
    if (!census->left_first)
        Py_RETURN_NONE;
    return PyFloat_FromDouble((double)(os_monotonic() - census->left_first) /
                              1e9);
}

static PyObject *
core_chains(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct module_state *state = state_get();
    struct thread_record *t = atomic_load(&thread_records);
    struct census census = {.has_times = state && state->notes_times};
    const struct counts *of = census.of;

    if (!state)
        return NULL;
    for (; t; t = t->next_made) {
        if (!is_of(t, state))
            continue;
        count_list(&census, t->started);
        count_list(&census, t->passed);
    }
    count_bridges(&census, state);
    return Py_BuildValue(
        "K(nnn)(nnn)(nnn)N", count_switches(), of[FACE_COROUTINE].running,
        of[FACE_COROUTINE].waiting, of[FACE_COROUTINE].suspended,
        of[FACE_GREENLET].running, of[FACE_GREENLET].waiting,
        of[FACE_GREENLET].suspended, of[FACE_BRIDGE].running,
        of[FACE_BRIDGE].waiting, of[FACE_BRIDGE].suspended, oldest(&census));
}

static PyMethodDef functions[] = {
    {"chains", core_chains, METH_NOARGS,
     PyDoc_STR("Switches; running, waiting and suspended coroutines, "
               "greenlets and awaited\nchains; the age of the longest "
               "suspended, or None: a tuple.")},
    {NULL, NULL, 0, NULL},
};

int
census_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
