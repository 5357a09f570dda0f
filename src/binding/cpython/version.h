/* SPDX-License-Identifier: MIT
 *
 * Which CPython this is: its header, and what differs between its versions, for
 * the files of this folder, which are the only ones that look inside CPython,
 * and the only ones with PY_VERSION_HEX.
 */
#ifndef COPOOL_CPYTHON_VERSION_H
#define COPOOL_CPYTHON_VERSION_H

#define PY_SSIZE_T_CLEAN
#ifndef Py_BUILD_CORE_MODULE
#    define Py_BUILD_CORE_MODULE 1
#endif
#include <Python.h>

#include <stdbool.h>
#include <stddef.h>

#if PY_VERSION_HEX < 0x030B0000
#    error "copool needs CPython 3.11 or later"
#elif PY_VERSION_HEX >= 0x03100000
#    error "copool does not know this version of CPython"
#elif defined(Py_GIL_DISABLED)
#    error "copool does not support free-threaded CPython"
#endif

#if PY_VERSION_HEX < 0x030D0000
#    define CO_HAS_CFRAME 1
#    define CO_COUNTS_TRASH 1 /* deallocations that are nested in a chain */
#endif

/* What keeps calls through C within their stack. */
#if PY_VERSION_HEX < 0x030C0000
#    define CO_COUNTS_ALL_CALLS 1 /* one counter, with Python's calls */
#elif PY_VERSION_HEX < 0x030E0000
#    define CO_COUNTS_C_CALLS 1 /* a counter of their own */
#else
#    define CO_HAS_STACK_LIMITS 1 /* addresses */
#endif

/* The slots by which a module declares that it works in interpreters with GILs
 * of their own, and needs a GIL. */
#if PY_VERSION_HEX >= 0x030D0000
#    define CO_MODULE_SLOTS                                                    \
        {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},  \
        {                                                                      \
            Py_mod_gil, Py_MOD_GIL_USED                                        \
        }
#elif PY_VERSION_HEX >= 0x030C0000
#    define CO_MODULE_SLOTS                                                    \
        {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED}
#else
#    define CO_MODULE_SLOTS {0, NULL}
#endif

/* Tools that follow calls have code changed, and not just the thread state. */
#if PY_VERSION_HEX >= 0x030C0000
#    define CO_INSTRUMENTS_CODE 1
#endif

#if PY_VERSION_HEX >= 0x030E0000
#    define CO_SHOWS_TASKS 1 /* to tools that read another process's memory */
#endif

#endif
