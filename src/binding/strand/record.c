/* SPDX-License-Identifier: MIT */
#include "strand/record.h"

#include "strand/hooks.h"

CO_THREAD_LOCAL struct thread_record *thread_record_last;
_Atomic(struct thread_record *) thread_records;

const struct strand_hooks *strand_hooks;
