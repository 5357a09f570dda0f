/* SPDX-License-Identifier: MIT
 *
 * copool.on_thread_stack(): see thread_stack.c.
 */
#ifndef COPOOL_STRAND_THREAD_STACK_H
#define COPOOL_STRAND_THREAD_STACK_H

#include "cpython/version.h"

/* Adds it to the module; -1 with an exception set. */
int thread_stack_init(PyObject *module);

#endif
