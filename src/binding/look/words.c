/* SPDX-License-Identifier: MIT */
#include "look/words.h"

const char *
dump_kind_name(int kind)
{
    switch (kind) {
    case FACE_COROUTINE:
        return "coroutine";
    case FACE_GREENLET:
        return "greenlet";
    case FACE_BRIDGE:
        return "awaited";
    default:
        return "thread";
    }
}

const char *
dump_state_name(enum chain_state state)
{
    switch (state) {
    case CHAIN_RUNNING:
        return "running";
    case CHAIN_WAITING:
        return "waiting";
    default:
        return "suspended";
    }
}

int
dump_main_maker(const struct group *group)
{
    int best = 0;

    for (int i = 1; i < FEW_MAKERS; i++)
        if (group->makers[i].count > group->makers[best].count)
            best = i;
    return best;
}

uint32_t
dump_next_char(const char **at)
{
    unsigned char lead = (unsigned char)*(*at)++;
    int more = lead < 0xc0 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    uint32_t c = more ? lead & (0x3fu >> more) : lead;

    while (more--)
        c = c << 6 | ((unsigned char)*(*at)++ & 0x3f);
    return c;
}

bool
dump_is_surrogate(uint32_t c)
{
    return c >= 0xd800 && c < 0xe000;
}

void
dump_put_hex(struct text *t, const char *before, uint32_t c, int digits)
{
    text_put(t, before);
    while (digits--)
        text_byte(t, (unsigned char)"0123456789abcdef"[c >> 4 * digits & 15]);
}

const char *
dump_short_escape(uint32_t c)
{
    return c == '\n' ? "\\n" : c == '\t' ? "\\t" : c == '\r' ? "\\r" : NULL;
}

/* What the C library has for it may take a lock. The days are counted from the
 * first of March of the year 0, so that leap days come last. */
void
dump_put_time(struct text *t, const char *between, const char *behind)
{
    int64_t now = os_time(), days = now / 86400 + 719468, second = now % 86400;
    int64_t era = days / 146097, day = days % 146097;
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    int64_t month;

    day -= 365 * year + year / 4 - year / 100;
    month = (5 * day + 2) / 153;
    day -= (153 * month + 2) / 5;
    month = month < 10 ? month + 3 : month - 9;
    text_digits(t, (uint64_t)(year + era * 400 + (month <= 2)), 4);
    text_byte(t, '-');
    text_digits(t, (uint64_t)month, 2);
    text_byte(t, '-');
    text_digits(t, (uint64_t)day + 1, 2);
    text_put(t, between);
    text_digits(t, (uint64_t)second / 3600, 2);
    text_byte(t, ':');
    text_digits(t, (uint64_t)second / 60 % 60, 2);
    text_byte(t, ':');
    text_digits(t, (uint64_t)second % 60, 2);
    text_put(t, behind);
}
