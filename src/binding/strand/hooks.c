/* SPDX-License-Identifier: MIT */
#include "strand/hooks.h"

const struct strand_hooks *strand_hooks;
