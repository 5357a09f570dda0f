/* SPDX-License-Identifier: MIT
 *
 * Makes allocations fail in a Python process: the n-th that a function causes,
 * for refusals.py. Compiled by the tests and preloaded.
 *
 * What is counted is what copool's extension module does, by itself or by what
 * it calls in C: allocations by Python's allocators, and its own calls into the
 * C library. What the interpreter does in between, to run the program, is not:
 * it has faults of its own there. Only the thread that calls the function
 * counts.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

static _Atomic(long) calls, refused, live;
static _Atomic(long) first, last; /* first to last are refused */
static _Atomic(bool) armed;
static pthread_t thread;
static const char *low, *high;           /* of the extension module */
static const char *eval_low, *eval_high; /* of the interpreter's main loop */

/* Where an interpreter that is made of tail calls, of which none can be found
 * by its name, returns to when it is done with a function and with a generator:
 * in what was called from refuse_learn(), or in what that called. */
static const char *const called[] = {"PyObject_CallNoArgs", "PyIter_Send"};
static void *returns[2];
static int learning; /* which of these is being called, plus one */

void refuse_learn(void *function, void *generator);

static bool
is_in(void *at, const char *name)
{
    Dl_info info;

    return dladdr(at, &info) && info.dli_sname &&
           strcmp(info.dli_sname, name) == 0;
}

static void
learn(void)
{
    void *callers[64];
    int n = backtrace(callers, 64), k = learning - 1;

    for (int i = 2; i < n && !returns[k]; i++)
        if (is_in(callers[i], "refuse_learn"))
            returns[k] =
                callers[is_in(callers[i - 1], called[k]) ? i - 2 : i - 1];
}

/* Whether the innermost of the two that is being called is the module. */
static bool
is_from_module(void)
{
    void *callers[64];
    int n = backtrace(callers, 64);

    for (int i = 0; i < n; i++) {
        const char *at = callers[i];

        if (at >= low && at < high)
            return true;
        if ((at >= eval_low && at < eval_high) || at == returns[0] ||
            at == returns[1])
            return false;
    }
    return false;
}

static bool
refuse(void)
{
    long n;

    if (learning)
        learn();
    if (!armed || !pthread_equal(thread, pthread_self()) || !is_from_module())
        return false;
    n = ++calls;
    if (n < first || n > last)
        return false;
    refused++;
    return true;
}

/* --- calls into the C library ------------------------------------------- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static bool
refuse_to(const void *caller)
{
    return (const char *)caller >= low && (const char *)caller < high &&
           refuse();
}

#define FROM_CORE refuse_to(__builtin_return_address(0))
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

void *
malloc(size_t size)
{
    return FROM_CORE ? NULL : __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
    return FROM_CORE ? NULL : __libc_calloc(n, size);
}

void *
aligned_alloc(size_t alignment, size_t size)
{
    return FROM_CORE ? NULL : __libc_memalign(alignment, size);
}

void *
mmap(void *at, size_t size, int protection, int flags, int file, off_t offset)
{
    if (FROM_CORE)
        return errno = ENOMEM, MAP_FAILED;
    return NEXT(mmap)(at, size, protection, flags, file, offset);
}

void *
mmap64(void *at, size_t size, int protection, int flags, int file, off_t offset)
{
    if (FROM_CORE)
        return errno = ENOMEM, MAP_FAILED;
    return NEXT(mmap)(at, size, protection, flags, file, offset);
}

int
munmap(void *base, size_t size)
{
    return FROM_CORE ? (errno = ENOMEM, -1) : NEXT(munmap)(base, size);
}

int
madvise(void *base, size_t size, int advice)
{
    return FROM_CORE ? (errno = ENOMEM, -1) : NEXT(madvise)(base, size, advice);
}

int
mprotect(void *base, size_t size, int protection)
{
    return FROM_CORE ? (errno = ENOMEM, -1)
                     : NEXT(mprotect)(base, size, protection);
}

int
pthread_setspecific(pthread_key_t key, const void *value)
{
    return FROM_CORE ? ENOMEM : NEXT(pthread_setspecific)(key, value);
}

int
pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *how)
{
    return FROM_CORE ? ENOMEM : NEXT(pthread_mutex_init)(mutex, how);
}

/* --- Python's allocators, as in cpython/pymem.h ------------------------- */

struct allocator {
    void *context;
    void *(*malloc)(void *context, size_t size);
    void *(*calloc)(void *context, size_t n, size_t size);
    void *(*realloc)(void *context, void *memory, size_t size);
    void (*free)(void *context, void *memory);
};

struct arenas {
    void *context;
    void *(*alloc)(void *context, size_t size);
    void (*free)(void *context, void *memory, size_t size);
};

static struct allocator allocators[3];
static struct arenas arenas;

static void *
hook_malloc(void *context, size_t size)
{
    struct allocator *a = context;
    void *memory = refuse() ? NULL : a->malloc(a->context, size);

    live += memory != NULL;
    return memory;
}

static void *
hook_calloc(void *context, size_t n, size_t size)
{
    struct allocator *a = context;
    void *memory = refuse() ? NULL : a->calloc(a->context, n, size);

    live += memory != NULL;
    return memory;
}

static void *
hook_realloc(void *context, void *before, size_t size)
{
    struct allocator *a = context;
    void *memory = refuse() ? NULL : a->realloc(a->context, before, size);

    live += memory != NULL && !before;
    return memory;
}

static void
hook_free(void *context, void *memory)
{
    struct allocator *a = context;

    live -= memory != NULL;
    a->free(a->context, memory);
}

static void *
hook_arena(void *context, size_t size)
{
    struct arenas *a = context;

    return refuse() ? NULL : a->alloc(a->context, size);
}

static void
hook_arena_free(void *context, void *memory, size_t size)
{
    struct arenas *a = context;

    a->free(a->context, memory, size);
}

#define PYTHON(type, name, ...)                                                \
    ((type (*)(__VA_ARGS__))dlsym(RTLD_DEFAULT, #name))

/* --- for refusals.py ---------------------------------------------------- */

void
refuse_install(const char *from, const char *to)
{
    void *loop = dlsym(RTLD_DEFAULT, "_PyEval_EvalFrameDefault");
    const ElfW(Sym) *symbol = NULL;
    Dl_info info;
    int domain;

    low = from;
    high = to;
    if (dladdr1(loop, &info, (void **)&symbol, RTLD_DL_SYMENT) && symbol) {
        eval_low = loop;
        eval_high = eval_low + symbol->st_size;
    }
    (void)is_from_module(); /* which loads what it needs */
    for (domain = 0; domain < 3; domain++) {
        struct allocator hook = {&allocators[domain], hook_malloc, hook_calloc,
                                 hook_realloc, hook_free};

        PYTHON(void, PyMem_GetAllocator, int, struct allocator *)
        (domain, &allocators[domain]);
        PYTHON(void, PyMem_SetAllocator, int, struct allocator *)
        (domain, &hook);
    }
    PYTHON(void, PyObject_GetArenaAllocator, struct arenas *)(&arenas);
    PYTHON(void, PyObject_SetArenaAllocator, struct arenas *)
    (&(struct arenas){&arenas, hook_arena, hook_arena_free});
}

/* A function and a generator, both of which allocate memory. */
void
refuse_learn(void *function, void *generator)
{
    void *none = PYTHON(void *, Py_BuildValue, const char *)("");
    void *result;

    learning = 1;
    result = PYTHON(void *, PyObject_CallNoArgs, void *)(function);
    PYTHON(void, Py_DecRef, void *)(result);
    learning = 2;
    PYTHON(int, PyIter_Send, void *, void *, void **)
    (generator, none, &result);
    PYTHON(void, Py_DecRef, void *)(result);
    learning = 0;
}

static void
arm(long from, long to)
{
    thread = pthread_self();
    first = from;
    last = to;
    calls = refused = 0;
    armed = true;
}

/* Calls function() with the calls from `from` to `to` refused. */
void *
refuse_while(void *function, long from, long to)
{
    void *(*call)(void *) = PYTHON(void *, PyObject_CallNoArgs, void *);
    void *result;

    arm(from, to);
    result = call(function);
    armed = false;
    return result;
}

static pthread_key_t at_end;

static void
thread_ended(void *lock)
{
    armed = false;
    PYTHON(void, PyThread_release_lock, void *)(lock);
}

/* From now on to the end of the calling thread, when the lock, of
 * PyThread_allocate_lock(), is released. */
void
refuse_to_the_end(void *lock, long from, long to)
{
    if (!at_end)
        pthread_key_create(&at_end, thread_ended);
    pthread_setspecific(at_end, lock);
    arm(from, to);
}

long
refuse_count(void)
{
    return refused;
}

long
refuse_live(void)
{
    return live;
}
