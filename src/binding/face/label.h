/* SPDX-License-Identifier: MIT
 *
 * What is known of few coroutines: the names that one was given, and who made
 * it, which is noted if the program wants that. Those who read a process from
 * outside find it, too (raw/section.h).
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_FACE_LABEL_H
#define COPOOL_FACE_LABEL_H

#include "cpython/tstate.h"

struct label {
    PyObject *name;  /* a str, or NULL */
    PyObject *maker; /* who called what made it: "function (file:line)", a str,
                        or NULL */
    PyObject
        *qualname;    /* a str, or NULL: a Bridge's only, as is what follows */
    PyObject *origin; /* cr_origin, a tuple; or NULL */
};

/* Sets *label for a face that is being made: with the name, a str, or NULL; and
 * with its maker, if that is to be noted. NULL if there is nothing to say.
 * False with an exception set if there is no memory. Runs no Python code. */
bool label_make(struct label **label, PyObject *name, bool note_maker);

/* Gives it another name, a str. */
bool label_set_name(struct label **label, PyObject *name);

bool label_set_qualname(struct label **label, PyObject *qualname);

/* Notes which calls it is made in, at most so many, as of a coroutine that is
 * made where sys.set_coroutine_origin_tracking_depth() was called. */
bool label_note_origin(struct label **label, int depth);

/* Frees it; it may be NULL. */
void label_free(struct label **label);

#endif
