/* SPDX-License-Identifier: MIT
 *
 * Arguments of a vectorcall as a tuple and a dict.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_PYTHON_ARGS_H
#define COPOOL_PYTHON_ARGS_H

#include "cpython/version.h"

#include <stdbool.h>

/* Both new references, *kwargs NULL if names are. False with an exception set.
 */
bool args_pack(PyObject *const *args, Py_ssize_t nargs, PyObject *names,
               PyObject **tuple, PyObject **kwargs);

#endif
