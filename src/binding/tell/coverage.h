/* SPDX-License-Identifier: MIT
 *
 * coverage's tracer in Python, one of which each chain gets as each thread
 * does.
 *
 * Thread rule: all functions need the GIL, and run no Python code.
 */
#ifndef COPOOL_TELL_COVERAGE_H
#define COPOOL_TELL_COVERAGE_H

#include "strand/record.h"

/* The running chain, which is traced, is about to be left. */
void coverage_leaves(struct thread_record *t);

/* The chain has its trace function again, and in its slice is that of the one
 * that was left. */
void coverage_arrives(struct strand *here);

#endif
