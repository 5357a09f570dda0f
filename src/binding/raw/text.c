/* SPDX-License-Identifier: MIT */
#include "raw/text.h"

void
text_byte(struct text *text, unsigned byte)
{
    if (text->length == text->size &&
        (!text->make_room || !text->make_room(text))) {
        text->is_cut = true;
        return;
    }
    text->bytes[text->length++] = (char)byte;
}

void
text_put(struct text *text, const char *string)
{
    while (*string)
        text_byte(text, (unsigned char)*string++);
}

static void
put_number(struct text *text, uint64_t n, unsigned base, int least, int comma)
{
    char digits[32];
    int i = 0, count = 0;

    do {
        if (comma && count && count % 3 == 0)
            digits[i++] = ',';
        digits[i++] = "0123456789abcdef"[n % base];
        n /= base;
    } while (++count < least || n);
    while (i)
        text_byte(text, (unsigned char)digits[--i]);
}

void
text_number(struct text *text, uint64_t n, unsigned base)
{
    put_number(text, n, base, 1, false);
}

void
text_digits(struct text *text, uint64_t n, unsigned least)
{
    put_number(text, n, 10, (int)least, false);
}

void
text_thousands(struct text *text, uint64_t n)
{
    put_number(text, n, 10, 1, true);
}

void
text_char(struct text *text, uint32_t c)
{
    if (c < 0x80) {
        text_byte(text, c);
        return;
    }
    if (c < 0x800) {
        text_byte(text, 0xc0 | c >> 6);
    } else if (c < 0x10000) {
        text_byte(text, 0xe0 | c >> 12);
        text_byte(text, 0x80 | (c >> 6 & 0x3f));
    } else {
        text_byte(text, 0xf0 | c >> 18);
        text_byte(text, 0x80 | (c >> 12 & 0x3f));
        text_byte(text, 0x80 | (c >> 6 & 0x3f));
    }
    text_byte(text, 0x80 | (c & 0x3f));
}
