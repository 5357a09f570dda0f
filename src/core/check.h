/* SPDX-License-Identifier: MIT
 *
 * Assertions in layers. The build option `check` sets CO_CHECK:
 *   0  nothing (a release build)
 *   1  CO_ASSERT: cheap conditions, also on the switch path
 *   2  CO_ASSERT_SLOW: recounts and walks, on slow paths
 * They are the only thing that may end the process, and only in a test build.
 */
#ifndef COPOOL_CHECK_H
#define COPOOL_CHECK_H

#ifndef CO_CHECK
#    define CO_CHECK 0
#endif

#if CO_CHECK > 0
#    include <stdio.h>
#    include <stdlib.h>
#    define CO_ASSERT(cond)                                                    \
        ((cond) ? (void)0                                                      \
                : (fprintf(stderr, "%s:%d: %s: does not hold: %s\n", __FILE__, \
                           __LINE__, __func__, #cond),                         \
                   abort()))
#else
#    define CO_ASSERT(cond) ((void)sizeof(cond))
#endif

#if CO_CHECK > 1
#    define CO_ASSERT_SLOW(cond) CO_ASSERT(cond)
#else
#    define CO_ASSERT_SLOW(cond) ((void)sizeof(cond))
#endif

#endif
