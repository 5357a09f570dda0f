/* SPDX-License-Identifier: MIT
 *
 * What to call a thread in the message of an error, for the faces.
 */
#ifndef COPOOL_THREAD_NAME_H
#define COPOOL_THREAD_NAME_H

#include "tstate.h"

/* "'Name' (ident N)" for threading's thread with that ident: a new reference,
 * or NULL with an exception set. Runs Python code. */
PyObject *thread_name(unsigned long ident);

#endif
