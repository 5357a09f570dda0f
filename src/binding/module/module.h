/* SPDX-License-Identifier: MIT
 *
 * What the other files add to the extension module copool._core; module.c puts
 * them together.
 */
#ifndef COPOOL_MODULE_H
#define COPOOL_MODULE_H

#include "process/state.h"

/* Each adds types or functions to the module; -1 with an exception set. */
int coroutine_init(PyObject *module, struct module_state *state);
int bridge_init(PyObject *module, struct module_state *state);
int call_graph_init(PyObject *module, struct module_state *state);
int blocks_init(PyObject *module, struct module_state *state);
int follow_init(PyObject *module);
int greenlet_module_init(PyObject *module, struct module_state *state);
int census_init(PyObject *module);
int overflow_init(PyObject *module, struct module_state *state);
int tell_init(PyObject *module);
int dump_init(PyObject *module);
int thread_stack_init(PyObject *module);
int watch_init(PyObject *module);

#endif
