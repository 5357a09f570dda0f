/* SPDX-License-Identifier: MIT
 *
 * Dicts of which a failed look must not be taken for a miss.
 */
#ifndef COPOOL_PYTHON_DICT_H
#define COPOOL_PYTHON_DICT_H

#include "cpython/version.h"

/* What the dict has under the key, a borrowed reference. NULL without an
 * exception if it has nothing, with one if there is no memory. */
PyObject *dict_find(PyObject *dict, const char *key);

#endif
