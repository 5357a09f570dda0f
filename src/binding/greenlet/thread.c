/* SPDX-License-Identifier: MIT */
#include "greenlet/thread.h"

static void
thread_gone(struct thread_record *t)
{
    struct greenlet_thread *gt = (struct greenlet_thread *)t->greenlets;

    outlook_forget(t, &gt->main->pimpl->outlook);
    gt->main->pimpl->strand = NULL;
    t->greenlets = NULL;
    Py_XDECREF(gt->extra.trace);
    Py_DECREF(gt->current);
    Py_DECREF(gt->main);
    PyMem_Free(gt);
}

struct greenlet_thread *
greenlet_thread_make(struct thread_record *t)
{
    struct greenlet_thread *gt = PyMem_Calloc(1, sizeof *gt);
    PyGreenlet *main;

    if (!gt)
        return (struct greenlet_thread *)PyErr_NoMemory();
    main = greenlet_alloc(&greenlet_type);
    if (!main || t->greenlets) {
        /* In the latter case a finalizer, run by the collector, was faster. */
        Py_XDECREF(main);
        PyMem_Free(gt);
        return (struct greenlet_thread *)t->greenlets;
    }
    main->pimpl->strand = &t->own;
    main->pimpl->started = main->pimpl->is_main = true;
    greenlet_mains++;
    gt->main = main;
    gt->current = (PyGreenlet *)Py_NewRef(main);
    gt->extra.gone = thread_gone;
    t->greenlets = &gt->extra;
    return gt;
}
