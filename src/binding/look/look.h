/* SPDX-License-Identifier: MIT
 *
 * What the files of this folder add to the module; -1 with an exception set.
 */
#ifndef COPOOL_LOOK_LOOK_H
#define COPOOL_LOOK_LOOK_H

#include "cpython/version.h"

int census_init(PyObject *module);
int faces_init(PyObject *module);
int dump_init(PyObject *module);
int watch_init(PyObject *module);

#endif
