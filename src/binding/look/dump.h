/* SPDX-License-Identifier: MIT
 *
 * A dump: all chains of calls of the process as text or JSON, equal ones once.
 * docs/debugging.md has the formats. May be made in a signal handler.
 *
 * Thread rule: none is needed; see chains.h for what that means.
 */
#ifndef COPOOL_LOOK_DUMP_H
#define COPOOL_LOOK_DUMP_H

#include "look/groups.h"
#include "raw/text.h"

/* False if there is no memory. If there was too little for all of it, the text
 * is_cut. */
bool dump_write(struct text *text, const struct dump_options *options);

#endif
