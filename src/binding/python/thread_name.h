/* SPDX-License-Identifier: MIT
 *
 * What to call a thread in the message of an error, for the faces.
 */
#ifndef COPOOL_PYTHON_THREAD_NAME_H
#define COPOOL_PYTHON_THREAD_NAME_H

#include "cpython/tstate.h"

/* "'Name' (ident N)" for threading's thread with that ident: a new reference,
 * or NULL with an exception set. Runs Python code. */
PyObject *thread_name(unsigned long ident);

/* The name that it has now, in UTF-8, as far as there is room for it, or "".
 * Runs no code of the program's; sets no exception. */
void thread_name_plain(unsigned long ident, char *name, size_t size);

#endif
