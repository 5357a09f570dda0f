/* SPDX-License-Identifier: MIT
 *
 * Code of frames that belong to no function.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_CPYTHON_CODES_H
#define COPOOL_CPYTHON_CODES_H

#include "cpython/version.h"

#include <stdbool.h>

/* What the frame of a root executes, so that tools which show it have a name to
 * show. The interpreter takes it for a function that has not begun yet. */
extern PyCodeObject *tstate_enter_code;

/* What stands for frames that are left out. */
extern PyCodeObject *tstate_more_code;

/* Makes both, if need be. False with an exception set. */
bool tstate_know_codes(void);

#endif
