/* SPDX-License-Identifier: MIT
 *
 * A dump as text, piece by piece.
 *
 * Thread rule: none is needed.
 */
#ifndef COPOOL_LOOK_DUMP_TEXT_H
#define COPOOL_LOOK_DUMP_TEXT_H

#include "look/groups.h"

void dump_text_first_line(struct dump *dump);
void dump_text_group(struct text *text, const struct group *group);
void dump_text_left_out(struct dump *dump, size_t groups, size_t chains);

#endif
