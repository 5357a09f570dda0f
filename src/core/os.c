/* SPDX-License-Identifier: MIT */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "san.h"

/* Values of the kernel's interface that older C libraries don't know. */
#ifndef MADV_GUARD_INSTALL
#    define MADV_GUARD_INSTALL 102
#endif
#ifndef AT_MINSIGSTKSZ
#    define AT_MINSIGSTKSZ 51
#endif
#ifndef PR_SET_VMA
#    define PR_SET_VMA 0x53564d41
#    define PR_SET_VMA_ANON_NAME 0
#endif

/* --- memory ------------------------------------------------------------- */

size_t
os_page_size(void)
{
    static _Atomic(size_t) known;
    size_t size = atomic_load_explicit(&known, memory_order_relaxed);

    if (!size) {
        size = (size_t)sysconf(_SC_PAGESIZE);
        atomic_store_explicit(&known, size, memory_order_relaxed);
    }
    return size;
}

/* Tools that record who allocates memory put a function of theirs in the place
 * of mmap() in every library that they find loaded. To them a reserve, which is
 * nothing but address space, would be memory: so it is made by what was there
 * when this one was loaded. */
static typeof(mmap) *mmap_at_load;

__attribute__((constructor)) static void
find_mmap(void)
{
    mmap_at_load = mmap;
}

static void *
map(size_t size, int protection)
{
    typeof(mmap) *fn =
        protection == PROT_NONE && mmap_at_load ? mmap_at_load : mmap;
    void *base =
        fn(NULL, size, protection,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    return base == MAP_FAILED ? NULL : base;
}

/* Both only improve matters: without them the mapping works as well. */
static void *
improve(void *base, size_t size)
{
    if (base) {
        (void)madvise(base, size, MADV_NOHUGEPAGE);
        (void)prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, base, size, "copool");
    }
    return base;
}

void *
os_map(size_t size)
{
    return improve(map(size, PROT_READ | PROT_WRITE), size);
}

/* NULL if there is no room. What the kernel refuses to unmap of what is too
 * much stays as address space. */
static char *
map_aligned(size_t size, size_t alignment)
{
    char *low = map(size + alignment, PROT_NONE);
    size_t below;

    if (!low)
        return NULL;
    below = alignment - (uintptr_t)low % alignment;
    (void)munmap(low, below);
    if (below < alignment)
        (void)munmap(low + below + size, alignment - below);
    return low + below;
}

/* Kernels align a large mapping to what a huge page would need if its size is a
 * multiple of that, so the first may be right. */
void *
os_reserve(size_t size, size_t alignment)
{
    char *base = map(size, PROT_NONE), *aligned;

    if (base && (uintptr_t)base % alignment) {
        aligned = map_aligned(size, alignment);
        if (aligned) {
            (void)munmap(base, size);
            base = aligned;
        }
    }
    return improve(base, size);
}

bool
os_open(void *low, size_t size)
{
    (void)munlock(low, size);
    return mprotect(low, size, PROT_READ | PROT_WRITE) == 0;
}

bool
os_unmap(void *base, size_t size)
{
    if (munmap(base, size) == 0)
        return true;
    (void)os_discard(base, size);
    return false;
}

bool
os_guard(void *low, size_t size, enum co_guard guard)
{
    switch (guard) {
    case CO_GUARD_MADVISE:
        return madvise(low, size, MADV_GUARD_INSTALL) == 0;
    case CO_GUARD_MPROTECT:
        return mprotect(low, size, PROT_NONE) == 0;
    default:
        return true;
    }
}

/* An emulator or a sandbox may take advice that it does not know, and drop it.
 * So a guard is believed in when the kernel itself can't write behind it. That
 * a sandbox refuses the call proves nothing. */
static bool
guard_holds(void *page)
{
    return uname(page) != 0 && errno == EFAULT;
}

static bool
has_madvise_guard(void)
{
    static _Atomic(int) known; /* 0 not asked, 1 yes, -1 no */
    int answer = atomic_load_explicit(&known, memory_order_relaxed);

    if (!san_knows_guard_regions())
        return false;
    if (!answer) {
        size_t size = os_page_size();
        void *page = os_map(size);

        if (!page)
            return false;
        errno = 0;
        answer = os_guard(page, size, CO_GUARD_MADVISE) && guard_holds(page)
                     ? 1
                     : -1;
        if (answer > 0 || errno != ENOMEM)
            atomic_store_explicit(&known, answer, memory_order_relaxed);
        (void)os_unmap(page, size);
    }
    return answer > 0;
}

enum co_guard
os_resolve_guard(enum co_guard guard)
{
    switch (guard) {
    case CO_GUARD_AUTO:
        return has_madvise_guard() ? CO_GUARD_MADVISE : CO_GUARD_MPROTECT;
    case CO_GUARD_MADVISE:
        return has_madvise_guard() ? CO_GUARD_MADVISE : CO_GUARD_COUNT;
    default:
        return guard;
    }
}

bool
os_discard(void *low, size_t size)
{
    int saved = errno;
    bool done = madvise(low, size, MADV_DONTNEED) == 0;

    errno = saved;
    return done;
}

enum { FILE_MAX = 4096 };

/* The beginning of a file of the kernel's. Allocates nothing, since it is asked
 * where memory is short. False if there is no such file. */
static bool
read_file(const char *path, char text[static FILE_MAX])
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (file < 0)
        return false;
    n = read(file, text, FILE_MAX - 1);
    close(file);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

size_t
os_max_mappings(void)
{
    char text[FILE_MAX];
    size_t max;

    if (!read_file("/proc/sys/vm/max_map_count", text) ||
        sscanf(text, "%zu", &max) != 1)
        return 65530; /* the kernel's default, if /proc is not mounted */
    return max;
}

void *
os_stack_top(unsigned long thread)
{
    pthread_attr_t attributes;
    void *low = NULL;
    size_t size = 0;

    if (pthread_getattr_np((pthread_t)thread, &attributes) != 0)
        return NULL;
    (void)pthread_attr_getstack(&attributes, &low, &size);
    (void)pthread_attr_destroy(&attributes);
    return low ? (char *)low + size : NULL;
}

/* Lowers the limit to that of a control group and of all that it is in. */
static void
lower_to_group(size_t *limit, const char *root, const char *path, size_t length,
               const char *file)
{
    char name[FILE_MAX], text[FILE_MAX];
    size_t value;

    for (;;) {
        (void)snprintf(name, sizeof name, "%s%.*s/%s", root, (int)length, path,
                       file);
        if (read_file(name, text) && sscanf(text, "%zu", &value) == 1 &&
            value < *limit)
            *limit = value;
        if (!length)
            return;
        while (path[--length] != '/')
            ;
    }
}

/* In a container the path may be one that is seen from outside: there the root
 * is the group. */
size_t
os_memory(void)
{
    size_t limit = (size_t)sysconf(_SC_PHYS_PAGES) * os_page_size();
    char text[FILE_MAX], *line, *rest = text;

    if (!read_file("/proc/self/cgroup", text))
        return limit;
    while ((line = strsep(&rest, "\n")) != NULL) {
        char *path = strchr(line, '/');
        size_t length = path ? strlen(path) : 0;

        if (!path)
            continue;
        if (strstr(line, "::") && strstr(line, "::") < path)
            lower_to_group(&limit, "/sys/fs/cgroup", path, length,
                           "memory.max");
        else if (strstr(line, ":memory:") && strstr(line, ":memory:") < path)
            lower_to_group(&limit, "/sys/fs/cgroup/memory", path, length,
                           "memory.limit_in_bytes");
    }
    return limit;
}

/* SIZE_MAX if there is none. */
static size_t
limit_of(int resource)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return SIZE_MAX;
    return limit.rlim_cur;
}

size_t
os_address_space(void)
{
    return limit_of(RLIMIT_AS);
}

/* What this process has of address space and of data, both 0 if unknown. */
static void
read_usage(size_t *address_space, size_t *data)
{
    char text[FILE_MAX];

    *address_space = *data = 0;
    if (!read_file("/proc/self/statm", text) ||
        sscanf(text, "%zu %*s %*s %*s %*s %zu", address_space, data) != 2)
        *address_space = *data = 0;
    *address_space *= os_page_size();
    *data *= os_page_size();
}

static bool
system_promises_no_more_than_it_has(void)
{
    char text[FILE_MAX];

    return read_file("/proc/sys/vm/overcommit_memory", text) && *text == '2';
}

/* A number of KiB in bytes, or `unknown`. */
static size_t
memory_info(const char *text, const char *name, size_t unknown)
{
    const char *found = strstr(text, name);
    size_t kib;

    if (!found || sscanf(found + strlen(name), ": %zu", &kib) != 1)
        return unknown;
    return kib * 1024;
}

/* What the system may promise and has promised. */
static void
read_commitment(size_t *limit, size_t *used)
{
    char text[FILE_MAX];

    if (!read_file("/proc/meminfo", text))
        *text = '\0';
    *limit = memory_info(text, "CommitLimit", SIZE_MAX);
    *used = memory_info(text, "Committed_AS", 0);
}

struct os_limit
os_limit_below(size_t size)
{
    struct os_limit limits[OS_LIMITS] = {
        [OS_ADDRESS_SPACE] = {.bytes = limit_of(RLIMIT_AS)},
        [OS_DATA] = {.bytes = limit_of(RLIMIT_DATA)},
        [OS_COMMITMENT] = {.bytes = SIZE_MAX},
    };
    enum os_limit_name name;

    read_usage(&limits[OS_ADDRESS_SPACE].used, &limits[OS_DATA].used);
    if (system_promises_no_more_than_it_has())
        read_commitment(&limits[OS_COMMITMENT].bytes,
                        &limits[OS_COMMITMENT].used);
    /* The kernel keeps a part of that back, and what it tells lags behind. */
    for (name = OS_LIMITS - 1; name > OS_NO_LIMIT; name--)
        if (limits[name].bytes < SIZE_MAX &&
            limits[name].used + size +
                    (name == OS_COMMITMENT ? limits[name].bytes / 16 : 0) >
                limits[name].bytes)
            limits[OS_NO_LIMIT] =
                (struct os_limit){name, limits[name].bytes, limits[name].used};
    return limits[OS_NO_LIMIT];
}

uint64_t
os_clock_ms(void)
{
    struct timespec now = {0, 0};

    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 + 1;
}

/* What the kernel saves there, of vector registers above all, and as much again
 * as the thread's own stack may be expected to offer to a handler. */
size_t
os_signal_stack_size(void)
{
    size_t page = os_page_size();
    size_t size = getauxval(AT_MINSIGSTKSZ) + 64 * 1024;

    return (size + page - 1) / page * page;
}

/* --- for signal handlers ------------------------------------------------ */

/* What is left after a call was refused, which a sandbox may do. */
static _Atomic(int) way;
enum { CALL, FILE_OF_MEMORY, PLAIN };

static void
give_up(int refused)
{
    (void)atomic_compare_exchange_strong(&way, &refused, refused + 1);
}

static bool
peek_by_call(void *to, uintptr_t from, size_t size)
{
    struct iovec ours = {.iov_base = to, .iov_len = size};
    struct iovec there = {.iov_base = (void *)from, .iov_len = size};
    ssize_t n = process_vm_readv(getpid(), &ours, 1, &there, 1, 0);

    if (n < 0 && errno != EFAULT)
        give_up(CALL);
    return n == (ssize_t)size;
}

/* Opened each time: after a fork what is open leads to the parent's memory. */
static bool
peek_by_file(void *to, uintptr_t from, size_t size)
{
    int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : pread(fd, to, size, (off_t)from);

    if (fd < 0)
        give_up(FILE_OF_MEMORY);
    else
        (void)close(fd);
    return n == (ssize_t)size;
}

bool
os_peek(void *to, uintptr_t from, size_t size)
{
    int saved = errno;
    bool done = false;

    if (from + size < from)
        return false;
    if (atomic_load(&way) == CALL)
        done = peek_by_call(to, from, size);
    if (!done && atomic_load(&way) == FILE_OF_MEMORY)
        done = peek_by_file(to, from, size);
    if (!done && atomic_load(&way) == PLAIN && from) {
        memcpy(to, (const void *)from, size);
        done = true;
    }
    errno = saved;
    return done;
}

uint64_t
os_monotonic(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int64_t
os_time(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec;
}

static bool
wait_for_room(int fd, int patience_ms)
{
    struct pollfd one = {.fd = fd, .events = POLLOUT};

    return poll(&one, 1, patience_ms) == 1;
}

bool
os_write(int fd, const char *bytes, size_t size, int patience_ms)
{
    while (size) {
        ssize_t n = write(fd, bytes, size);

        if (n > 0) {
            bytes += n;
            size -= (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            if (!wait_for_room(fd, patience_ms))
                return false;
        } else if (n < 0 && errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* --- thread exit -------------------------------------------------------- */

/* The key's number plus one, or 0: none could be made yet. */
static _Atomic(unsigned) exit_key_known;

/* Hooks may use copool again, and so register anew: the C library then calls
 * this once more, up to PTHREAD_DESTRUCTOR_ITERATIONS times. */
static void
run_exit_hooks(void *list)
{
    struct os_exit_hook *hook = list;

    while (hook) {
        struct os_exit_hook *next = hook->next;

        hook->registered = false;
        hook->run(hook);
        hook = next;
    }
}

/* Only in a thread for which exit_key_make() has been true. */
static pthread_key_t
exit_key(void)
{
    return atomic_load_explicit(&exit_key_known, memory_order_acquire) - 1;
}

/* Without a lock, which a fork() might copy while it is held: of two threads
 * that come here at once, one makes a key in vain. */
static bool
exit_key_make(void)
{
    unsigned known =
        atomic_load_explicit(&exit_key_known, memory_order_acquire);
    pthread_key_t key;

    if (known)
        return true;
    if (pthread_key_create(&key, run_exit_hooks) != 0)
        return false;
    if (!atomic_compare_exchange_strong_explicit(&exit_key_known, &known,
                                                 key + 1, memory_order_acq_rel,
                                                 memory_order_acquire))
        (void)pthread_key_delete(key);
    return true;
}

bool
os_at_thread_exit(struct os_exit_hook *hook)
{
    if (hook->registered)
        return true;
    if (!exit_key_make())
        return false;
    hook->next = pthread_getspecific(exit_key());
    if (pthread_setspecific(exit_key(), hook) != 0)
        return false;
    hook->registered = true;
    return true;
}

bool
os_around_fork(void (*before)(void), void (*parent)(void), void (*child)(void))
{
    return pthread_atfork(before, parent, child) == 0;
}
