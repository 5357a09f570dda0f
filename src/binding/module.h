/* SPDX-License-Identifier: MIT
 *
 * What the files of the extension module copool._core share: the state of the
 * module in one interpreter, and what each file adds to the module.
 */
#ifndef COPOOL_MODULE_H
#define COPOOL_MODULE_H

#include "tstate.h"

struct module_state {
    PyTypeObject *coroutine_type;
    PyObject *coroutine_error;
    PyObject *coroutine_exit;
    PyObject *pool_exhausted;
};

/* The state of the module in the current interpreter. NULL with an exception
 * set if the module is not loaded there. */
struct module_state *module_state_get(void);

/* Frees a Coroutine object from a thread's list, returns the next one. */
PyObject *coroutine_free(PyObject *face);

/* Each adds types or functions to the module; -1 with an exception set. */
int coroutine_init(PyObject *module, struct module_state *state);
int blocks_init(PyObject *module, struct module_state *state);

#endif
