/* SPDX-License-Identifier: MIT
 *
 * Text that is written where nothing may be allocated and no lock be taken: in
 * signal handlers. It is UTF-8, in memory that the caller has.
 *
 * Thread rule: none is needed; a text belongs to whoever writes it.
 */
#ifndef COPOOL_RAW_TEXT_H
#define COPOOL_RAW_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
    char *bytes;
    size_t length, size;
    /* Makes room for at least one more byte: has written what is there, say, or
     * found more memory. NULL, or false: what has no room is left out. */
    bool (*make_room)(struct text *text);
    int fd;      /* for make_room() */
    bool is_cut; /* something had no room */
};

void text_byte(struct text *text, unsigned byte);
void text_put(struct text *text, const char *string);
void text_number(struct text *text, uint64_t n, unsigned base);

/* At least so many digits. */
void text_digits(struct text *text, uint64_t n, unsigned least);

/* With a comma before each three digits. */
void text_thousands(struct text *text, uint64_t n);

/* A character of Unicode. A surrogate becomes three bytes, as if it were one.
 */
void text_char(struct text *text, uint32_t c);

#endif
