/* SPDX-License-Identifier: MIT
 *
 * What other faces need to know about the awaitable face of a strand.
 *
 * Thread rule: the GIL.
 */
#ifndef COPOOL_BRIDGE_H
#define COPOOL_BRIDGE_H

#include "strand.h"

/* Whether a chain that has been entered stands still since await_() waits in it
 * or in one that it entered. */
bool bridge_waits_in(const struct strand *strand);

#endif
