/* SPDX-License-Identifier: MIT
 *
 * Where a reader from outside finds what it needs of the interpreter's objects.
 */
#ifndef COPOOL_CPYTHON_LAYOUT_H
#define COPOOL_CPYTHON_LAYOUT_H

#include "cpython/version.h"

struct entries;

/* Adds to a table where a reader from outside finds what it needs of the
 * interpreter's objects: see raw/section.h. */
void tstate_layout(struct entries *entries);

#endif
