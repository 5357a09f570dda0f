/* SPDX-License-Identifier: MIT
 *
 * Errors of faces that are used in a thread which they don't belong to.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_FACE_ERROR_H
#define COPOOL_FACE_ERROR_H

#include "strand/record.h"

/* Names of its thread and of this one, new references. False with an exception
 * set. Runs Python code. */
bool face_threads(const struct thread_record *its,
                  const struct thread_record *here, PyObject **owner,
                  PyObject **current);

/* Raises a CoroutineError. The format is for the face (%R), its thread and this
 * one (%U). */
void face_raise_foreign(const struct thread_record *here, PyObject *face,
                        const struct strand *s, const char *format);

#endif
