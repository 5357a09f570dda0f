/* SPDX-License-Identifier: MIT
 *
 * A library that is loaded to be the last one: see core/loads.c. It has nothing
 * in it and needs none.
 */
extern const char copool_sentinel;
const char copool_sentinel = 0;
