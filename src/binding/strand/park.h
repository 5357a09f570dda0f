/* SPDX-License-Identifier: MIT
 *
 * Strands that wait for another piece of work.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_STRAND_PARK_H
#define COPOOL_STRAND_PARK_H

#include "strand/record.h"

/* For an entry that does one piece of work after another: keeps the running
 * strand for the next face, unless enough are kept. If so, the entry switches
 * to whoever waits for it. When that comes back, strand->face is the next one
 * or, if it must leave, NULL. */
bool strand_park(struct strand *strand);

/* tstate_begin_trace() for a strand that may have been parked. A tool that
 * traces gets one trace function for each strand, not for each piece of work.
 */
void strand_renew_trace(struct strand *strand);

/* A parked strand, for that face, or NULL. May run Python code. */
struct strand *strand_unpark(struct thread_record *t, PyObject *face);

/* Lets the parked strands of the thread end, and frees the faces that it keeps
 * for reuse. May run Python code. */
void strand_trim(struct thread_record *t);

#endif
