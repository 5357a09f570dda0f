/* SPDX-License-Identifier: MIT
 *
 * What a strand tells, and does not know whom: for the room that is told of
 * switches. None of them is called before there is a thread record.
 */
#ifndef COPOOL_STRAND_HOOKS_H
#define COPOOL_STRAND_HOOKS_H

#include "strand/record.h"

struct strand_hooks {
    /* A thread has a new record. Runs no Python code. */
    void (*thread_made)(struct thread_record *t);
    /* The thread's strands are no more. May run Python code. */
    void (*thread_gone)(struct thread_record *t);
    /* A strand begins, in a thread that is told of switches; after a switch to
     * a strand that bears the mark for it. Run no Python code. */
    void (*begins)(struct strand *here);
    void (*arrived)(struct strand *here);
    /* What that has left to do. Runs Python code; value as in strand_tidy(). */
    PyObject *(*tidy)(struct strand *here, PyObject *value);
    /* A tool that follows calls may have begun. Runs no Python code. */
    void (*look_for_tools)(struct thread_record *t);
    /* The running strand, which is traced, is about to be left. Runs no Python
     * code. */
    void (*leaves_traced)(struct thread_record *t);
    /* After a switch to one that had a trace function when it was left, and has
     * it again; in its slice is that of another. Runs no Python code. */
    void (*arrives_traced)(struct strand *here);
    /* A strand begins its call in a thread that has a trace or a profile
     * function. May run Python code. */
    void (*begins_followed)(struct strand *s);
};

/* Set while the module is being filled. */
extern const struct strand_hooks *strand_hooks;

#endif
