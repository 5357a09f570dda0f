/* SPDX-License-Identifier: MIT */
#include "cpython/know.h"

#include "cpython/inside.h"
#include "cpython/limits.h"
#include "cpython/codes.h"

/* --- what there is in the interpreter ----------------------------------- */

#ifdef CO_HAS_STACK_LIMITS

/* CPython keeps the layout of its structures within a minor version, but for
 * what lies behind PyThreadState in memory and in PyInterpreterState. It says
 * at a fixed place where some of the fields are, for debuggers. */
static const _Py_DebugOffsets *
offsets(void)
{
    return (const _Py_DebugOffsets *)&_PyRuntime;
}

static bool
has_our_layout(void)
{
    const _Py_DebugOffsets *o = offsets();

#    define AT(part, field, type, name) (o->part.field == offsetof(type, name))
    return memcmp(o->cookie, _Py_Debug_Cookie, sizeof o->cookie) == 0 &&
           o->version >> 16 == PY_VERSION_HEX >> 16 && !o->free_threaded &&
           AT(thread_state, interp, PyThreadState, interp) &&
           AT(thread_state, current_frame, PyThreadState, current_frame) &&
           AT(thread_state, datastack_chunk, PyThreadState, datastack_chunk) &&
           o->thread_state.size >=
               offsetof(PyThreadState, dict_global_version) &&
           AT(interpreter_frame, executable, _PyInterpreterFrame,
              f_executable) &&
           AT(interpreter_frame, previous, _PyInterpreterFrame, previous) &&
           AT(interpreter_frame, owner, _PyInterpreterFrame, owner) &&
           AT(interpreter_frame, stackpointer, _PyInterpreterFrame,
              stackpointer) &&
           AT(interpreter_frame, localsplus, _PyInterpreterFrame, localsplus) &&
           AT(interpreter_frame, instr_ptr, _PyInterpreterFrame, instr_ptr) &&
           AT(gen_object, gi_frame_state, PyGenObject, gi_frame_state) &&
           AT(gen_object, gi_iframe, PyGenObject, gi_iframe);
#    undef AT
}

/* Since 3.14.2; older headers have not got them. */
#    pragma weak PyUnstable_ThreadState_SetStackProtection
#    pragma weak PyUnstable_ThreadState_ResetStackProtection
int PyUnstable_ThreadState_SetStackProtection(PyThreadState *ts, void *low,
                                              size_t size);
void PyUnstable_ThreadState_ResetStackProtection(PyThreadState *ts);

/* Words behind PyThreadState at which the limits may begin: every release has
 * that many and more. */
enum {
#    if PY_VERSION_HEX < 0x030F0000
    MAX_WORDS = 8,
#    else
    MAX_WORDS = 8 + sizeof(_PyInterpreterFrame) / sizeof(uintptr_t),
#    endif
};

/* The limits that are in force when they have been set for that stack; NULL if
 * they can't be found. Sets the margin. */
static struct tstate_limits *
find_limits(PyThreadState *ts, uintptr_t low, size_t size)
{
    char *word = (char *)ts + offsets()->thread_state.size;

    (void)PyUnstable_ThreadState_SetStackProtection(ts, (void *)low, size);
    for (int i = 0; i < MAX_WORDS; i++, word += sizeof(uintptr_t)) {
        struct tstate_limits *limits = (struct tstate_limits *)word;
        size_t margin = limits->hard - low;

        if (limits->top == low + size && margin > 0 && margin < size / 4 &&
            limits->soft == limits->hard + margin) {
            tstate_limits_margin = margin;
            return limits;
        }
    }
    return NULL;
}

/* Where the limits are is not part of any interface and has moved between
 * releases of 3.14. So they are set to what nothing else can be, twice, and
 * looked for. No Python code runs meanwhile. */
static bool
know_limits(bool lost)
{
    enum { SIZE = 1024 * 1024 };
    PyThreadState *ts = tstate_get();
    char *behind = (char *)ts + offsets()->thread_state.size;
    char before[(MAX_WORDS + 2) * sizeof(uintptr_t)];
    struct tstate_limits *first, *second;

    memcpy(before, behind, sizeof before);
    first = find_limits(ts, 0x5a5a0000, SIZE);
    second = find_limits(ts, 0x7b7b0000, SIZE);
    if (!first || first != second || lost) {
        PyUnstable_ThreadState_ResetStackProtection(ts);
        return false;
    }
    memcpy(first, before + ((char *)first - behind), sizeof *first);
    tstate_limits_offset = (size_t)((char *)first - (char *)ts);
    return true;
}

#endif

bool
tstate_know(unsigned long version, bool lost)
{
    const char *problem = NULL;

    (void)lost;
    if (version >> 16 != PY_VERSION_HEX >> 16)
        problem = "it was built for CPython " Py_STRINGIFY(
            PY_MAJOR_VERSION) "." Py_STRINGIFY(PY_MINOR_VERSION);
#ifdef CO_HAS_STACK_LIMITS
    else if (!has_our_layout())
        problem = "its structures are not as they were where copool was built";
    else if (!PyUnstable_ThreadState_SetStackProtection)
        problem = "it needs PyUnstable_ThreadState_SetStackProtection(): use "
                  "CPython 3.14.2 or later";
    else if (!know_limits(lost))
        problem = "where it keeps the limits of the stack can't be found out";
#endif
    if (problem)
        PyErr_Format(PyExc_ImportError,
                     "copool can't run on this CPython %lu.%lu.%lu: %s",
                     version >> 24, version >> 16 & 0xff, version >> 8 & 0xff,
                     problem);
    if (problem)
        return false;
#ifdef CO_COUNTS_C_CALLS
    if (!tstate_know_thread_budget())
        return false;
#endif
    return tstate_know_codes();
}

#define NUMBER_IS_AT(number, field)                                            \
    static_assert(offsetof(PyThreadState, field) -                             \
                          offsetof(PyThreadState, recursion_headroom) ==       \
                      offsetof(struct tstate_numbers, number),                 \
                  "the thread state has these side by side")
NUMBER_IS_AT(tracing, tracing);
#if PY_VERSION_HEX < 0x030C0000
NUMBER_IS_AT(what_event, tracing_what);
#else
NUMBER_IS_AT(what_event, what_event);
#endif
