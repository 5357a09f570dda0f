/* SPDX-License-Identifier: MIT
 *
 * CPython's insides, for the .c files of this folder.
 */
#ifndef COPOOL_CPYTHON_INSIDE_H
#define COPOOL_CPYTHON_INSIDE_H

#include "cpython/version.h"

#include "internal/pycore_dict.h"
#include "internal/pycore_frame.h"
#include "internal/pycore_interp.h"
#include "internal/pycore_pystate.h"

#ifdef CO_HAS_STACK_LIMITS
#    include "internal/pycore_interpframe.h"
#    include "internal/pycore_runtime.h"
#    include "internal/pycore_stackref.h"
#endif

#endif
