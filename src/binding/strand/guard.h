/* SPDX-License-Identifier: MIT
 *
 * What is said on standard error when C code runs into the guard of a strand's
 * stack: whose it is, what that calls, how large it was and how to have a
 * larger one. The process then ends as it would have without (see core/segv.h).
 */
#ifndef COPOOL_STRAND_GUARD_H
#define COPOOL_STRAND_GUARD_H

#include "strand/record.h"

/* Says so if the address is in the guard of a strand that runs in this thread:
 * then true. For the handler of a signal. */
bool strand_guard_report(const void *address);

#endif
