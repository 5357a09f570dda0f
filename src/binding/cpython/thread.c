/* SPDX-License-Identifier: MIT */
#include "cpython/thread.h"

#include "cpython/contexts.h"
#include "cpython/inside.h"

bool
tstate_is_finalizing(void)
{
#if PY_VERSION_HEX >= 0x030D0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

void
tstate_clear_rest(PyThreadState *ts)
{
    Py_CLEAR(ts->async_gen_firstiter);
    Py_CLEAR(ts->async_gen_finalizer);
    Py_XDECREF(tstate_swap_context(ts, NULL));
}

void
tstate_drop_dict(PyThreadState *ts)
{
    Py_CLEAR(ts->dict);
}

void
tstate_return_data_stack(PyThreadState *ts, struct tstate_slice *own)
{
    ts->datastack_chunk = own->chunk;
    ts->datastack_top = own->top;
    ts->datastack_limit = own->limit;
}
