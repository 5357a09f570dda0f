/* SPDX-License-Identifier: MIT
 *
 * What there is of a strand, beside its stack, and of a thread that has any.
 *
 * Thread rule: the GIL, but where it says otherwise.
 */
#ifndef COPOOL_STRAND_RECORD_H
#define COPOOL_STRAND_RECORD_H

#include "cpython/tstate.h"
#include "python/error.h"
#include "strand/cxx_words.h"
#include "strand/face.h"
#include "strand/keep.h"

#include "block.h"
#include "ctx.h"
#include "pool.h"

struct module_state;
struct outlook;
struct teller;
struct thread_record;

/* The block's record: in the hot page, beside the top of the stack. What a
 * switch reads and writes lies together, from the second cache line on: in
 * a crowd each line is fetched from memory. */
struct strand {
    struct block block; /* must be first; unused in a thread's own strand */
    struct pool *pool;
    struct ctx ctx; /* only valid when not running, like the slice */
    struct thread_record *thread;
    struct strand *caller; /* who entered it and is switched to when it yields
                              or ends; NULL while it is suspended, and for a
                              face that chooses whom to switch to */
    const struct face_ops *ops;
    bool finished;
    bool dropped; /* it is in thread->dropped, which owns the face */
    struct tstate_slice slice;
    struct tstate_root root;
    PyObject *face;        /* borrowed; NULL for a thread's own strand and when
                              parked */
    struct cxx_words cxx;  /* only valid if the slice's rest says so */
    PyObject *const *args; /* that its first call holds, for the collector */
    Py_ssize_t nargs;
    struct strand *next, **link; /* in thread->started or thread->passed */
    struct strand *next_queued;  /* in thread->dropped or thread->parked */
    uint64_t section;            /* only valid for one without a caller: see
                                    thread_record.section */
    PyObject *told_from; /* only valid if the slice's rest says so: the face of
                            whom control came from */
    uint64_t since;      /* nanoseconds of CLOCK_MONOTONIC at which it was left;
                            only valid if times are noted */
    PyObject *const *stack_end; /* only valid when it is left for good */
    PyObject *trace_hook; /* threading.settrace()'s that has given a strand
                             that is parked its trace function, or NULL */
};

/* What a face keeps for a thread, at the beginning of a structure of its own.
 */
struct thread_extra {
    /* The thread has ended, or this process is the child of a fork that has it
     * not: frees the structure. The strands are gone. May run Python code. */
    void (*gone)(struct thread_record *t);
    PyObject *trace; /* the function that it tells of its switches, or NULL */
};

/* How far ahead of a switch memory is asked for what comes then: in turns, of
 * those that are entered after a long time. See face/outlook.h. */
enum { OUTLOOK_AHEAD = 2 };

struct thread_record {
    PyThreadState
        *ts; /* NULL when the thread state is no more. Must be first */
    struct thread_record *next_made; /* in thread_records */
    /* From here on it is cleared when it is used again. */
    struct strand own;
    struct strand *current;
    uint64_t switches; /* of all threads that have had the record; another
                          thread may read it */
    uint64_t switches_before; /* of those that have had it before */
    /* Of faces that have a strand: those that were entered last. */
    struct outlook *entered[OUTLOOK_AHEAD];
    struct cxx_thread cxx;
    struct strand *started;    /* and not finished */
    struct strand *passed;     /* the same, only used by strand_unwind_all() */
    struct strand *to_look_at; /* by strand_look() next; one of those, or NULL
                                  for the first. By strand_renew() while that
                                  has not been through them */
    uint64_t instrumentation;  /* that all code of suspended strands is up to;
                                  or, while it is not, none that there is */
    uint64_t renewing;         /* that strand_renew() brings it up to */
    struct strand *dropped;    /* by other threads; to be unwound by this one */
    struct strand *parked;     /* and ready for another face */
    unsigned parked_count;
    struct module_state *state;       /* of the thread's interpreter */
    const PyInterpreterState *interp; /* the same as the thread state's, which
                                         may be gone: before 3.13 what runs very
                                         late in a thread's end gets a record
                                         that nobody ends */
    struct thread_record *next_spare; /* only valid when it is not in use */
    bool collecting;    /* the garbage collector works in this thread */
    bool ends;          /* or the process does: all are being unwound */
    struct error error; /* only valid during a switch that passes NULL */
    struct free_faces free_coroutines, free_bridges;
    struct spare_contexts spare_contexts;
    Py_tracefunc
        profile_seen;    /* a profile function, or NULL: see tell/follow.c */
    unsigned long ident; /* threading.get_ident() */
    char name[48];       /* the thread's, when the record was made,
                            in UTF-8, or "" */
    struct thread_extra *greenlets; /* NULL until the thread uses any */
    struct teller *teller;          /* NULL until it is told of switches */
    ctx_entry *entry;               /* of strands that do one call */

    /* A section is a call on the thread's own stack; each has a number, and
     * what may run in it bears that or a later one: what began since, in
     * sections that were within it. 0 when there is none. */
    struct strand *occupant; /* of the thread's stack: who has called it last */
    uint64_t section, sections;
};

/* Whether a strand, or one from which it is entered below `up_to`, has the
 * thread's stack under it: then they may not be suspended, since what comes
 * next may need that. */
static inline bool
strand_occupies_thread(const struct strand *s, const struct strand *up_to)
{
    const struct strand *occupant = s->thread->occupant;

    for (; s != up_to; s = s->caller)
        if (s == occupant)
            return true;
    return false;
}

/* Whether the address is on the stack of the strand's block. */
static inline bool
strand_has_on_stack(const struct strand *s, const char *address)
{
    return address >= s->block.low && address < (const char *)&s->block;
}

/* Of a strand that is not running, unless that is on the thread's stack: NULL
 * then. */
static inline char *
strand_stack_pointer(const struct strand *s)
{
    char *sp = ctx_stack_pointer(&s->ctx);

    return strand_has_on_stack(s, sp) ? sp : NULL;
}

/* What thread_record.instrumentation is while code is being renewed. */
#define STRAND_RENEWING UINT64_MAX

static inline bool
strand_is_renewing(const struct thread_record *t)
{
    return t->instrumentation == STRAND_RENEWING;
}

extern CO_THREAD_LOCAL struct thread_record *thread_record_last;

/* All that were ever made, newest first. They are never freed, so that a signal
 * handler may look through them. */
extern _Atomic(struct thread_record *) thread_records;

#endif
