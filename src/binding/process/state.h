/* SPDX-License-Identifier: MIT
 *
 * The state of the extension module copool._core in one interpreter, for the
 * files that raise its exceptions and know its types.
 */
#ifndef COPOOL_STATE_H
#define COPOOL_STATE_H

#include "cpython/tstate.h"

struct module_state {
    PyTypeObject *coroutine_type;
    PyTypeObject *bridge_type;
    PyTypeObject *call_type; /* see call_graph.c */
    PyObject *coroutine_error;
    PyObject *coroutine_exit;
    PyObject *pool_exhausted;
    PyObject *no_values;    /* of an empty context, see strand.h */
    struct bridge *bridges; /* all that there are, newest first */
    bool watches_collector; /* see bridge.c */
    bool notes_makers;      /* see label.h */
    bool notes_times;       /* see tell.h */
};

/* What the dict has under the key, a borrowed reference. NULL without an
 * exception if it has nothing, with one if there is no memory. */
PyObject *dict_find(PyObject *dict, const char *key);

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
