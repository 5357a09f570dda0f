/* SPDX-License-Identifier: MIT */
#include "greenlet/error.h"

#include "face/error.h"

/* For a greenlet whose thread is no more. What to do is said in a note: the
 * text is one that programs compare with. */
void
greenlet_raise_exited(PyGreenlet *self)
{
    struct error error;
    PyObject *done;

    PyErr_SetString(greenlet_error, "cannot switch to a different thread "
                                    "(which happens to have exited)");
    error_take(&error);
    PyErr_NormalizeException(&error.type, &error.value, &error.traceback);
    done = PyObject_CallMethod(
        error.value, "add_note", "N",
        PyUnicode_FromFormat("%R belongs to a thread that has ended, and so "
                             "have the greenlets that were suspended in it; "
                             "make a new one in the thread that is to run it",
                             self));
    Py_XDECREF(done);
    if (done)
        error_restore(&error);
    else
        error_drop(&error);
}

void
greenlet_raise_foreign(struct thread_record *t, PyGreenlet *self,
                       struct thread_record *home)
{
    PyObject *owner, *here;
    struct greenlet_thread *mine, *theirs;

    if (!face_threads(home, t, &owner, &here))
        return;
    mine = greenlet_thread_get(t);
    theirs = mine ? greenlet_thread_get(home) : NULL;
    if (theirs)
        PyErr_Format(greenlet_error,
                     "Cannot switch to a different thread\n"
                     "\tCurrent:  %R\n\tExpected: %R\n"
                     "%R belongs to thread %U and this is thread %U. A "
                     "greenlet runs in one thread only: pass what it needs "
                     "through a queue to its own thread and switch there "
                     "(with gevent: hub.loop.run_callback_threadsafe())",
                     mine->current, theirs->main, self, owner, here);
    Py_DECREF(owner);
    Py_DECREF(here);
}

/* While on_thread_stack() has the thread's stack. */
void
greenlet_raise_occupied(PyGreenlet *self)
{
    PyErr_Format(greenlet_error,
                 "cannot switch to %R: what runs here was called by "
                 "copool.on_thread_stack() on the thread's own stack, which "
                 "the other greenlet may need; switch when that has returned, "
                 "or to greenlets that have begun in it",
                 self);
}
