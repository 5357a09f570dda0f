/* SPDX-License-Identifier: MIT
 *
 * What a chain of calls that waits in await_() shows to who asks inside the
 * process, such as asyncio's call graphs: these begin with a frame and go on
 * with what is awaited there, cr_await, as long as that has a frame, cr_frame.
 * A chain of coroutines is like that by itself; in ours each frame but the
 * outermost gets a record for it, which is made when it is asked for.
 *
 * What is shown outside the process is cpython/shown.h's, but for the type.
 */
#ifndef COPOOL_BRIDGE_CALL_GRAPH_H
#define COPOOL_BRIDGE_CALL_GRAPH_H

#include "bridge/bridge.h"

/* What a call graph shows: owned. */
struct call_graph {
    PyFrameObject *outermost; /* or NULL if there is no Python frame */
    PyObject *awaited;        /* by that */
};

/* Of one that waits in await_(). False with an exception set. */
bool call_graph_get(struct call_graph *graph, const Bridge *bridge);
void call_graph_clear(struct call_graph *graph);

/* The type, which it steals, in the form in which asyncio's tools look through
 * its objects from outside the process; the same where there are none of these.
 * NULL with an exception set. */
PyTypeObject *call_graph_type(PyTypeObject *type);

/* Whether it is asyncio's Task.get_stack() that asks, which follows f_back from
 * the innermost frame and not cr_await: 1 or 0, or -1 with an exception set. */
int call_graph_is_stack(void);

/* Adds the type of the records to the module; -1 with an exception set. */
int call_graph_init(PyObject *module, struct module_state *state);

#endif
