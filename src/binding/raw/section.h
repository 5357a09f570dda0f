/* SPDX-License-Identifier: MIT
 *
 * The section .copool of the extension module copool._core: a table of names
 * and numbers with which a debugger or a profiler finds the chains of a process
 * and their frames, in its memory or in a core, without its help. It is a part
 * of what is loaded, so that no strip removes it. docs/debugging.md has what
 * the names mean and an example of how to go on from there.
 *
 *      struct section   cookie, version, count
 *      struct entry     "record.next", 8
 *      struct entry     "strand.face", 520
 *      ...
 */
#ifndef COPOOL_RAW_SECTION_H
#define COPOOL_RAW_SECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An offset in bytes into the structure that the name begins with, or another
 * number or address. */
struct entry {
    char name[24]; /* filled up with zeros */
    uint64_t value;
};

/* Where the next entry goes. */
struct entries {
    struct entry *next, *end;
};

void section_add(struct entries *entries, const char *name, uint64_t value);

/* The value under that name. False if there is none. */
bool section_find(const char *name, uint64_t *value);

/* Gives it another one. */
void section_set(const char *name, uint64_t value);

/* Where the first entry goes. False if the table is filled in. */
bool section_begin(struct entries *entries);

/* It is: those who read it see either nothing or all. */
void section_publish(const struct entries *entries);

#endif
