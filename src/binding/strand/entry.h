/* SPDX-License-Identifier: MIT
 *
 * Where a strand begins: the call that it makes, and its last step.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_STRAND_ENTRY_H
#define COPOOL_STRAND_ENTRY_H

#include "strand/strand.h"

/* What a function is called with, as in a vectorcall. */
struct strand_args {
    PyObject *const *args;
    Py_ssize_t nargs; /* by position */
    PyObject *names;  /* of those that follow, a tuple, or NULL */
};

/* What a new strand is to call. Only valid until the first switch. */
struct strand_start {
    struct strand *strand;
    PyObject *fn;
    struct strand_args args;
};

/* The entry of a strand whose first switch passes a struct strand_start. It
 * calls start->fn; strand->caller gets what that returns. The other one is for
 * threads that are told of switches. */
ctx_entry strand_main, strand_main_told;

/* For entries: a strand's first steps, and its last. The latter switches to
 * `to` for good, with `value` as in strand_switch(); whoever is there calls
 * strand_release(). */
#define STRAND_ARRIVE(strand)                                                  \
    do {                                                                       \
        ARCH_OUTERMOST_FRAME();                                                \
        san_after_switch(&(strand)->ctx.san);                                  \
    } while (0)
_Noreturn void strand_leave(struct strand *strand, struct strand *to,
                            void *value);

/* Arguments that a strand owns while it makes its first call: they belonged to
 * its starter, who goes on at our first switch. */
enum { STRAND_FEW = 4 };

struct strand_call {
    struct strand *strand;
    struct strand_args args;
    PyObject *few[1 + STRAND_FEW]; /* the first is for the callee's use */
    PyObject **many;               /* if there are more: from PyMem_Malloc() */
};

/* Takes references to the arguments; false with an exception set. Runs no
 * Python code. */
bool strand_call_hold(struct strand_call *call, struct strand *strand,
                      const struct strand_args *args);

/* Calls fn with them and drops them. */
PyObject *strand_call_make(struct strand_call *call, PyObject *fn);

/* Drops them without a call. May run Python code. */
void strand_call_drop(struct strand_call *call);

#endif
