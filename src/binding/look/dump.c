/* SPDX-License-Identifier: MIT */
#include "look/dump.h"

#include "look/dump_json.h"
#include "look/dump_text.h"

static void
write_all(struct dump *d)
{
    bool json = d->options->json;
    const struct group *group = d->first;
    size_t shown = 0, left = d->wanted;

    if (json)
        dump_json_first(d);
    else
        dump_text_first_line(d);
    for (; group && shown < d->options->limit; group = group->next, shown++) {
        if (json && shown)
            text_byte(d->text, ',');
        if (json)
            dump_json_group(d->text, group);
        else
            dump_text_group(d->text, group);
        left -= group->count;
    }
    if (json)
        dump_json_last(d, d->group_count - shown, left);
    else
        dump_text_left_out(d, d->group_count - shown, left);
}

static bool
ran_out(const struct dump *d)
{
    return d->peek->scratch.ran_out || d->peek->words.ran_out ||
           d->peek->places.ran_out || d->peek->spots.ran_out ||
           d->chains.seen.ran_out || d->groups.ran_out;
}

bool
dump_write(struct text *text, const struct dump_options *options)
{
    struct peek *peek = peek_make();
    struct dump *d = peek ? scratch_get(&peek->scratch, sizeof *d) : NULL;

    if (d) {
        d->options = options;
        d->text = text;
        d->peek = d->chains.peek = peek;
        d->last = &d->first;
        d->chains.ts_here = options->ts_here;
        d->chains.visit = dump_visit;
        d->chains.arg = d;
        chains_walk(&d->chains);
        dump_sort(d);
        write_all(d);
        things_free(&d->groups);
        if (ran_out(d))
            text->is_cut = true;
    }
    if (peek)
        peek_free(peek);
    return d != NULL;
}
