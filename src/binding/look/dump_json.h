/* SPDX-License-Identifier: MIT
 *
 * A dump as JSON, piece by piece.
 *
 * Thread rule: none is needed.
 */
#ifndef COPOOL_LOOK_DUMP_JSON_H
#define COPOOL_LOOK_DUMP_JSON_H

#include "look/groups.h"

/* Fills in what a dump says of the interpreter. */
void dump_know(void);

void dump_json_first(struct dump *dump);
void dump_json_group(struct text *text, const struct group *group);
void dump_json_last(struct dump *dump, size_t groups, size_t chains);

#endif
