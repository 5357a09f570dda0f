/* SPDX-License-Identifier: MIT
 *
 * What a strand asks of its face, which decides who is switched to, when, and
 * with what.
 */
#ifndef COPOOL_STRAND_FACE_H
#define COPOOL_STRAND_FACE_H

#include "cpython/version.h"

struct strand;

/* What a face is. Readers from outside know the numbers. */
enum face_kind { FACE_COROUTINE = 1, FACE_GREENLET = 2, FACE_BRIDGE = 3 };

/* Where one is that has a caller. Readers from outside know the numbers. */
enum face_state { CREATED, ENTERED, SUSPENDED, FINISHED };

/* What a strand's face must be able to do besides switching. */
struct face_ops {
    enum face_kind kind;
    /* Whether the chain can be unwound: it is neither running nor waiting for
     * another strand to come back to it. */
    bool (*is_suspended)(const struct strand *strand);
    /* Ends the chain of a suspended face by raising the exit exception in it.
     * One that has caught that and is suspended again is given up, but for a
     * greenlet. Runs Python code; keeps a set exception. */
    void (*unwind)(PyObject *face);
    /* The chain, which is the running one, has ended with the exception that is
     * set: what its caller gets instead, a new reference, or NULL to pass the
     * exception on. What the face drops here is dropped in the chain's context.
     * May run Python code. NULL for a face that has an entry of its own. */
    PyObject *(*fails)(PyObject *face);
    /* Its strand is no more: the face must count as finished. */
    void (*forget)(PyObject *face);
    /* The end of the arguments of the call in which the strand of a suspended
     * face is, as in tstate_free(), or NULL. May itself be NULL. */
    PyObject *const *(*stack_end)(const struct strand *strand);
    /* Whether suspended faces are unwound when the thread ends or the process
     * exits. Else they are never run again. */
    bool unwound_at_end;
    /* If a suspended face may have entered coroutines, which wait with it: what
     * they wait for and who will let them go on. Else NULL. */
    const char *why_suspended;
    /* What a running face calls, a borrowed reference, or NULL. Called in a
     * signal handler. */
    PyObject *(*callee)(PyObject *face);
    /* The strand that goes on when a suspended face does: its own, or the last
     * of those that are entered from it, which wait with it. NULL if it is
     * always its own. */
    struct strand *(*top)(PyObject *face);
};

/* How a chain is being ended by force, if it is: by who gets an exception that
 * passes the exit, or by nobody, so that it is reported. */
enum strand_ending { NOT_ENDING, CLOSED, DROPPED };

/* What a face calls whose strand begins in strand_main(), an owned reference:
 * it must be its first field. The strand drops it, in its own context. */
static inline PyObject **
strand_callable(PyObject *face)
{
    return (PyObject **)(face + 1);
}

#endif
