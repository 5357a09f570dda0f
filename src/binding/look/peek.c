/* SPDX-License-Identifier: MIT */
#include "look/peek.h"

#include "check.h"
#include "os.h"
#include "raw/section.h"
#include "raw/text.h"

/* --- memory ------------------------------------------------------------- */

struct peek *
peek_make(void)
{
    return os_map(sizeof(struct peek));
}

void
peek_free(struct peek *p)
{
    scratch_free(&p->scratch);
    things_free(&p->words);
    things_free(&p->places);
    things_free(&p->spots);
    (void)os_unmap(p, sizeof *p);
}

void
peek_forget(struct peek *p)
{
    memset(p->tags, 0, sizeof p->tags);
}

static const char *
page(struct peek *p, uintptr_t address)
{
    uintptr_t low = address / PEEK_PAGE * PEEK_PAGE;
    size_t i = hash_with(0, low) & (PEEK_PAGES - 1);

    if (p->tags[i] == low + 1)
        return p->pages[i];
    p->tags[i] = 0;
    if (!os_peek(p->pages[i], low, PEEK_PAGE))
        return NULL;
    p->tags[i] = low + 1;
    return p->pages[i];
}

bool
peek(struct peek *p, void *to, uintptr_t from, size_t size)
{
    char *next = to;

    while (size) {
        size_t at = from % PEEK_PAGE, n = PEEK_PAGE - at;
        const char *found = page(p, from);

        if (!found)
            return false;
        n = n < size ? n : size;
        memcpy(next, found + at, n);
        next += n;
        from += n;
        size -= n;
    }
    return true;
}

uintptr_t
peek_word(struct peek *p, uintptr_t address)
{
    uintptr_t word;

    return peek(p, &word, address, sizeof word) ? word : 0;
}

static uint32_t
peek_number(struct peek *p, uintptr_t address)
{
    uint32_t number;

    return peek(p, &number, address, sizeof number) ? number : 0;
}

static uint8_t
peek_byte(struct peek *p, uintptr_t address)
{
    uint8_t byte;

    return peek(p, &byte, address, sizeof byte) ? byte : 0;
}

/* --- where things are --------------------------------------------------- */

/* What other readers use too: the names of raw/section.h. */
#define PARTS(X)                                                               \
    X(thread_native, "thread.native")                                          \
    X(thread_cframe, "thread.cframe")                                          \
    X(cframe_frame, "cframe.frame")                                            \
    X(slice_cframe, "slice.cframe")                                            \
    X(thread_frame, "thread.frame")                                            \
    X(slice_frame, "slice.frame")                                              \
    X(frame_size, "frame.size")                                                \
    X(frame_previous, "frame.previous")                                        \
    X(frame_owner, "frame.owner")                                              \
    X(frame_locals, "frame.locals")                                            \
    X(frame_code, "frame.code")                                                \
    X(frame_instr, "frame.instr")                                              \
    X(frame_stackpointer, "frame.stackpointer")                                \
    X(frame_stacktop, "frame.stacktop")                                        \
    X(frame_tag, "frame.tag")                                                  \
    X(owner_thread, "owner.thread")                                            \
    X(owner_generator, "owner.generator")                                      \
    X(owner_object, "owner.object")                                            \
    X(code_filename, "code.filename")                                          \
    X(code_qualname, "code.qualname")                                          \
    X(code_firstlineno, "code.firstlineno")                                    \
    X(code_linetable, "code.linetable")                                        \
    X(code_traceable, "code.traceable")                                        \
    X(code_code, "code.code")                                                  \
    X(root_code, "root.code")                                                  \
    X(gen_qualname, "gen.qualname")                                            \
    X(gen_state, "gen.state")                                                  \
    X(gen_frame, "gen.frame")                                                  \
    X(gen_awaits, "gen.awaits")                                                \
    X(gen_awaited, "gen.awaited")                                              \
    X(type_coroutine, "type.coroutine")                                        \
    X(type_generator, "type.generator")                                        \
    X(object_type, "object.type")                                              \
    X(type_name, "type.name")                                                  \
    X(type_flags, "type.flags")                                                \
    X(str_length, "str.length")                                                \
    X(str_state, "str.state")                                                  \
    X(str_text_ascii, "str.text.ascii")                                        \
    X(str_text, "str.text")                                                    \
    X(str_ascii, "str.ascii")                                                  \
    X(str_kind, "str.kind")                                                    \
    X(type_str, "type.str")                                                    \
    X(bytes_size, "bytes.size")                                                \
    X(bytes_text, "bytes.text")                                                \
    X(type_int, "type.int")                                                    \
    X(int_tag, "int.tag")                                                      \
    X(int_digits, "int.digits")                                                \
    X(type_function, "type.function")                                          \
    X(function_qualname, "function.qualname")                                  \
    X(type_method, "type.method")                                              \
    X(method_function, "method.function")                                      \
    X(type_builtin, "type.builtin")                                            \
    X(builtin_def, "builtin.def")                                              \
    X(def_name, "def.name")                                                    \
    X(weakref_object, "weakref.object")                                        \
    X(dict_keys, "dict.keys")                                                  \
    X(dict_values, "dict.values")                                              \
    X(values_first, "values.first")                                            \
    X(keys_index_bytes, "keys.index.bytes")                                    \
    X(keys_kind, "keys.kind")                                                  \
    X(keys_count, "keys.count")                                                \
    X(keys_indices, "keys.indices")

#define FIELD(name, text) uintptr_t name;
static struct {
    PARTS(FIELD)
} in; /* NOWHERE is what this version of CPython has not */

enum { MOST_OF_A_FRAME = 128 };
#define NOWHERE UINTPTR_MAX

static uintptr_t
find(const char *name)
{
    uint64_t value;

    return section_find(name, &value) ? (uintptr_t)value : NOWHERE;
}

void
peek_init(void)
{
#define FIND(name, text) in.name = find(text);
    PARTS(FIND)
    if (!in.str_kind) /* there was no memory to find out */
        in.str_kind = NOWHERE;
    CO_ASSERT(in.frame_size <= MOST_OF_A_FRAME);
}

uintptr_t
peek_type(struct peek *p, uintptr_t object)
{
    return object ? peek_word(p, object + in.object_type) : 0;
}

static bool
is_a(struct peek *p, uintptr_t object, unsigned long kind)
{
    uintptr_t type = peek_type(p, object);

    return type && peek_word(p, type + in.type_flags) & kind;
}

uintptr_t
peek_referent(struct peek *p, uintptr_t reference)
{
    return reference ? peek_word(p, reference + in.weakref_object) : 0;
}

uint64_t
peek_native_id(struct peek *p, uintptr_t ts)
{
    return peek_word(p, ts + in.thread_native);
}

/* --- text --------------------------------------------------------------- */

struct bytes {
    const char *bytes;
    size_t length;
    bool is_cut;
};

static bool
is_word(const struct thing *thing, const void *key)
{
    const struct word *word = (const struct word *)thing;
    const struct bytes *bytes = key;

    return word->length == bytes->length && word->is_cut == bytes->is_cut &&
           memcmp(word->bytes, bytes->bytes, bytes->length) == 0;
}

static const struct word *
word_of(struct peek *p, const char *bytes, size_t length, bool is_cut)
{
    const struct bytes key = {bytes, length, is_cut};
    uint64_t hash = is_cut;
    struct word *word;

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3;
    hash = hash_with(hash, length);
    word = things_find(&p->words, hash, is_word, &key);
    if (word)
        return word;
    word = scratch_get(&p->scratch, sizeof *word + length);
    if (!word)
        return NULL;
    word->thing.hash = hash;
    word->length = (uint32_t)length;
    word->is_cut = is_cut;
    memcpy(word->bytes, bytes, length);
    return things_add(&p->words, &word->thing) ? word : NULL;
}

const struct word *
peek_utf8(struct peek *p, const char *text)
{
    return word_of(p, text, strlen(text), false);
}

static const struct word *
word_of_characters(struct peek *p, size_t n, unsigned kind, bool is_cut)
{
    struct text text = {.bytes = p->utf8, .size = sizeof p->utf8};

    for (size_t i = 0; i < n; i++)
        text_char(&text, kind == 1   ? p->characters.one[i]
                         : kind == 2 ? p->characters.two[i]
                                     : p->characters.four[i] & 0x1fffff);
    return word_of(p, text.bytes, text.length, is_cut);
}

/* Where its characters are. Those of a derived class are not in the object. */
static uintptr_t
characters_of(struct peek *p, uintptr_t object, bool is_ascii)
{
    if (peek_type(p, object) != in.type_str)
        return peek_word(p, object + in.str_text);
    return object + (is_ascii ? in.str_text_ascii : in.str_text);
}

const struct word *
peek_str(struct peek *p, uintptr_t object)
{
    uint32_t state, kind;
    uintptr_t at, length;
    size_t n;

    if (!is_a(p, object, Py_TPFLAGS_UNICODE_SUBCLASS))
        return NULL;
    length = peek_word(p, object + in.str_length);
    state = peek_number(p, object + in.str_state);
    kind = (uint32_t)(state / in.str_kind) & 7;
    at = characters_of(p, object, state & in.str_ascii);
    n = length < PEEK_CHARACTERS ? length : PEEK_CHARACTERS;
    if ((kind != 1 && kind != 2 && kind != 4) ||
        !peek(p, &p->characters, at, n * kind))
        return NULL;
    return word_of_characters(p, n, kind, n < length);
}

/* A string of C's. */
static const struct word *
word_of_c(struct peek *p, uintptr_t at)
{
    size_t n = 0;

    while (n < PEEK_CHARACTERS && (p->utf8[n] = (char)peek_byte(p, at + n)))
        n++;
    return n ? word_of(p, p->utf8, n, n == PEEK_CHARACTERS) : NULL;
}

const struct word *
peek_numbered(struct peek *p, uintptr_t object)
{
    struct text text = {.bytes = p->utf8, .size = sizeof p->utf8};
    uintptr_t count;
    uint64_t n = 0;

    if (in.int_tag == NOWHERE || peek_type(p, object) != in.type_int)
        return NULL;
    count = peek_word(p, object + in.int_tag) >> 3;
    for (uintptr_t i = 0; i < count && i < 2; i++)
        n |= (uint64_t)peek_number(p, object + in.int_digits + 4 * i)
             << (PyLong_SHIFT * i);
    text_put(&text, "Task-");
    text_number(&text, n, 10);
    return word_of(p, text.bytes, text.length, false);
}

static const struct word *
name_of_type(struct peek *p, uintptr_t type)
{
    return word_of_c(p, peek_word(p, type + in.type_name));
}

const struct word *
peek_callable(struct peek *p, uintptr_t object)
{
    uintptr_t type = peek_type(p, object);

    for (int i = 0; i < 8 && type == in.type_method; i++) {
        object = peek_word(p, object + in.method_function);
        type = peek_type(p, object);
    }
    if (!type)
        return NULL;
    if (type == in.type_function)
        return peek_str(p, peek_word(p, object + in.function_qualname));
    if (type == in.type_builtin)
        return word_of_c(p, peek_word(p, peek_word(p, object + in.builtin_def) +
                                             in.def_name));
    if (type == in.type_coroutine || type == in.type_generator)
        return peek_str(p, peek_word(p, object + in.gen_qualname));
    if (is_a(p, object, Py_TPFLAGS_TYPE_SUBCLASS))
        return name_of_type(p, object);
    return name_of_type(p, type);
}

/* --- dicts -------------------------------------------------------------- */

static bool
is_text(struct peek *p, uintptr_t object, const char *text)
{
    const struct word *word = peek_str(p, object);

    return word && word->length == strlen(text) &&
           memcmp(word->bytes, text, word->length) == 0;
}

enum { STRINGS = 1, SPLIT = 2, MOST_KEYS = 1000 };

/* Keys that are strings alone; the values of a split one are elsewhere. */
uintptr_t
peek_in_dict(struct peek *p, uintptr_t dict, const char *key)
{
    uintptr_t keys = dict ? peek_word(p, dict + in.dict_keys) : 0;
    uintptr_t values = dict ? peek_word(p, dict + in.dict_values) : 0;
    uint8_t kind = keys ? peek_byte(p, keys + in.keys_kind) : 0;
    uintptr_t count, at;

    if (kind != STRINGS && kind != SPLIT)
        return 0;
    count = peek_word(p, keys + in.keys_count);
    at = keys + in.keys_indices +
         ((uintptr_t)1 << (peek_byte(p, keys + in.keys_index_bytes) & 31));
    for (uintptr_t i = 0; i < count && i < MOST_KEYS; i++, at += 16) {
        if (!is_text(p, peek_word(p, at), key))
            continue;
        return values ? peek_word(p, values + in.values_first + 8 * i)
                      : peek_word(p, at + 8);
    }
    return 0;
}

/* --- lines -------------------------------------------------------------- */

/* The table of a code object: an entry for each run of instructions, whose
 * first byte has its highest bit set, the form in the next four, and one less
 * than the number of code units in the last three. */
struct table {
    struct peek *peek;
    uintptr_t at, end;
};

enum { NO_COLUMNS = 13, LONG = 14, NO_LINE = 15, ONE_LINE = 10, UNIT = 2 };

static uint8_t
next_byte(struct table *t)
{
    return t->at < t->end ? peek_byte(t->peek, t->at++) : 0;
}

/* Six bits in each byte, least first; another one says that more follow. The
 * lowest bit is the sign. */
static int
next_signed(struct table *t)
{
    uint32_t value = 0;
    uint8_t byte = 64;

    for (unsigned shift = 0; byte & 64 && shift < 32; shift += 6) {
        byte = next_byte(t);
        value |= (uint32_t)(byte & 63) << shift;
    }
    return value & 1 ? -(int)(value >> 1) : (int)(value >> 1);
}

/* Goes to the next entry, whatever this one has of columns. */
static void
skip_rest(struct table *t)
{
    while (t->at < t->end && !(peek_byte(t->peek, t->at) & 128))
        t->at++;
}

static int
next_lines(struct table *t, unsigned form)
{
    if (form == NO_COLUMNS || form == LONG)
        return next_signed(t);
    return form >= ONE_LINE && form < NO_COLUMNS ? (int)(form - ONE_LINE) : 0;
}

enum { MOST_OF_A_TABLE = 16 << 20 };

/* 0 if it is not known. */
static int
line_of(struct peek *p, uintptr_t code, uintptr_t offset)
{
    uintptr_t table = peek_word(p, code + in.code_linetable), here = 0;
    uintptr_t size = table ? peek_word(p, table + in.bytes_size) : 0;
    struct table t = {p, table + in.bytes_text, 0};
    unsigned line = peek_number(p, code + in.code_firstlineno);

    t.end = t.at + (size < MOST_OF_A_TABLE ? size : 0);
    while (t.at < t.end) {
        uint8_t head = next_byte(&t);
        unsigned form = head >> 3 & 15;

        line += (unsigned)next_lines(&t, form);
        here += (uintptr_t)((head & 7) + 1) * UNIT;
        if (offset < here)
            return form == NO_LINE || (int)line < 0 ? 0 : (int)line;
        skip_rest(&t);
    }
    return 0;
}

/* --- places ------------------------------------------------------------- */

struct spot {
    struct thing thing;
    uintptr_t code, instr;
    const struct place *place; /* NULL if it makes no sense */
};

static bool
is_spot(const struct thing *thing, const void *key)
{
    const struct spot *spot = (const struct spot *)thing, *wanted = key;

    return spot->code == wanted->code && spot->instr == wanted->instr;
}

static bool
is_place(const struct thing *thing, const void *key)
{
    const struct place *place = (const struct place *)thing, *wanted = key;

    return place->function == wanted->function && place->file == wanted->file &&
           place->line == wanted->line;
}

static const struct place *
read_place(struct peek *p, uintptr_t code, uintptr_t instr)
{
    struct place key = {
        .function = peek_str(p, peek_word(p, code + in.code_qualname)),
        .file = peek_str(p, peek_word(p, code + in.code_filename)),
    };
    struct place *place;

    if (!key.function || !key.file)
        return NULL;
    key.line = line_of(p, code, instr - code - in.code_code);
    key.thing.hash =
        hash_with(hash_with((uintptr_t)key.function, (uintptr_t)key.file),
                  (unsigned)key.line);
    place = things_find(&p->places, key.thing.hash, is_place, &key);
    if (place)
        return place;
    place = scratch_get(&p->scratch, sizeof *place);
    if (!place)
        return NULL;
    *place = key;
    return things_add(&p->places, &place->thing) ? place : NULL;
}

const struct place *
peek_place(struct peek *p, uintptr_t code, uintptr_t instr)
{
    struct spot key = {.code = code, .instr = instr}, *spot;

    key.thing.hash = hash_with(code, instr);
    spot = things_find(&p->spots, key.thing.hash, is_spot, &key);
    if (spot)
        return spot->place;
    key.place = read_place(p, code, instr);
    spot = scratch_get(&p->scratch, sizeof *spot);
    if (spot) {
        *spot = key;
        (void)things_add(&p->spots, &spot->thing);
    }
    return key.place;
}

/* --- frames ------------------------------------------------------------- */

static uintptr_t
word_in(const char *bytes, uintptr_t offset)
{
    uintptr_t word;

    memcpy(&word, bytes + offset, sizeof word);
    return word;
}

static uintptr_t
top_of(uintptr_t at, const char *bytes)
{
    int count;

    if (in.frame_stackpointer != NOWHERE)
        return word_in(bytes, in.frame_stackpointer);
    memcpy(&count, bytes + in.frame_stacktop, sizeof count);
    return count > 0 ? at + in.frame_locals + 8 * (uintptr_t)count : 0;
}

static bool
has_begun(struct peek *p, const struct peek_frame *frame, uint8_t owner)
{
    uintptr_t first;

    if (owner == in.owner_generator)
        return true;
    if (owner != in.owner_thread && owner != in.owner_object)
        return false;
    first = peek_number(p, frame->code + in.code_traceable);
    return frame->instr >= frame->code + in.code_code + first * UNIT;
}

bool
peek_frame(struct peek *p, struct peek_frame *frame, uintptr_t at)
{
    char bytes[MOST_OF_A_FRAME];
    uint8_t owner;

    if (!at || !peek(p, bytes, at, in.frame_size))
        return false;
    owner = (uint8_t)bytes[in.frame_owner];
    frame->at = at;
    frame->previous = word_in(bytes, in.frame_previous);
    frame->code = word_in(bytes, in.frame_code) & ~in.frame_tag;
    frame->instr = word_in(bytes, in.frame_instr);
    frame->is_root = frame->code == in.root_code;
    frame->has_begun = !frame->is_root && has_begun(p, frame, owner);
    frame->top = top_of(at, bytes);
    return true;
}

uintptr_t
peek_running(struct peek *p, uintptr_t ts)
{
    if (in.thread_frame != NOWHERE)
        return peek_word(p, ts + in.thread_frame);
    return peek_word(p, peek_word(p, ts + in.thread_cframe) + in.cframe_frame);
}

uintptr_t
peek_rested(struct peek *p, const struct tstate_slice *slice)
{
    if (in.slice_frame != NOWHERE)
        return word_in((const char *)slice, in.slice_frame);
    return peek_word(p, word_in((const char *)slice, in.slice_cframe) +
                            in.cframe_frame);
}

bool
peek_coroutine(struct peek *p, uintptr_t object, struct peek_frame *frame,
               uintptr_t *awaited)
{
    uintptr_t type = peek_type(p, object);

    *awaited = 0;
    if ((type != in.type_coroutine && type != in.type_generator) || !type ||
        !peek_frame(p, frame, object + in.gen_frame))
        return false;
    if (peek_byte(p, object + in.gen_state) == in.gen_awaits && frame->top)
        *awaited =
            peek_word(p, frame->top - 8 * in.gen_awaited) & ~in.frame_tag;
    return true;
}
