/* SPDX-License-Identifier: MIT
 *
 * What must be so of an interpreter for copool to run on it.
 *
 * Thread rule: the GIL.
 */
#ifndef COPOOL_CPYTHON_KNOW_H
#define COPOOL_CPYTHON_KNOW_H

#include "cpython/version.h"

/* Looks into the interpreter, which is of that Py_Version, for what this file
 * relies on; to be called before anything else here. False with ImportError set
 * if it is one that copool does not know. `lost` pretends that it is so, where
 * there is anything to find. */
bool tstate_know(unsigned long version, bool lost);

#endif
