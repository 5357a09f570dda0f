/* SPDX-License-Identifier: MIT */
#include "strand/record.h"

CO_THREAD_LOCAL struct thread_record *thread_record_last;
_Atomic(struct thread_record *) thread_records;
