/* SPDX-License-Identifier: MIT */
#include "strand/guard.h"

#include <pthread.h>

#include "cpython/limits.h"
#include "cpython/objects.h"
#include "raw/text.h"
#include "segv.h"

/* Nothing here may take a lock, allocate or touch what the faulting thread may
 * have been in the middle of changing. What is read of Python objects does not
 * change while they are called. */

/* In UTF-8. */
static void
put_unicode(struct text *text, PyObject *string)
{
    int kind = PyUnicode_KIND(string);
    const void *data = PyUnicode_DATA(string);

    for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(string) && i < 200; i++) {
        Py_UCS4 c = PyUnicode_READ(kind, data, i);

        text_char(text, c < 0x20 || c == 0x7f ? '?' : c);
    }
}

/* " of walk"; nothing if there is no name. */
static void
put_callee(struct text *text, PyObject *callee)
{
    PyObject *name;

    while (callee && PyMethod_Check(callee))
        callee = PyMethod_GET_FUNCTION(callee);
    if (!callee)
        return;
    text_put(text, " of ");
    if (PyFunction_Check(callee)) {
        put_unicode(text, ((PyFunctionObject *)callee)->func_qualname);
    } else if (PyCFunction_Check(callee)) {
        text_put(text, ((PyCFunctionObject *)callee)->m_ml->ml_name);
    } else if (PyType_Check(callee)) {
        text_put(text, ((PyTypeObject *)callee)->tp_name);
    } else if ((name = tstate_coroutine_name(callee)) != NULL) {
        put_unicode(text, name);
    } else {
        text_put(text, "a ");
        text_put(text, Py_TYPE(callee)->tp_name);
    }
}

enum { MIB = 1024 * 1024 };

/* What its type is called in C, unless that passes for another one: see
 * bridge/call_graph.c. */
static const char *
name_of_face(const struct strand *s)
{
    if (s->ops->kind == FACE_BRIDGE)
        return "copool.aio.Bridge";
    return Py_TYPE(s->face)->tp_name;
}

static void
say(const struct strand *s)
{
    size_t size = s->pool->arena.geometry.stack_size;
    size_t larger = 2 * size / MIB * MIB;
    char bytes[1024];
    struct text text = {.bytes = bytes, .size = sizeof bytes};

    if (larger < MIB)
        larger = MIB;

    text_put(&text, "copool: stack overflow in <");
    text_put(&text, name_of_face(s));
    put_callee(&text, s->ops->callee(s->face));
    text_put(&text, ", running, at 0x");
    text_number(&text, (uintptr_t)s->face, 16);
    text_put(
        &text,
        ">\ncopool: C code that does not count its calls has used up the ");
    text_number(&text, size, 10);
    text_put(&text, " bytes of its stack; give it more with "
                    "copool.configure(stack_size=");
    text_number(&text, larger, 10);
    text_put(&text, ") or COPOOL_STACK_SIZE=");
    text_number(&text, larger, 10);
    text_put(&text, "\n");
    if (size >= tstate_default_stack())
        text_put(
            &text,
            "copool: no size helps a library that looks where the stack of "
            "the thread ends, as a\ncopool: Java machine does: call that by "
            "copool.on_thread_stack()\n");
    segv_say(bytes, text.length);
}

/* A strand that runs in this thread and whose guard this is, or NULL. Records
 * of other threads are not looked into: those go on meanwhile. This one may
 * have several, of several interpreters. */
static const struct strand *
find(const char *address)
{
    struct thread_record *t = atomic_load(&thread_records);

    for (; t; t = t->next_made) {
        const struct strand *s = t->current;

        if (t->ident == (unsigned long)pthread_self() && s && s != &t->own &&
            address < s->block.low &&
            address >= s->block.low - s->pool->arena.geometry.guard_size)
            return s;
    }
    return NULL;
}

bool
strand_guard_report(const void *address)
{
    const struct strand *s = find(address);

    if (s)
        say(s);
    return s != NULL;
}
