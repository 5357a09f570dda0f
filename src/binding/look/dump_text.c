/* SPDX-License-Identifier: MIT */
#include "look/dump_text.h"

#include <unistd.h>

#include "look/words.h"

/* What a terminal would take for an order, or show in another order. */
static bool
is_shown(uint32_t c)
{
    return !(c < 0x20 || (c >= 0x7f && c < 0xa0) || dump_is_surrogate(c) ||
             (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
             (c >= 0x2066 && c <= 0x2069) || c == 0xfeff || c > 0x10ffff);
}

static void
put_word(struct text *t, const struct word *word)
{
    const char *at = word->bytes;

    while (at < word->bytes + word->length) {
        uint32_t c = dump_next_char(&at);

        if (is_shown(c))
            text_char(t, c);
        else if (dump_short_escape(c))
            text_put(t, dump_short_escape(c));
        else if (c < 0x100)
            dump_put_hex(t, "\\x", c, 2);
        else
            dump_put_hex(t, "\\u", c, 4);
    }
    if (word->is_cut)
        text_put(t, "…");
}

static void
put_count(struct text *t, size_t n, const char *what)
{
    text_thousands(t, n);
    text_put(t, what);
    if (n != 1)
        text_byte(t, 's');
}

static void
put_place(struct text *t, const struct place *place)
{
    put_word(t, place->function);
    text_put(t, " (");
    put_word(t, place->file);
    text_byte(t, ':');
    if (place->line)
        text_number(t, (uint64_t)place->line, 10);
    else
        text_byte(t, '?');
    text_byte(t, ')');
}

static void
put_threads(struct text *t, const struct group *group)
{
    if (!group->thread)
        return;
    text_put(t, ", in ");
    if (group->thread->name)
        put_word(t, group->thread->name);
    else
        text_put(t, "a thread");
    text_put(t, " (");
    text_number(t, group->thread->native_id, 10);
    text_byte(t, ')');
    if (group->threads > 1) {
        text_put(t, " and ");
        put_count(t, group->threads - 1, " other thread");
    }
}

static void
put_head(struct text *t, const struct group *group)
{
    text_thousands(t, group->count);
    text_put(t, " × ");
    text_put(t, dump_kind_name(group->kind));
    if (group->count == 1 && group->name_count) {
        text_put(t, " '");
        put_word(t, group->names[0]);
        text_byte(t, '\'');
    }
    text_put(t, ", ");
    text_put(t, dump_state_name(group->state));
    put_threads(t, group);
    if (group->entered) {
        text_put(t, ", entered by ");
        put_place(t, group->entered);
    }
    text_byte(t, '\n');
}

static void
put_names(struct text *t, const struct group *group)
{
    if (group->count == 1 || !group->name_count)
        return;
    text_put(t, "  names: ");
    for (unsigned i = 0; i < group->name_count; i++) {
        if (i)
            text_put(t, ", ");
        put_word(t, group->names[i]);
    }
    text_put(t, group->has_more_names ? ", …\n" : "\n");
}

static void
put_rest(struct text *t, const struct group *group)
{
    uint64_t least = group->newest / DUMP_SECOND,
             most = group->oldest / DUMP_SECOND;

    if (!group->has_rested)
        return;
    text_put(t, "  waits for ");
    text_thousands(t, least);
    text_put(t, " s");
    if (most != least) {
        text_put(t, " to ");
        text_thousands(t, most);
        text_put(t, " s");
    }
    text_byte(t, '\n');
}

static void
put_maker(struct text *t, const struct group *group)
{
    int i = dump_main_maker(group);
    size_t elsewhere = group->count - group->makers[i].count;

    if (!group->makers[i].maker)
        return;
    text_put(t, "  made by ");
    put_word(t, group->makers[i].maker);
    if (elsewhere) {
        text_put(t, " and ");
        text_thousands(t, elsewhere);
        text_put(t, " elsewhere");
    }
    text_byte(t, '\n');
}

void
dump_text_group(struct text *t, const struct group *group)
{
    text_byte(t, '\n');
    put_head(t, group);
    put_names(t, group);
    put_rest(t, group);
    put_maker(t, group);
    for (size_t i = 0; i < group->depth; i++) {
        text_put(t, "  ");
        put_place(t, group->stack[i]);
        text_byte(t, '\n');
    }
    if (group->is_deeper)
        text_put(t, "  …\n");
    if (!group->depth)
        text_put(t, "  (no Python code)\n");
}

void
dump_text_first_line(struct dump *d)
{
    struct text *t = d->text;

    text_put(t, "copool: ");
    put_count(t, d->total, " chain");
    text_put(t, " in ");
    put_count(t, d->chains.thread_count, " thread");
    text_put(t, " of process ");
    text_number(t, (uint64_t)getpid(), 10);
    text_put(t, ", at ");
    dump_put_time(t, " ", " UTC\n");
    if (!d->options->age)
        return;
    text_put(t, "suspended for more than ");
    text_put(t, d->options->age);
    text_put(t, " s: ");
    text_thousands(t, d->wanted);
    text_byte(t, '\n');
}

void
dump_text_left_out(struct dump *d, size_t groups, size_t chains)
{
    struct text *t = d->text;

    if (groups || d->chains.unread)
        text_byte(t, '\n');
    if (groups) {
        text_put(t, "… and ");
        put_count(t, chains, " chain");
        text_put(t, " in ");
        put_count(t, groups, " more group");
        text_byte(t, '\n');
    }
    if (d->chains.unread) {
        text_put(t, "… and ");
        text_thousands(t, d->chains.unread);
        text_put(t, " that changed meanwhile\n");
    }
}
