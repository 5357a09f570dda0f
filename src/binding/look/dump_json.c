/* SPDX-License-Identifier: MIT */
#include "look/dump_json.h"

#include <unistd.h>

#include "look/words.h"

static void
json_word(struct text *t, const struct word *word)
{
    const char *at;

    if (!word) {
        text_put(t, "null");
        return;
    }
    text_byte(t, '"');
    for (at = word->bytes; at < word->bytes + word->length;) {
        uint32_t c = dump_next_char(&at);

        if (dump_short_escape(c))
            text_put(t, dump_short_escape(c));
        else if (c < 0x20 || c == 0x7f || dump_is_surrogate(c))
            dump_put_hex(t, "\\u", c, 4);
        else if (c <= 0x10ffff) {
            if (c == '"' || c == '\\')
                text_byte(t, '\\');
            text_char(t, c);
        }
    }
    text_put(t, word->is_cut ? "…\"" : "\"");
}

static void
json_number(struct text *t, const char *key, uint64_t n)
{
    text_put(t, key);
    text_number(t, n, 10);
}

static void
json_bool(struct text *t, const char *key, bool is)
{
    text_put(t, key);
    text_put(t, is ? "true" : "false");
}

/* Seconds. */
static void
json_age(struct text *t, const char *key, bool is_known, uint64_t age)
{
    text_put(t, key);
    if (!is_known) {
        text_put(t, "null");
        return;
    }
    text_number(t, age / DUMP_SECOND, 10);
    text_byte(t, '.');
    text_digits(t, age % DUMP_SECOND / 1000000, 3);
}

static void
json_place(struct text *t, const struct place *place)
{
    if (!place) {
        text_put(t, "null");
        return;
    }
    text_put(t, "{\"function\":");
    json_word(t, place->function);
    text_put(t, ",\"file\":");
    json_word(t, place->file);
    text_put(t, ",\"line\":");
    if (place->line)
        text_number(t, (uint64_t)place->line, 10);
    else
        text_put(t, "null");
    text_byte(t, '}');
}

static void
json_thread(struct text *t, const struct chain_thread *thread)
{
    text_put(t, "{\"name\":");
    json_word(t, thread->name);
    json_number(t, ",\"ident\":", thread->ident);
    json_number(t, ",\"native_id\":", thread->native_id);
    json_number(t, ",\"switches\":", thread->switches);
    text_byte(t, '}');
}

static void
json_maker(struct text *t, const struct group *group)
{
    int i = dump_main_maker(group);

    text_put(t, ",\"made_by\":");
    json_word(t, group->makers[i].maker);
    json_number(t, ",\"made_elsewhere\":",
                group->makers[i].maker ? group->count - group->makers[i].count
                                       : 0);
}

static void
json_names(struct text *t, const struct group *group)
{
    text_put(t, ",\"names\":[");
    for (unsigned i = 0; i < group->name_count; i++) {
        if (i)
            text_byte(t, ',');
        json_word(t, group->names[i]);
    }
    json_bool(t, "],\"more_names\":", group->has_more_names);
}

static void
json_stack(struct text *t, const struct group *group)
{
    text_put(t, ",\"stack\":[");
    for (size_t i = 0; i < group->depth; i++) {
        if (i)
            text_byte(t, ',');
        json_place(t, group->stack[i]);
    }
    json_bool(t, "],\"more_frames\":", group->is_deeper);
}

void
dump_json_group(struct text *t, const struct group *group)
{
    json_number(t, "{\"count\":", group->count);
    text_put(t, ",\"kind\":\"");
    text_put(t, dump_kind_name(group->kind));
    text_put(t, "\",\"state\":\"");
    text_put(t, dump_state_name(group->state));
    text_put(t, "\",\"thread\":");
    if (group->thread)
        text_number(t, group->thread->ident, 10);
    else
        text_put(t, "null");
    json_number(t, ",\"threads\":", group->threads);
    text_put(t, ",\"entered_by\":");
    json_place(t, group->entered);
    json_maker(t, group);
    json_age(t, ",\"newest_seconds\":", group->has_rested, group->newest);
    json_age(t, ",\"oldest_seconds\":", group->has_rested, group->oldest);
    json_names(t, group);
    json_stack(t, group);
    text_byte(t, '}');
}

static char python[32];

void
dump_know(void)
{
    (void)PyOS_snprintf(python, sizeof python, "%.*s",
                        (int)strcspn(Py_GetVersion(), " "), Py_GetVersion());
}

void
dump_json_first(struct dump *d)
{
    struct text *t = d->text;

    text_put(t,
             "{\"version\":1,\"copool\":\"" COPOOL_VERSION "\",\"python\":\"");
    text_put(t, python);
    json_number(t, "\",\"pid\":", (uint64_t)getpid());
    text_put(t, ",\"time\":\"");
    dump_put_time(t, "T", "Z\"");
    text_put(t, ",\"older_than\":");
    text_put(t, d->options->age ? d->options->age : "null");
    json_number(t, ",\"chains\":", d->total);
    text_put(t, ",\"threads\":[");
    for (const struct chain_thread *one = d->chains.threads; one;
         one = one->next) {
        json_thread(t, one);
        if (one->next)
            text_byte(t, ',');
    }
    text_put(t, "],\"groups\":[");
}

void
dump_json_last(struct dump *d, size_t groups, size_t chains)
{
    json_number(d->text, "],\"left_out\":{\"groups\":", groups);
    json_number(d->text, ",\"chains\":", chains);
    json_number(d->text, "},\"unread\":", d->chains.unread);
    text_put(d->text, "}\n");
}
