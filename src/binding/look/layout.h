/* SPDX-License-Identifier: MIT
 *
 * What the table that readers from outside go by has in it (raw/section.h):
 * where everything is.
 */
#ifndef COPOOL_LOOK_LAYOUT_H
#define COPOOL_LOOK_LAYOUT_H

#include "cpython/version.h"

/* Fills it in: for the import of the module. Called with a GIL. */
void layout_init(void);

#endif
