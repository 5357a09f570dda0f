/* SPDX-License-Identifier: MIT
 *
 * What the strand of a Bridge does: one step, and then it waits for another
 * one.
 *
 * Thread rule: all functions need the GIL.
 */
#ifndef COPOOL_BRIDGE_STEP_H
#define COPOOL_BRIDGE_STEP_H

#include "bridge/bridge.h"

/* The entry of the strand. */
void bridge_main(void *value);

/* What it has called is dropped by the chain, in its context. No exception may
 * be set. */
void bridge_drop_call(Bridge *self);

#endif
