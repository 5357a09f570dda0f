/* SPDX-License-Identifier: MIT */
#include "strand/memory.h"

#include "process/blocks.h"
#include "strand/park.h"
#include "strand/thread.h"

/* Its pages are touched again when it goes as deep again. */
static void
discard_unused(struct strand *s)
{
    char *sp = s == s->thread->current ? NULL : strand_stack_pointer(s);

    if (sp)
        arena_discard_below(&s->pool->arena, &s->block, sp);
}

/* No thread of this interpreter switches meanwhile: we have the GIL. */
void
strand_discard_unused(void)
{
    const PyInterpreterState *interp = PyInterpreterState_Get();
    struct thread_record *t = atomic_load(&thread_records);
    struct strand *s;

    for (; t; t = t->next_made) {
        if (!t->ts || t->interp != interp)
            continue;
        for (s = t->started; s; s = s->next)
            discard_unused(s);
        for (s = t->passed; s; s = s->next)
            discard_unused(s);
    }
}

/* In one go: a system call takes up to a microsecond even where there is
 * nothing to give back, and who waits for this must not notice. */
enum { LOOK_AT = 512 };

void
strand_look(void)
{
    struct thread_record *t = thread_record_last;
    struct strand *s;

    if (!t || t->ts != tstate_get() || strand_is_renewing(t))
        return;
    s = t->to_look_at ? t->to_look_at : t->started;
    for (int n = 0; s && n < LOOK_AT; s = s->next, n++)
        discard_unused(s);
    t->to_look_at = s;
}

/* --- functions of the module -------------------------------------------- */

static PyObject *
core_trim(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct thread_record *t;

    if (!thread_record_try(&t))
        return NULL;
    if (t)
        strand_trim(t);
    strand_discard_unused();
    return PyLong_FromSize_t(blocks_trim());
}

static PyMethodDef functions[] = {
    {"trim", core_trim, METH_NOARGS,
     PyDoc_STR("trim($module, /)\n--\n\n"
               "Give idle blocks back to the system; return how many.")},
    {NULL, NULL, 0, NULL},
};

int
strand_memory_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
