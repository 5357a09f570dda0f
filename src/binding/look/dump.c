/* SPDX-License-Identifier: MIT */
#include "look/dump.h"

#include <unistd.h>

/* --- groups -------------------------------------------------------------- */

enum { FEW_NAMES = 3, FEW_MAKERS = 8 };

struct group {
    struct thing thing;
    struct group *next;
    int kind;
    enum chain_state state;
    const struct place *entered;
    const struct place *const *stack;
    size_t depth;
    bool is_deeper;
    /* Of those that are in it. */
    size_t count;
    const struct chain_thread *thread, *last_thread;
    size_t threads;
    const struct word *names[FEW_NAMES];
    unsigned name_count;
    bool has_more_names;
    struct {
        const struct word *maker;
        size_t count;
    } makers[FEW_MAKERS];
    bool has_rested;
    uint64_t newest, oldest;
};

struct dump {
    const struct dump_options *options;
    struct text *text;
    struct peek *peek;
    struct chains chains;
    struct things groups;
    struct group *first, **last;
    size_t group_count, total, wanted; /* wanted: those that are old enough */
};

static bool
is_group(const struct thing *thing, const void *key)
{
    const struct group *group = (const struct group *)thing;
    const struct chain *chain = key;

    return group->kind == chain->kind && group->state == chain->state &&
           group->entered == chain->entered && group->depth == chain->depth &&
           group->is_deeper == chain->is_deeper &&
           memcmp(group->stack, chain->stack,
                  chain->depth * sizeof *chain->stack) == 0;
}

static struct group *
add_group(struct dump *d, const struct chain *chain, uint64_t hash)
{
    size_t size = chain->depth * sizeof *chain->stack;
    struct group *group = scratch_get(&d->peek->scratch, sizeof *group + size);

    if (!group)
        return NULL;
    memcpy(group + 1, chain->stack, size);
    group->thing.hash = hash;
    group->kind = chain->kind;
    group->state = chain->state;
    group->entered = chain->entered;
    group->stack = (const struct place *const *)(group + 1);
    group->depth = chain->depth;
    group->is_deeper = chain->is_deeper;
    group->thread = chain->thread;
    group->newest = UINT64_MAX;
    if (!things_add(&d->groups, &group->thing))
        return NULL;
    *d->last = group;
    d->last = &group->next;
    d->group_count++;
    return group;
}

static struct group *
group_of(struct dump *d, const struct chain *chain)
{
    uint64_t hash = hash_with((uint64_t)chain->kind, chain->state);
    struct group *group;

    hash = hash_with(hash, (uintptr_t)chain->entered);
    for (size_t i = 0; i < chain->depth; i++)
        hash = hash_with(hash, (uintptr_t)chain->stack[i]);
    group = things_find(&d->groups, hash, is_group, chain);
    return group ? group : add_group(d, chain, hash);
}

static void
add_name(struct dump *d, struct group *group, const struct chain *chain)
{
    const struct word *name;

    if (group->has_more_names)
        return;
    name = chain_name(d->peek, chain);
    for (unsigned i = 0; i < group->name_count; i++)
        if (group->names[i] == name)
            return;
    if (name && group->name_count < FEW_NAMES)
        group->names[group->name_count++] = name;
    else if (name)
        group->has_more_names = true;
}

static void
add_maker(struct group *group, const struct word *maker)
{
    for (int i = 0; maker && i < FEW_MAKERS; i++) {
        if (group->makers[i].maker && group->makers[i].maker != maker)
            continue;
        group->makers[i].maker = maker;
        group->makers[i].count++;
        return;
    }
}

static void
add_rest(struct group *group, const struct chain *chain)
{
    if (!chain->has_rested)
        return;
    group->has_rested = true;
    if (chain->rested < group->newest)
        group->newest = chain->rested;
    if (chain->rested > group->oldest)
        group->oldest = chain->rested;
}

/* Threads are visited one after the other. */
static void
add_thread(struct group *group, const struct chain_thread *thread)
{
    if (thread && thread != group->last_thread)
        group->threads++;
    group->last_thread = thread;
}

static void
visit(const struct chain *chain, void *arg)
{
    struct dump *d = arg;
    struct group *group;

    d->total++;
    if (d->options->age &&
        (!chain->has_rested || chain->rested <= d->options->older_than))
        return;
    group = group_of(d, chain);
    if (!group) {
        d->chains.unread++;
        return;
    }
    d->wanted++;
    group->count++;
    add_thread(group, chain->thread);
    add_name(d, group, chain);
    add_maker(group, chain->maker);
    add_rest(group, chain);
}

static bool
goes_before(const struct group *a, const struct group *b)
{
    return a->count > b->count ||
           (a->count == b->count && a->state <= b->state);
}

/* Takes what is in order off the first list and the second. */
static struct group *
merge(struct group *a, struct group *b)
{
    struct group *first = NULL, **last = &first;

    while (a && b) {
        struct group **from = goes_before(a, b) ? &a : &b;

        *last = *from;
        last = &(*from)->next;
        *from = *last;
    }
    *last = a ? a : b;
    return first;
}

/* Largest first, else as they were found. */
static void
sort(struct dump *d)
{
    struct group *sorted[64] = {NULL}, *all = NULL;

    for (struct group *next, *one = d->first; one; one = next) {
        int i = 0;

        next = one->next;
        one->next = NULL;
        while (sorted[i]) {
            one = merge(sorted[i], one);
            sorted[i++] = NULL;
        }
        sorted[i] = one;
    }
    for (int i = 0; i < 64; i++)
        all = merge(sorted[i], all);
    d->first = all;
}

/* --- what both formats share ---------------------------------------------- */

static const char *
kind_name(int kind)
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

static const char *
state_name(enum chain_state state)
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

/* The most frequent one: its index. */
static int
main_maker(const struct group *group)
{
    int best = 0;

    for (int i = 1; i < FEW_MAKERS; i++)
        if (group->makers[i].count > group->makers[best].count)
            best = i;
    return best;
}

/* The next character of a word, whose characters are well-formed. */
static uint32_t
next_char(const char **at)
{
    unsigned char lead = (unsigned char)*(*at)++;
    int more = lead < 0xc0 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    uint32_t c = more ? lead & (0x3fu >> more) : lead;

    while (more--)
        c = c << 6 | ((unsigned char)*(*at)++ & 0x3f);
    return c;
}

static bool
is_surrogate(uint32_t c)
{
    return c >= 0xd800 && c < 0xe000;
}

static void
put_hex(struct text *t, const char *before, uint32_t c, int digits)
{
    text_put(t, before);
    while (digits--)
        text_byte(t, (unsigned char)"0123456789abcdef"[c >> 4 * digits & 15]);
}

static const char *
short_escape(uint32_t c)
{
    return c == '\n' ? "\\n" : c == '\t' ? "\\t" : c == '\r' ? "\\r" : NULL;
}

/* YYYY-MM-DD and HH:MM:SS, with something between and behind: what the C
 * library has for it may take a lock. The days are counted from the first of
 * March of the year 0, so that leap days come last. */
static void
put_time(struct text *t, const char *between, const char *behind)
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

/* --- text ---------------------------------------------------------------- */

enum { SECOND = 1000000000 };

/* What a terminal would take for an order, or show in another order. */
static bool
is_shown(uint32_t c)
{
    return !(c < 0x20 || (c >= 0x7f && c < 0xa0) || is_surrogate(c) ||
             (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
             (c >= 0x2066 && c <= 0x2069) || c == 0xfeff || c > 0x10ffff);
}

static void
put_word(struct text *t, const struct word *word)
{
    const char *at = word->bytes;

    while (at < word->bytes + word->length) {
        uint32_t c = next_char(&at);

        if (is_shown(c))
            text_char(t, c);
        else if (short_escape(c))
            text_put(t, short_escape(c));
        else if (c < 0x100)
            put_hex(t, "\\x", c, 2);
        else
            put_hex(t, "\\u", c, 4);
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
    text_put(t, kind_name(group->kind));
    if (group->count == 1 && group->name_count) {
        text_put(t, " '");
        put_word(t, group->names[0]);
        text_byte(t, '\'');
    }
    text_put(t, ", ");
    text_put(t, state_name(group->state));
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
    uint64_t least = group->newest / SECOND, most = group->oldest / SECOND;

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
    int i = main_maker(group);
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

static void
put_group(struct text *t, const struct group *group)
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

static void
put_first_line(struct dump *d)
{
    struct text *t = d->text;

    text_put(t, "copool: ");
    put_count(t, d->total, " chain");
    text_put(t, " in ");
    put_count(t, d->chains.thread_count, " thread");
    text_put(t, " of process ");
    text_number(t, (uint64_t)getpid(), 10);
    text_put(t, ", at ");
    put_time(t, " ", " UTC\n");
    if (!d->options->age)
        return;
    text_put(t, "suspended for more than ");
    text_put(t, d->options->age);
    text_put(t, " s: ");
    text_thousands(t, d->wanted);
    text_byte(t, '\n');
}

static void
put_left_out(struct dump *d, size_t groups, size_t chains)
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

/* --- JSON ---------------------------------------------------------------- */

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
        uint32_t c = next_char(&at);

        if (short_escape(c))
            text_put(t, short_escape(c));
        else if (c < 0x20 || c == 0x7f || is_surrogate(c))
            put_hex(t, "\\u", c, 4);
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
    text_number(t, age / SECOND, 10);
    text_byte(t, '.');
    text_digits(t, age % SECOND / 1000000, 3);
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
    int i = main_maker(group);

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

static void
json_group(struct text *t, const struct group *group)
{
    json_number(t, "{\"count\":", group->count);
    text_put(t, ",\"kind\":\"");
    text_put(t, kind_name(group->kind));
    text_put(t, "\",\"state\":\"");
    text_put(t, state_name(group->state));
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

static void
json_first(struct dump *d)
{
    struct text *t = d->text;

    text_put(t,
             "{\"version\":1,\"copool\":\"" COPOOL_VERSION "\",\"python\":\"");
    text_put(t, python);
    json_number(t, "\",\"pid\":", (uint64_t)getpid());
    text_put(t, ",\"time\":\"");
    put_time(t, "T", "Z\"");
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

static void
json_last(struct dump *d, size_t groups, size_t chains)
{
    json_number(d->text, "],\"left_out\":{\"groups\":", groups);
    json_number(d->text, ",\"chains\":", chains);
    json_number(d->text, "},\"unread\":", d->chains.unread);
    text_put(d->text, "}\n");
}

/* --- all of it ------------------------------------------------------------ */

static void
write_all(struct dump *d)
{
    bool json = d->options->json;
    const struct group *group = d->first;
    size_t shown = 0, left = d->wanted;

    if (json)
        json_first(d);
    else
        put_first_line(d);
    for (; group && shown < d->options->limit; group = group->next, shown++) {
        if (json && shown)
            text_byte(d->text, ',');
        if (json)
            json_group(d->text, group);
        else
            put_group(d->text, group);
        left -= group->count;
    }
    if (json)
        json_last(d, d->group_count - shown, left);
    else
        put_left_out(d, d->group_count - shown, left);
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
        d->chains.visit = visit;
        d->chains.arg = d;
        chains_walk(&d->chains);
        sort(d);
        write_all(d);
        things_free(&d->groups);
        if (ran_out(d))
            text->is_cut = true;
    }
    if (peek)
        peek_free(peek);
    return d != NULL;
}
