/* SPDX-License-Identifier: MIT
 *
 * The state of the extension module copool._core in one interpreter, for the
 * files that raise its exceptions and know its types.
 */
#ifndef COPOOL_PROCESS_STATE_H
#define COPOOL_PROCESS_STATE_H

#include "cpython/version.h"

struct module_state {
    PyTypeObject *coroutine_type;
    PyTypeObject *bridge_type;
    PyTypeObject *call_type; /* see bridge/call_graph.c */
    PyObject *coroutine_error;
    PyObject *coroutine_exit;
    PyObject *pool_exhausted;
    PyObject *no_values;    /* of an empty context, see strand/keep.h */
    struct bridge *bridges; /* all that there are, newest first */
    bool watches_collector; /* see bridge/life.c */
    bool notes_makers;      /* see face/label.h */
    bool notes_times;       /* see tell/teller.h */
};

/* The module that holds the state of the current interpreter, a borrowed
 * reference. NULL without an exception if there is none yet, with one if there
 * is no memory. */
PyObject *state_module(void);

/* Makes the module that one. -1 with an exception set. */
int state_set_module(PyObject *module);

/* NULL with an exception set if the module is not loaded in the current
 * interpreter. */
struct module_state *state_get(void);

#endif
