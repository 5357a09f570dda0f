/* SPDX-License-Identifier: MIT */
#include "cpython/tstate.h"

#include <limits.h>

#include "internal/pycore_dict.h"
#include "internal/pycore_frame.h"
#include "internal/pycore_interp.h"
#include "internal/pycore_pystate.h"

#ifdef CO_HAS_STACK_LIMITS
#    include "internal/pycore_interpframe.h"
#    include "internal/pycore_runtime.h"
#    include "internal/pycore_stackref.h"
#endif

#include "check.h"
#include "raw/section.h"

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

size_t tstate_limits_offset, tstate_limits_margin;

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

#ifdef CO_COUNTS_C_CALLS

/* The calls through C that a thread may make. */
static _Atomic(int) thread_budget;

/* Releases of one minor version differ in it, and the headers have that of the
 * one that copool was built with: so a thread state that is new is asked. */
static bool
know_thread_budget(void)
{
    PyThreadState *ts = PyThreadState_New(PyInterpreterState_Get());

    if (!ts) {
        PyErr_NoMemory();
        return false;
    }
    thread_budget = ts->c_recursion_remaining;
    PyThreadState_Clear(ts);
    PyThreadState_Delete(ts);
    return true;
}

#endif

static bool know_codes(void);

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
    if (!know_thread_budget())
        return false;
#endif
    return know_codes();
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

/* --- limits ------------------------------------------------------------- */

/* What a thread of a Linux program has, by which libraries and CPython's own
 * limits are chosen. */
enum { THREAD_STACK = 8 * 1024 * 1024 };

size_t
tstate_default_stack(void)
{
    return THREAD_STACK;
}

#ifdef CO_HAS_STACK_LIMITS

int
tstate_budget(size_t stack_size)
{
    (void)stack_size;
    return 0;
}

/* CPython frees containers at once only while four margins are left above the
 * soft limit, which is two above the end of the stack; and a coroutine takes
 * some before it frees any. */
size_t
tstate_least_stack(void)
{
    return 8 * tstate_limits_margin;
}

#else

/* Measured bytes of C stack from one call counted by the recursion counter to
 * the next; the greediest way found (__lt__ that sorts a list of its own kind)
 * takes less. 3.11 counts it once where the others count twice.
 */
enum {
#    ifdef CO_COUNTS_ALL_CALLS
    BYTES_PER_CALL = 5000,
#    else
    BYTES_PER_CALL = 2600,
#    endif
    RESERVE = 64 * 1024, /* for C code that does not count its calls */
    /* 3.13 frees containers at once only while more than 100 calls remain;
     * before it goes by how deep the deallocations are nested. */
    LEAST_CALLS = PY_VERSION_HEX >= 0x030D0000 ? 160 : 60,
};

#    ifdef CO_COUNTS_ALL_CALLS
enum { thread_budget = INT_MAX }; /* what is set is all there is */
#    endif

/* A stack as large as a thread's has the thread's own limit, whether or not it
 * holds as many of the greediest calls. */
int
tstate_budget(size_t stack_size)
{
    size_t usable = stack_size > RESERVE ? stack_size - RESERVE : 0;
    size_t held = usable / BYTES_PER_CALL;
    int most = thread_budget;

    return stack_size >= THREAD_STACK || held > (size_t)most ? most : (int)held;
}

size_t
tstate_least_stack(void)
{
    return RESERVE + LEAST_CALLS * BYTES_PER_CALL;
}

#endif

void
tstate_outermost(struct tstate_slice *s)
{
    memset(s, 0, sizeof *s);
#ifdef CO_COUNTS_ALL_CALLS
    s->max_depth = INT_MAX; /* the thread's stack is not ours to guard */
#endif
}

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
tstate_set_finalized(PyObject *op, bool finalized)
{
    PyGC_Head *head = (PyGC_Head *)op - 1;

    if (finalized)
        head->_gc_prev |= (uintptr_t)_PyGC_PREV_MASK_FINALIZED;
    else
        head->_gc_prev &= ~(uintptr_t)_PyGC_PREV_MASK_FINALIZED;
}

void
tstate_hide_limit(PyThreadState *ts, struct tstate_slice *s, bool hide)
{
#ifdef CO_COUNTS_ALL_CALLS
    ts->recursion_remaining += s->hidden;
    s->hidden = hide ? tstate_hide(ts, s->max_depth) : 0;
    ts->recursion_remaining -= s->hidden;
#else
    (void)ts;
    (void)s;
    (void)hide;
#endif
}

#ifdef CO_COUNTS_ALL_CALLS
static void
set_max_depth(PyThreadState *ts, struct tstate_slice *s, int max_depth)
{
    ts->recursion_remaining += s->hidden;
    s->max_depth = max_depth;
    s->hidden = tstate_hide(ts, max_depth);
    ts->recursion_remaining -= s->hidden;
}
#endif

struct tstate_limit
tstate_enter_stack(PyThreadState *ts, struct tstate_slice *s,
                   const struct tstate_slice *other)
{
    struct tstate_limit before;

#ifdef CO_COUNTS_ALL_CALLS
    before.max_depth = s->max_depth;
    before.deeper = other->depth - tstate_depth(ts, s);
    if (before.deeper < 0)
        before.deeper = 0;
    set_max_depth(ts, s, other->max_depth);
    ts->recursion_remaining -= before.deeper;
#elif defined(CO_COUNTS_C_CALLS)
    (void)s;
    before.c_remaining = ts->c_recursion_remaining;
    ts->c_recursion_remaining = other->c_remaining;
#else
    (void)s;
    before.limits = *tstate_get_limits(ts);
    *tstate_get_limits(ts) = other->limits;
#endif
    return before;
}

void
tstate_leave_stack(PyThreadState *ts, struct tstate_slice *s,
                   const struct tstate_limit *before)
{
    (void)s;
#ifdef CO_COUNTS_ALL_CALLS
    ts->recursion_remaining += before->deeper;
    set_max_depth(ts, s, before->max_depth);
#elif defined(CO_COUNTS_C_CALLS)
    ts->c_recursion_remaining = before->c_remaining;
#else
    *tstate_get_limits(ts) = before->limits;
#endif
}

static struct _PyInterpreterFrame *
innermost(const struct tstate_slice *s)
{
#ifdef CO_HAS_CFRAME
    return s->cframe->current_frame;
#else
    return s->current_frame;
#endif
}

/* --- tracing ------------------------------------------------------------ */

#if defined(CO_INSTRUMENTS_CODE) && PY_VERSION_HEX < 0x030F0000

/* Calls what sys.monitoring has under the name, which steals the arguments; -1
 * if it fails, without an exception. Whatever a program has put there instead
 * is not called. */
static long
monitoring(const struct tstate_renewal *r, const char *name, PyObject *args)
{
    PyObject *fn = args ? PyDict_GetItemString(r->monitoring, name) : NULL;
    PyObject *result = NULL;
    long number = 0;

    if (fn && PyCFunction_CheckExact(fn))
        result = PyObject_CallObject(fn, args);
    if (!result)
        number = -1;
    else if (PyLong_Check(result))
        number = PyLong_AsLong(result);
    Py_XDECREF(result);
    Py_XDECREF(args);
    PyErr_Clear(); /* no memory, or the tool is another's */
    return number;
}

/* A tool that is not in use, or else the first. */
static void
take_tool(struct tstate_renewal *r)
{
    PyObject *module = PySys_GetObject("monitoring");

    if (!module || !PyModule_CheckExact(module))
        return;
    r->monitoring = PyModule_GetDict(module);
    for (int id = 0; id < 6 && !r->taken; id++) {
        r->tool = id;
        r->taken =
            !monitoring(r, "use_tool_id", Py_BuildValue("is", id, "copool"));
    }
    if (!r->taken)
        r->tool = 0;
}

/* What does so directly is not exported. But CPython does it, too, when an
 * event is switched on for that code alone, or off. */
static void
instrument(struct tstate_renewal *r, PyThreadState *ts, PyCodeObject *code)
{
    int events;

    (void)ts;
    if (!r->monitoring)
        take_tool(r);
    if (!r->monitoring)
        return;
    events = (int)monitoring(r, "get_local_events",
                             Py_BuildValue("iO", r->tool, code));
    if (events < 0)
        return;
    monitoring(r, "set_local_events",
               Py_BuildValue("iOi", r->tool, code, events ^ 1));
    monitoring(r, "set_local_events",
               Py_BuildValue("iOi", r->tool, code, events));
}

void
tstate_renewal_end(struct tstate_renewal *r)
{
    if (r->taken)
        monitoring(r, "free_tool_id", Py_BuildValue("(i)", r->tool));
}

#else

#    ifdef CO_INSTRUMENTS_CODE

static void
instrument(struct tstate_renewal *r, PyThreadState *ts, PyCodeObject *code)
{
    (void)r;
    if (_Py_Instrument(code, ts->interp) < 0)
        PyErr_Clear(); /* no memory: it is tried again at the next call */
}

#    endif

void
tstate_renewal_end(struct tstate_renewal *r)
{
    (void)r;
}

#endif

#ifdef CO_INSTRUMENTS_CODE

/* The code of a function's frame, if it can be followed, or NULL. */
static PyCodeObject *
traceable_code(const struct _PyInterpreterFrame *frame)
{
    PyCodeObject *code;

#    if PY_VERSION_HEX < 0x030E0000
    if (frame->owner >= FRAME_OWNED_BY_CSTACK)
        return NULL;
#    else
    if (frame->owner >= FRAME_OWNED_BY_INTERPRETER)
        return NULL;
#    endif
#    if PY_VERSION_HEX < 0x030D0000
    code = frame->f_code;
#    else
    code = _PyFrame_GetCode((_PyInterpreterFrame *)frame);
#    endif
    return code->_co_firsttraceable < Py_SIZE(code)
               ? code
               : NULL; /* below an __init__() */
}

#endif

void
tstate_renew(struct tstate_renewal *r, PyThreadState *ts,
             const struct tstate_slice *s)
{
#ifndef CO_INSTRUMENTS_CODE
    (void)r;
    (void)ts;
    (void)s;
#else
    uint64_t version = tstate_instrumentation(ts);
    const struct _PyInterpreterFrame *frame = innermost(s);

    for (; frame; frame = frame->previous) {
        PyCodeObject *code = traceable_code(frame);

        if (code && code->_co_instrumentation_version != version)
            instrument(r, ts, code);
    }
#endif
}

void
tstate_confirm(PyThreadState *ts, const struct tstate_slice *s,
               uint64_t version)
{
#ifndef CO_INSTRUMENTS_CODE
    (void)ts;
    (void)s;
    (void)version;
#else
    uint64_t now = tstate_instrumentation(ts);
    const struct _PyInterpreterFrame *frame = innermost(s);

    for (; frame && now != version; frame = frame->previous) {
        PyCodeObject *code = traceable_code(frame);

        if (code && code->_co_instrumentation_version == version)
            code->_co_instrumentation_version = now;
    }
#endif
}

void
tstate_save_trace(PyThreadState *ts, struct tstate_slice *s)
{
    CO_ASSERT(!s->trace_arg);
    s->rest |= TSTATE_REST_TRACE;
    s->trace = ts->c_tracefunc;
    s->trace_arg = Py_XNewRef(ts->c_traceobj);
}

/* One trace function takes the place of another, so that CPython's counts of
 * what is traced stay right. */
void
tstate_resume_trace(PyThreadState *ts, struct tstate_slice *s)
{
    PyObject *mine = s->trace_arg;

    if (ts->c_tracefunc) {
        s->trace_arg = ts->c_traceobj;
        ts->c_tracefunc = s->trace;
        ts->c_traceobj = mine;
    }
    s->trace = NULL;
}

void
tstate_profile_event(PyThreadState *ts, PyObject *object, PyFrameObject *frame,
                     bool called)
{
    if (ts->c_profilefunc && ts->c_profileobj == object)
        (void)ts->c_profilefunc(object, frame,
                                called ? PyTrace_CALL : PyTrace_RETURN, NULL);
}

PyObject *
tstate_trace_hook(PyThreadState *ts)
{
    PyObject *name = PyUnicode_FromString("threading");
    PyObject *threading = name ? PyImport_GetModule(name) : NULL;
    PyObject *hook = NULL;

    Py_XDECREF(name);
    if (threading) {
        PyThreadState_EnterTracing(ts); /* this is not the program's call */
        hook = PyObject_CallMethod(threading, "gettrace", NULL);
        PyThreadState_LeaveTracing(ts);
        Py_DECREF(threading);
    }
    if (PyErr_Occurred())
        PyErr_WriteUnraisable(NULL);
    if (hook == Py_None)
        Py_CLEAR(hook);
    return hook;
}

void
tstate_begin_trace(PyThreadState *ts)
{
    PyObject *hook = tstate_trace_hook(ts);
    PyObject *set = hook ? PySys_GetObject("settrace") : NULL;
    PyObject *result = set ? PyObject_CallOneArg(set, hook) : NULL;

    if (set && !result)
        PyErr_WriteUnraisable(NULL);
    Py_XDECREF(hook);
    Py_XDECREF(result);
}

void
tstate_share_trace(PyThreadState *ts, const struct tstate_slice *other)
{
    PyObject *unused = ts->c_traceobj;

    if (!other->trace)
        return;
    ts->c_tracefunc = other->trace;
    ts->c_traceobj = Py_XNewRef(other->trace_arg);
    Py_XDECREF(unused);
}

/* --- awaitables --------------------------------------------------------- */

bool
tstate_is_awaited(PyObject *coroutine)
{
    PyObject *awaited;
    bool is;

    if (((PyCoroObject *)coroutine)->cr_frame_state == FRAME_CREATED)
        return false;
    awaited = PyObject_GetAttrString(coroutine, "cr_await");
    is = awaited && awaited != Py_None;
    Py_XDECREF(awaited);
    return is;
}

PyObject *
tstate_coroutine_name(PyObject *coroutine)
{
    if (!PyCoro_CheckExact(coroutine) && !PyGen_CheckExact(coroutine))
        return NULL;
    return ((PyGenObject *)coroutine)->gi_qualname;
}

bool
tstate_is_awaitable(PyObject *generator)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyCodeObject *code = PyGen_GetCode((PyGenObject *)generator);
    int flags = code->co_flags;

    Py_DECREF(code);
#else
    int flags = ((PyGenObject *)generator)->gi_code->co_flags;
#endif
    return flags & CO_ITERABLE_COROUTINE;
}

bool
tstate_runs_nothing(PyObject *fn)
{
    int flags = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR;
    PyCodeObject *code;

    while (PyMethod_Check(fn))
        fn = PyMethod_GET_FUNCTION(fn);
    if (!PyFunction_Check(fn))
        return false;
    code = (PyCodeObject *)PyFunction_GET_CODE(fn);
    return (code->co_flags & flags) != 0;
}

#ifdef CO_COUNTS_TRASH
int
tstate_trash_nesting(PyThreadState *ts)
{
#    if PY_VERSION_HEX < 0x030C0000
    return ts->trash_delete_nesting;
#    else
    return ts->trash.delete_nesting;
#    endif
}
#endif

/* --- a chain ------------------------------------------------------------ */

/* What the frame of a root executes, so that tools which show it have a name to
 * show. The interpreter takes it for a function that has not begun yet. */
static PyCodeObject *enter_code;

/* What stands for frames that are left out. */
static PyCodeObject *more_code;

/* Interpreters share the memory that such frames are in, and the memory of an
 * interpreter may go when it ends: so what is read of the code is copied out of
 * it. Only 3.11 has one allocator for all. */
#if PY_VERSION_HEX >= 0x030C0000

static void *
lasting(const void *object, size_t size)
{
    PyObject *copy = PyMem_RawMalloc(size);

    if (copy) {
        memcpy(copy, object, size);
        copy->ob_refcnt = Py_None->ob_refcnt; /* which is for ever */
    }
    return copy;
}

static PyObject *
lasting_ascii(PyObject *text)
{
    size_t length = (size_t)PyUnicode_GET_LENGTH(text);

    return lasting(text, sizeof(PyASCIIObject) + length + 1);
}

/* The rest of it are constants of the process. */
static PyCodeObject *
lasting_code(const PyCodeObject *code)
{
    PyObject *lines = code->co_linetable;
    PyCodeObject *copy =
        lasting(code, offsetof(PyCodeObject, co_code_adaptive) +
                          (size_t)_PyCode_NBYTES(code));

    if (!copy)
        return NULL;
    copy->co_filename = lasting_ascii(code->co_filename);
    copy->co_name = copy->co_qualname = lasting_ascii(code->co_name);
    copy->co_linetable = lasting(lines, offsetof(PyBytesObject, ob_sval) +
                                            (size_t)Py_SIZE(lines) + 1);
    if (copy->co_filename && copy->co_name && copy->co_linetable)
        return copy;
    return NULL; /* what little there is of it is left */
}

#else

static PyCodeObject *
lasting_code(PyCodeObject *code)
{
    return (PyCodeObject *)Py_NewRef(code);
}

#endif

/* False with an exception set. */
static bool
know_code(PyCodeObject **place, const char *file, const char *name, int line)
{
    PyCodeObject *code;

    if (*place)
        return true;
    code = PyCode_NewEmpty(file, name, line);
    if (!code)
        return false;
    *place = lasting_code(code);
    Py_DECREF(code);
    if (!*place) {
        PyErr_NoMemory();
        return false;
    }
    (*place)->_co_firsttraceable = (int)Py_SIZE(*place);
    return true;
}

static bool
know_codes(void)
{
    return know_code(&enter_code, "<copool>", "enter", 1) &&
           know_code(&more_code, "", "...", 0);
}

void
tstate_make_root(struct tstate_root *root)
{
    _PyInterpreterFrame *frame = &root->frame;
    struct _PyInterpreterFrame *previous = frame->previous;

    memset(frame, 0, sizeof *frame);
    frame->previous = previous;
    frame->owner = FRAME_OWNED_BY_THREAD;
#if PY_VERSION_HEX >= 0x030E0000
    frame->f_executable = PyStackRef_FromPyObjectBorrow((PyObject *)enter_code);
    frame->f_funcobj = PyStackRef_NULL;
    frame->stackpointer = frame->localsplus;
    frame->instr_ptr = _PyCode_CODE(enter_code);
#elif PY_VERSION_HEX >= 0x030D0000
    frame->f_executable = (PyObject *)enter_code;
    frame->instr_ptr = _PyCode_CODE(enter_code);
#else
    frame->f_code = enter_code;
    frame->prev_instr = _PyCode_CODE(enter_code);
#endif
#if PY_VERSION_HEX < 0x030C0000
    frame->is_entry = true;
#else
    /* Nobody asks for them, but faulthandler takes a frame without for broken.
     */
    frame->f_globals = frame->f_builtins = Py_None;
#endif
    root->made = root;
}

bool
tstate_is_unwound(PyThreadState *ts, struct tstate_slice *s,
                  struct tstate_root *root)
{
    (void)s;
#ifdef CO_HAS_CFRAME
    if (ts->cframe != &root->cframe)
        return false;
#endif
    if (tstate_running(ts) != &root->frame &&
        tstate_running(ts) != tstate_base_frame(ts))
        return false;
    return ts->exc_info == &root->exc && !ts->datastack_chunk->previous &&
           ts->datastack_top == &ts->datastack_chunk->data[1];
}

PyObject *
tstate_no_values(void)
{
    PyObject *context = PyContext_New(), *values;

    if (!context)
        return NULL;
    values = Py_NewRef(tstate_context_values(context));
    Py_DECREF(context);
    return values;
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

void
tstate_detach(struct tstate_root *root)
{
    root->frame.previous = NULL;
}

#ifdef CO_HAS_STACK_LIMITS

static int
visit_reference(_PyStackRef ref, visitproc visit, void *arg)
{
    if (PyStackRef_IsNull(ref) || PyStackRef_IsTaggedInt(ref) ||
        !PyStackRef_RefcountOnObject(ref)) /* then it is borrowed */
        return 0;
    Py_VISIT(PyStackRef_AsPyObjectBorrow(ref));
    return 0;
}

static int
traverse_frame(_PyInterpreterFrame *frame, visitproc visit, void *arg)
{
    int result;

    Py_VISIT(frame->frame_obj);
    Py_VISIT(frame->f_locals);
    result = visit_reference(frame->f_executable, visit, arg);
    if (!result)
        result = visit_reference(frame->f_funcobj, visit, arg);
    for (_PyStackRef *ref = frame->localsplus;
         !result && ref < frame->stackpointer; ref++)
        result = visit_reference(*ref, visit, arg);
    return result;
}

/* It does that itself. */
static int
traverse_generator(_PyInterpreterFrame *frame, visitproc visit, void *arg)
{
    return 0;
}

/* Its frame says that they are on its evaluation stack. */
static int
traverse_stack(_PyInterpreterFrame *frame, PyObject *const *end,
               visitproc visit, void *arg)
{
    return 0;
}

#else

static PyCodeObject *
frame_code(const _PyInterpreterFrame *frame)
{
#    if PY_VERSION_HEX >= 0x030D0000
    return (PyCodeObject *)frame->f_executable;
#    else
    return frame->f_code;
#    endif
}

/* A frame in the middle of a call into C has not recorded how much of its
 * evaluation stack is in use (stacktop < 0). What lies there is not visited;
 * then a cycle through it alone is not collected, which is safe. */
static int
traverse_frame(_PyInterpreterFrame *frame, visitproc visit, void *arg)
{
    PyCodeObject *code = frame_code(frame);
    int n = frame->stacktop >= 0 ? frame->stacktop : code->co_nlocalsplus;

    Py_VISIT(frame->frame_obj);
    Py_VISIT(frame->f_locals);
    Py_VISIT(code);
#    if PY_VERSION_HEX >= 0x030C0000
    Py_VISIT(frame->f_funcobj);
#    else
    Py_VISIT(frame->f_func);
#    endif
    for (int i = 0; i < n; i++)
        Py_VISIT(frame->localsplus[i]);
    return 0;
}

/* A generator visits what its frame refers to, but in the middle of such a call
 * leaves out the local variables. */
static int
traverse_generator(_PyInterpreterFrame *frame, visitproc visit, void *arg)
{
    if (frame->stacktop >= 0)
        return 0;
    for (int i = 0; i < frame_code(frame)->co_nlocalsplus; i++)
        Py_VISIT(frame->localsplus[i]);
    return 0;
}

static bool
is_on_stack(const _PyInterpreterFrame *frame, PyObject *const *end)
{
    const PyCodeObject *code = frame_code(frame);
    PyObject *const *base = frame->localsplus + code->co_nlocalsplus;

    return end >= base && end <= base + code->co_stacksize;
}

/* But if the arguments of that call are on the evaluation stack, they are what
 * is on top of it. */
static int
traverse_stack(_PyInterpreterFrame *frame, PyObject *const *end,
               visitproc visit, void *arg)
{
    PyObject *const *slot =
        frame->localsplus + frame_code(frame)->co_nlocalsplus;

    if (frame->stacktop >= 0 || !is_on_stack(frame, end))
        return 0;
    for (; slot < end; slot++)
        Py_VISIT(*slot);
    return 0;
}

#endif

int
tstate_traverse(struct tstate_slice *s, struct tstate_root *root,
                PyObject *const *stack_end, visitproc visit, void *arg)
{
    _PyInterpreterFrame *frame = innermost(s);
    int result = 0;

    if (stack_end && frame)
        result = traverse_stack(frame, stack_end, visit, arg);
    if (result)
        return result;
    Py_VISIT(s->context);
    if (s->trace)
        Py_VISIT(s->trace_arg);
    Py_VISIT(root->exc.exc_value);
    for (; frame && frame != &root->frame; frame = frame->previous) {
        if (frame->owner == FRAME_OWNED_BY_THREAD)
            result = traverse_frame(frame, visit, arg);
        else if (frame->owner == FRAME_OWNED_BY_GENERATOR)
            result = traverse_generator(frame, visit, arg);
        if (result) /* those of the interpreter itself own nothing */
            return result;
    }
    return 0;
}

/* The first of them that is a function's, or NULL. */
static struct _PyInterpreterFrame *
first_complete(struct _PyInterpreterFrame *frame,
               const struct tstate_root *root)
{
    while (frame && frame != &root->frame && _PyFrame_IsIncomplete(frame))
        frame = frame->previous;
    return frame == &root->frame ? NULL : frame;
}

/* PyFrame_GetBack() is the one public function that makes a frame object for a
 * frame that has none. It is asked what is behind a frame which we make up. */
static PyFrameObject *
frame_object(struct _PyInterpreterFrame *frame)
{
    struct _PyInterpreterFrame made_up;
    PyFrameObject object;

    if (!frame)
        return NULL;
    memset(&made_up, 0, sizeof made_up);
    memset(&object, 0, sizeof object);
    Py_SET_TYPE((PyObject *)&object, &PyFrame_Type);
    made_up.previous = frame;
    /* A debug build asks whether it is complete; a generator's always is. */
    made_up.owner = FRAME_OWNED_BY_GENERATOR;
    object.f_frame = &made_up;
    return PyFrame_GetBack(&object);
}

PyFrameObject *
tstate_frame(const struct tstate_slice *s, const struct tstate_root *root)
{
    return frame_object(first_complete(innermost(s), root));
}

PyFrameObject *
tstate_running_frame(PyThreadState *ts, const struct tstate_root *root)
{
    return frame_object(first_complete(tstate_running(ts), root));
}

PyFrameObject *
tstate_outermost_frame(PyThreadState *ts, const struct tstate_slice *s,
                       const struct tstate_root *root)
{
    struct _PyInterpreterFrame *frame = ts ? tstate_running(ts) : innermost(s);
    struct _PyInterpreterFrame *found = NULL;

    while ((frame = first_complete(frame, root)) != NULL) {
        found = frame;
        frame = frame->previous;
    }
    return frame_object(found);
}

PyFrameObject *
tstate_frame_behind(PyThreadState *ts, const struct tstate_root *root)
{
    struct _PyInterpreterFrame *frame = tstate_running(ts);

    while (frame && frame != &root->frame)
        frame = frame->previous;
    return frame ? frame_object(first_complete(frame->previous, root)) : NULL;
}

/* --- a chain that never goes on ------------------------------------------- */

#ifdef CO_HAS_STACK_LIMITS

/* What the frame owns moves into memory of the frame object's. A generator
 * keeps its code. */
static void
move_frame(_PyInterpreterFrame *frame, _PyInterpreterFrame *to)
{
    _PyFrame_Copy(frame, to);
    to->owner = FRAME_OWNED_BY_FRAME_OBJECT;
    if (frame->owner == FRAME_OWNED_BY_GENERATOR)
        frame->f_executable = PyStackRef_DUP(to->f_executable);
    if (_PyFrame_IsIncomplete(to))
        to->instr_ptr =
            _PyFrame_GetBytecode(to) + _PyFrame_GetCode(to)->_co_firsttraceable;
}

static void
end_stack(_PyInterpreterFrame *frame, PyObject *const *end)
{
    (void)frame;
    (void)end;
}

static void
drop_frame(_PyInterpreterFrame *frame, bool with_code)
{
    while (frame->stackpointer > frame->localsplus) {
        _PyStackRef ref = *--frame->stackpointer;

        PyStackRef_XCLOSE(ref);
    }
    Py_CLEAR(frame->f_locals);
    Py_CLEAR(frame->frame_obj);
    PyStackRef_CLEAR(frame->f_funcobj);
    if (with_code)
        PyStackRef_CLEAR(frame->f_executable);
}

#else

static void
move_frame(_PyInterpreterFrame *frame, _PyInterpreterFrame *to)
{
    PyCodeObject *code = frame_code(frame);

    if (frame->stacktop < 0)
        frame->stacktop = code->co_nlocalsplus;
    memcpy(
        to, frame,
        (size_t)((char *)&frame->localsplus[frame->stacktop] - (char *)frame));
    to->previous = NULL;
#    if PY_VERSION_HEX >= 0x030C0000
    if (frame->owner == FRAME_OWNED_BY_GENERATOR)
        Py_INCREF(code);
#    endif
    to->owner = FRAME_OWNED_BY_FRAME_OBJECT;
    if (_PyFrame_IsIncomplete(to))
#    if PY_VERSION_HEX >= 0x030D0000
        to->instr_ptr = _PyCode_CODE(code) + code->_co_firsttraceable;
#    else
        to->prev_instr = _PyCode_CODE(code) + code->_co_firsttraceable;
#    endif
}

static void
end_stack(_PyInterpreterFrame *frame, PyObject *const *end)
{
    if (frame->stacktop < 0 && is_on_stack(frame, end))
        frame->stacktop = (int)(end - frame->localsplus);
}

static void
drop_frame(_PyInterpreterFrame *frame, bool with_code)
{
    PyCodeObject *code = frame_code(frame);
    int n = frame->stacktop >= 0 ? frame->stacktop : code->co_nlocalsplus;

    frame->stacktop = 0;
    for (int i = 0; i < n; i++)
        Py_CLEAR(frame->localsplus[i]);
    Py_CLEAR(frame->f_locals);
    Py_CLEAR(frame->frame_obj);
#    if PY_VERSION_HEX >= 0x030C0000
    Py_CLEAR(frame->f_funcobj);
#    else
    Py_CLEAR(frame->f_func);
    with_code = true; /* a generator has a reference of its own */
#    endif
    if (with_code)
        Py_DECREF(code);
}

#endif

static PyGenObject *
generator_of(_PyInterpreterFrame *frame)
{
    return (PyGenObject *)((char *)frame - offsetof(PyGenObject, gi_iframe));
}

/* As if the function had been left: somebody, a traceback say, has the frame's
 * object, which gets what the frame has, and leads to the object of `back`, or
 * to none. May run the collector. */
static void
give_to_object(_PyInterpreterFrame *frame, _PyInterpreterFrame *back)
{
    PyFrameObject *object = frame->frame_obj, *next = frame_object(back);

    if (back && !next)
        PyErr_Clear(); /* no memory */
    frame->frame_obj = NULL;
    object->f_frame = (_PyInterpreterFrame *)object->_f_frame_data;
    move_frame(frame, object->f_frame);
    object->f_back = next;
    if (!PyObject_GC_IsTracked((PyObject *)object))
        PyObject_GC_Track(object);
    Py_DECREF(object);
}

/* It counts as finished. */
static void
finish_generator(PyGenObject *generator)
{
    generator->gi_frame_state = FRAME_CLEARED;
    generator->gi_exc_state.previous_item = NULL;
}

/* Takes the frames apart and gives those to their objects that others have.
 * Returns the innermost of the others, which are followed by one another. */
static _PyInterpreterFrame *
take_apart(struct tstate_slice *s, struct tstate_root *root)
{
    _PyInterpreterFrame *frame = innermost(s), *first = NULL, *previous;
    _PyInterpreterFrame **link = &first;

    for (; frame && frame != &root->frame; frame = previous) {
        previous = frame->previous;
        if (frame->owner != FRAME_OWNED_BY_THREAD &&
            frame->owner != FRAME_OWNED_BY_GENERATOR)
            continue; /* those of the interpreter itself own nothing */
        if (frame->owner == FRAME_OWNED_BY_GENERATOR)
            finish_generator(generator_of(frame));
        if (frame->frame_obj && Py_REFCNT(frame->frame_obj) > 1) {
            give_to_object(frame, first_complete(previous, root));
            frame->previous = NULL;
            continue;
        }
        *link = frame;
        link = &frame->previous;
        *link = NULL;
    }
    return first;
}

/* The generator is held, since it may be one that only the next frame has. */
static void
drop_generator(_PyInterpreterFrame *frame)
{
    PyGenObject *generator = (PyGenObject *)Py_NewRef(generator_of(frame));

    drop_frame(frame, false);
    Py_CLEAR(generator->gi_exc_state.exc_value);
    Py_DECREF(generator);
}

static void
free_chunks(_PyStackChunk *chunk)
{
    PyObjectArenaAllocator arenas;
    _PyStackChunk *previous;

    PyObject_GetArenaAllocator(&arenas);
    for (; (previous = chunk->previous) != NULL; chunk = previous)
        arenas.free(arenas.ctx, chunk, chunk->size);
}

void
tstate_free(struct tstate_slice *s, struct tstate_root *root,
            PyObject *const *stack_end)
{
    _PyInterpreterFrame *frame = innermost(s), *next;

    if (stack_end && frame)
        end_stack(frame, stack_end);
    frame = take_apart(s, root);
    for (; frame; frame = next) {
        next = frame->previous;
        frame->previous = NULL;
        if (frame->owner == FRAME_OWNED_BY_GENERATOR)
            drop_generator(frame);
        else
            drop_frame(frame, true);
    }
    free_chunks(s->chunk);
}

/* --- for readers from outside --------------------------------------------- */

#define AT(name, type, field) section_add(e, name, offsetof(type, field))

static void
add_thread(struct entries *e)
{
    section_add(e, "python", PY_VERSION_HEX);
    AT("thread.native", PyThreadState, native_thread_id);
    AT("thread.interp", PyThreadState, interp);
#ifdef CO_HAS_CFRAME
    AT("thread.cframe", PyThreadState, cframe);
    AT("cframe.frame", _PyCFrame, current_frame);
    AT("slice.cframe", struct tstate_slice, cframe);
#else
    AT("thread.frame", PyThreadState, current_frame);
    AT("slice.frame", struct tstate_slice, current_frame);
#endif
}

/* The bits of an address that are not a part of it. */
static void
add_frames(struct entries *e)
{
    section_add(e, "frame.size", offsetof(_PyInterpreterFrame, localsplus));
    AT("frame.previous", _PyInterpreterFrame, previous);
    AT("frame.owner", _PyInterpreterFrame, owner);
    AT("frame.locals", _PyInterpreterFrame, localsplus);
#if PY_VERSION_HEX < 0x030C0000
    AT("frame.entry", _PyInterpreterFrame, is_entry);
#endif
#if PY_VERSION_HEX >= 0x030D0000
    AT("frame.code", _PyInterpreterFrame, f_executable);
    AT("frame.instr", _PyInterpreterFrame, instr_ptr);
#else
    AT("frame.code", _PyInterpreterFrame, f_code);
    AT("frame.instr", _PyInterpreterFrame, prev_instr);
#endif
#if PY_VERSION_HEX >= 0x030E0000
    AT("frame.stackpointer", _PyInterpreterFrame, stackpointer);
    section_add(e, "frame.tag", Py_TAG_BITS);
#else
    AT("frame.stacktop", _PyInterpreterFrame, stacktop);
    section_add(e, "frame.tag", 0);
#endif
    section_add(e, "root.code", (uintptr_t)enter_code);
    section_add(e, "owner.thread", FRAME_OWNED_BY_THREAD);
    section_add(e, "owner.generator", FRAME_OWNED_BY_GENERATOR);
    section_add(e, "owner.object", FRAME_OWNED_BY_FRAME_OBJECT);
    AT("code.filename", PyCodeObject, co_filename);
    AT("code.qualname", PyCodeObject, co_qualname);
    AT("code.firstlineno", PyCodeObject, co_firstlineno);
    AT("code.linetable", PyCodeObject, co_linetable);
    AT("code.traceable", PyCodeObject, _co_firsttraceable);
    AT("code.code", PyCodeObject, co_code_adaptive);
}

static void
add_generators(struct entries *e)
{
    AT("gen.qualname", PyGenObject, gi_qualname);
    AT("gen.state", PyGenObject, gi_frame_state);
    AT("gen.frame", PyGenObject, gi_iframe);
#if PY_VERSION_HEX >= 0x030D0000
    section_add(e, "gen.awaits", (uint8_t)FRAME_SUSPENDED_YIELD_FROM);
#else
    section_add(e, "gen.awaits", (uint8_t)FRAME_SUSPENDED);
#endif
    /* How far below the top of its evaluation stack what it awaits is. */
    section_add(e, "gen.awaited", PY_VERSION_HEX >= 0x030F0000 ? 2 : 1);
    section_add(e, "type.coroutine", (uintptr_t)&PyCoro_Type);
    section_add(e, "type.generator", (uintptr_t)&PyGen_Type);
}

static unsigned
state_word(const PyASCIIObject *string)
{
    unsigned word;

    memcpy(&word, &string->state, sizeof word);
    return word;
}

/* Where in the word of a string's flags the one is that a string has which is
 * in ASCII, and where its kind begins: the bytes of a character. */
static void
add_flags_of_text(struct entries *e)
{
    PyASCIIObject string;

    memset(&string, 0, sizeof string);
    string.state.ascii = 1;
    section_add(e, "str.ascii", state_word(&string));
    string.state.ascii = 0;
    string.state.kind = 1;
    section_add(e, "str.kind", state_word(&string));
}

static void
add_objects(struct entries *e)
{
    AT("object.type", PyObject, ob_type);
    AT("type.name", PyTypeObject, tp_name);
    AT("type.flags", PyTypeObject, tp_flags);
    AT("str.length", PyASCIIObject, length);
    AT("str.state", PyASCIIObject, state);
    section_add(e, "str.text.ascii", sizeof(PyASCIIObject));
    section_add(e, "str.text", sizeof(PyCompactUnicodeObject));
    add_flags_of_text(e);
    section_add(e, "type.str", (uintptr_t)&PyUnicode_Type);
    AT("bytes.size", PyVarObject, ob_size);
    AT("bytes.text", PyBytesObject, ob_sval);
#if PY_VERSION_HEX >= 0x030C0000
    section_add(e, "type.int", (uintptr_t)&PyLong_Type);
    AT("int.tag", PyLongObject, long_value.lv_tag);
    AT("int.digits", PyLongObject, long_value.ob_digit);
#endif
    section_add(e, "type.function", (uintptr_t)&PyFunction_Type);
    AT("function.qualname", PyFunctionObject, func_qualname);
    section_add(e, "type.method", (uintptr_t)&PyMethod_Type);
    AT("method.function", PyMethodObject, im_func);
    section_add(e, "type.builtin", (uintptr_t)&PyCFunction_Type);
    AT("builtin.def", PyCFunctionObject, m_ml);
    AT("def.name", PyMethodDef, ml_name);
    AT("weakref.object", PyWeakReference, wr_object);
    AT("dict.keys", PyDictObject, ma_keys);
    AT("dict.values", PyDictObject, ma_values);
    AT("values.first", struct _dictvalues, values);
    AT("keys.index.bytes", struct _dictkeysobject, dk_log2_index_bytes);
    AT("keys.kind", struct _dictkeysobject, dk_kind);
    AT("keys.count", struct _dictkeysobject, dk_nentries);
    AT("keys.indices", struct _dictkeysobject, dk_indices);
}

void
tstate_layout(struct entries *e)
{
    add_thread(e);
    add_frames(e);
    add_generators(e);
    add_objects(e);
}

/* --- what asyncio's tools see ------------------------------------------- */

#ifdef CO_SHOWS_TASKS

enum {
    /* Where below the end of its evaluation stack a frame has what it awaits.
     */
    AWAITED = PY_VERSION_HEX >= 0x030F0000 ? 2 : 1,
    LEAST = 3, /* shadows of an object, if it has any */
    MOST = 34,
};

/* Of a generator, as far as it is looked at. */
struct tstate_shadow {
    PyObject head;
    char unused[offsetof(PyGenObject, gi_frame_state) - sizeof(PyObject)];
    int8_t frame_state;
    _PyInterpreterFrame frame;
    _PyStackRef above; /* on its evaluation stack, from 3.15 on */
};

static_assert(offsetof(struct tstate_shadow, frame) ==
                  offsetof(PyGenObject, gi_iframe),
              "a frame is not where readers look");

/* Shows a frame that stands there, before what it awaits: the next. */
static struct tstate_shadow *
show(struct tstate_shadow *shadow, _PyStackRef executable,
     _Py_CODEUNIT *instr_ptr, const void *next)
{
    shadow->frame.f_executable = executable;
    shadow->frame.instr_ptr = instr_ptr;
    shadow->frame.localsplus[0].bits = (uintptr_t)next;
    return shadow;
}

static struct tstate_shadow *
show_frame(struct tstate_shadow *shadow, const _PyInterpreterFrame *frame,
           const void *next)
{
    return show(shadow, frame->f_executable, frame->instr_ptr, next);
}

/* Makes twice as much room as there was. False if that is enough. */
static bool
make_room(struct tstate_shown *shown)
{
    size_t before = (size_t)(shown->end - shown->shadows);
    size_t room = 2 * before < MOST ? 2 * before : MOST;
    struct tstate_shadow *shadows;

    if (before == MOST)
        return false;
    if (room < LEAST)
        room = LEAST;
    shadows = PyMem_Calloc(room, sizeof *shadows);
    if (!shadows)
        return false;
    for (size_t i = 0; i < room; i++) {
        Py_SET_TYPE(&shadows[i].head, &PyCoro_Type);
        shadows[i].frame_state = FRAME_SUSPENDED_YIELD_FROM;
        shadows[i].frame.owner = FRAME_OWNED_BY_GENERATOR;
        shadows[i].frame.stackpointer = shadows[i].frame.localsplus + AWAITED;
    }
    tstate_free_shadows(shown);
    shown->shadows = shadows;
    shown->end = shadows + room;
    return true;
}

/* There is no room for the frame and those behind it: the last two shadows
 * stand for all that are left out, and for the outermost one. */
static const void *
show_outermost(struct tstate_shown *shown, const _PyInterpreterFrame *frame,
               const _PyInterpreterFrame *end)
{
    struct tstate_shadow *last = shown->end - 1;
    const _PyInterpreterFrame *outermost = frame;

    for (; frame && frame != end; frame = frame->previous)
        if (!_PyFrame_IsIncomplete((_PyInterpreterFrame *)frame))
            outermost = frame;
    show(last - 1, PyStackRef_FromPyObjectBorrow((PyObject *)more_code),
         _PyCode_CODE(more_code), last - 2);
    return show_frame(last, outermost, last - 1);
}

static const void *show_frames(struct tstate_shown *shown,
                               const _PyInterpreterFrame *innermost,
                               const _PyInterpreterFrame *end,
                               const void *awaited);

/* There is no room for the frame and those behind it. */
__attribute__((cold, noinline)) static const void *
show_more(struct tstate_shown *shown, const _PyInterpreterFrame *innermost,
          const _PyInterpreterFrame *frame, const _PyInterpreterFrame *end,
          const void *awaited)
{
    if (make_room(shown))
        return show_frames(shown, innermost, end, awaited);
    if (!shown->shadows)
        return awaited;
    return show_outermost(shown, frame, end);
}

static const void *
show_frames(struct tstate_shown *shown, const _PyInterpreterFrame *innermost,
            const _PyInterpreterFrame *end, const void *awaited)
{
    const _PyInterpreterFrame *frame = innermost;
    struct tstate_shadow *shadow = shown->shadows;
    const void *next = awaited;

    for (; frame && frame != end; frame = frame->previous) {
        if (_PyFrame_IsIncomplete((_PyInterpreterFrame *)frame))
            continue; /* it is no function's */
        if (__builtin_expect(shadow == shown->end, 0))
            return show_more(shown, innermost, frame, end, awaited);
        next = show_frame(shadow++, frame, next);
    }
    return next;
}

void
tstate_show_wait(struct tstate_shown *shown, const PyThreadState *ts,
                 const struct tstate_root *root, PyObject *awaited)
{
    const void *first =
        show_frames(shown, ts->current_frame, &root->frame, awaited);

    if (first != awaited)
        shown->coroutine = first;
    else /* there is no frame, or no memory */
        tstate_show(shown, awaited);
}

void
tstate_free_shadows(struct tstate_shown *shown)
{
    PyMem_Free(shown->shadows);
    shown->shadows = shown->end = NULL;
}

#endif
