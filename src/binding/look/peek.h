/* SPDX-License-Identifier: MIT
 *
 * Reads memory that others may change or give back meanwhile, and objects in
 * it: never an access that can fault, no lock, no reference counted, no code of
 * the program's. What is read may make no sense, so that whoever uses it must
 * bound what it does. May be called in a signal handler.
 *
 * An address is a number here, since nothing may be read through it.
 *
 * Thread rule: none is needed; a peek belongs to whoever made it.
 */
#ifndef COPOOL_LOOK_PEEK_H
#define COPOOL_LOOK_PEEK_H

#include "raw/scratch.h"
#include "cpython/tstate.h"

enum {
    PEEK_PAGE = 4096, /* what a call reads: none is smaller in the kernel */
    PEEK_PAGES = 256, /* a power of two */
    PEEK_CHARACTERS = 500,
};

/* Pages as they were when they were first needed: what lies side by side is
 * read with one call. */
struct peek {
    struct scratch scratch;
    struct things words, places, spots;
    uintptr_t tags[PEEK_PAGES]; /* address of the page plus one, or 0 */
    char pages[PEEK_PAGES][PEEK_PAGE];
    union {
        uint8_t one[PEEK_CHARACTERS];
        uint16_t two[PEEK_CHARACTERS];
        uint32_t four[PEEK_CHARACTERS];
    } characters;
    char utf8[PEEK_CHARACTERS * 4];
};

/* NULL if there is no memory. */
struct peek *peek_make(void);
void peek_free(struct peek *peek);

/* What is read from now on is as it is from now on. */
void peek_forget(struct peek *peek);

/* False if not all of it can be read. */
bool peek(struct peek *peek, void *to, uintptr_t from, size_t size);

/* The word at the address, or 0. */
uintptr_t peek_word(struct peek *peek, uintptr_t address);

/* Text that a program has: in UTF-8, in which surrogates are three bytes. Each
 * once, so that equal ones have one address. */
struct word {
    struct thing thing;
    uint32_t length; /* in bytes */
    bool is_cut;     /* PEEK_CHARACTERS of more */
    char bytes[];
};

/* Of a str, or of an instance of a class derived from it. NULL if it is none,
 * as for the others that follow. */
const struct word *peek_str(struct peek *peek, uintptr_t object);

/* Of text in UTF-8 that the caller has. */
const struct word *peek_utf8(struct peek *peek, const char *text);

/* "Task-" and the int. */
const struct word *peek_numbered(struct peek *peek, uintptr_t object);

/* What a function, a class, a coroutine or another callable is called. */
const struct word *peek_callable(struct peek *peek, uintptr_t object);

/* What the dict has under the key, 0 for nothing. Only for dicts whose keys are
 * all strings. */
uintptr_t peek_in_dict(struct peek *peek, uintptr_t dict, const char *key);

/* Where code is. Each once. */
struct place {
    struct thing thing;
    const struct word *function, *file;
    int line; /* 0 if it is not known */
};

/* Of an instruction. */
const struct place *peek_place(struct peek *peek, uintptr_t code,
                               uintptr_t instr);

/* A frame of the interpreter. */
struct peek_frame {
    uintptr_t at, previous, code, instr;
    uintptr_t top;  /* of its evaluation stack; only valid if it is suspended */
    bool has_begun; /* and is a function's */
    bool is_root;   /* a chain of ours hangs from it */
};

bool peek_frame(struct peek *peek, struct peek_frame *frame, uintptr_t at);

/* The innermost frame of what runs in a thread, and of a chain that is not
 * running and has that slice. */
uintptr_t peek_running(struct peek *peek, uintptr_t ts);
uintptr_t peek_rested(struct peek *peek, const struct tstate_slice *slice);

/* The number that the system has for the thread of a thread state. */
uint64_t peek_native_id(struct peek *peek, uintptr_t ts);

uintptr_t peek_type(struct peek *peek, uintptr_t object);

/* What a weak reference refers to. */
uintptr_t peek_referent(struct peek *peek, uintptr_t reference);

/* A coroutine or generator that is suspended: the frame, and what it awaits, or
 * 0 if that is nothing or can't be known. */
bool peek_coroutine(struct peek *peek, uintptr_t object,
                    struct peek_frame *frame, uintptr_t *awaited);

/* Finds out where everything is: once, with the table of raw/section.h filled
 * in.
 */
void peek_init(void);

#endif
