/* SPDX-License-Identifier: MIT
 *
 * The memory that suspended chains don't use.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_STRAND_MEMORY_H
#define COPOOL_STRAND_MEMORY_H

#include "strand/record.h"

/* Gives back the pages below the stack pointers of all suspended strands of the
 * interpreter. */
void strand_discard_unused(void);

/* The same for some of the current thread, in turn: to be called now and then.
 * Runs no Python code. */
void strand_look(void);

/* Adds trim() to the module; -1 with an exception set. */
int strand_memory_init(PyObject *module);

#endif
