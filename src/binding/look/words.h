/* SPDX-License-Identifier: MIT
 *
 * What text and JSON have in common, where nothing may be allocated.
 *
 * Thread rule: none is needed.
 */
#ifndef COPOOL_LOOK_WORDS_H
#define COPOOL_LOOK_WORDS_H

#include "look/groups.h"

enum { DUMP_SECOND = 1000000000 }; /* nanoseconds */

const char *dump_kind_name(int kind);
const char *dump_state_name(enum chain_state state);

/* The most frequent one: its index. */
int dump_main_maker(const struct group *group);

/* The next character of a word, whose characters are well-formed. */
uint32_t dump_next_char(const char **at);
bool dump_is_surrogate(uint32_t c);

void dump_put_hex(struct text *text, const char *before, uint32_t c,
                  int digits);
const char *dump_short_escape(uint32_t c);

/* YYYY-MM-DD and HH:MM:SS, with something between and behind. */
void dump_put_time(struct text *text, const char *between, const char *behind);

#endif
