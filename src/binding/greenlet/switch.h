/* SPDX-License-Identifier: MIT
 *
 * Moving control between greenlets.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_GREENLET_SWITCH_H
#define COPOOL_GREENLET_SWITCH_H

#include "greenlet/thread.h"

/* switch(): in the greenlet or, if it is dead, in the first of its parents that
 * is not, go on with the arguments or start. The value that the switch back
 * passes, as a new reference, or NULL with an exception set. */
PyObject *greenlet_switch_to(PyGreenlet *self, const struct strand_args *args);

/* throw(): the same with the exception that is set. */
PyObject *greenlet_throw_into(PyGreenlet *self);

extern const struct face_ops greenlet_ops;

#endif
