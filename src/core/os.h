/* SPDX-License-Identifier: MIT
 *
 * What the core asks of Linux: the only system calls of the project are made
 * in os.c, and those that concern signals in segv.c. All sizes are in bytes and
 * multiples of the page size. Any thread may call any function.
 */
#ifndef COPOOL_OS_H
#define COPOOL_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "copool.h"

/* A thread-local variable whose address is a constant distance from the
 * thread pointer, which saves a call at each use. It takes a few bytes of the
 * space that glibc sets aside for libraries loaded late; musl has none. */
#ifdef __GLIBC__
#    define CO_THREAD_LOCAL                                                    \
        _Thread_local __attribute__((tls_model("initial-exec")))
#else
#    define CO_THREAD_LOCAL _Thread_local
#endif

#define CO_LIKELY(x) __builtin_expect(!!(x), 1)
#define CO_UNLIKELY(x) __builtin_expect(!!(x), 0)

size_t os_page_size(void);

/* Readable and writable address space, no page of it touched, exempt from
 * huge pages (one of which would make every stack cost 2 MiB), and named
 * "copool" in /proc/self/maps. NULL if refused. */
void *os_map(size_t size);

/* The same, not to be accessed before os_open(). Until then it costs address
 * space and nothing that is counted otherwise. Aligned, which is a power of
 * two, unless there is no room for that. */
void *os_reserve(size_t size, size_t alignment);

/* Makes a range of what os_reserve() returned readable and writable, and has it
 * not locked in memory, whatever mlockall() said: else all of it would be
 * brought there, which for a stack is a thousand times what it needs. False if
 * refused for a limit on memory or mappings. */
bool os_open(void *low, size_t size);

/* False if refused, which the kernel does when the range lies in the middle of
 * a mapping and there may be no more of these. Then all is as before, but the
 * pages of the range are given back as by os_discard(). */
bool os_unmap(void *base, size_t size);

/* Makes an access to the range a fault. False if refused, and errno says why:
 * for CO_GUARD_MPROTECT the limit on mappings (ENOMEM), for CO_GUARD_MADVISE
 * that the memory is locked or the kernel does not know it (EINVAL). Then the
 * range is as before. */
bool os_guard(void *low, size_t size, enum co_guard guard);

/* CO_GUARD_AUTO becomes the guard that this kernel offers; others return as
 * they are, or CO_GUARD_COUNT if the kernel lacks them. For want of memory
 * CO_GUARD_MADVISE counts as lacking, until the next call. */
enum co_guard os_resolve_guard(enum co_guard guard);

/* Gives the pages of the range back; they read as zero when touched again.
 * Guards in the range stay. False if refused, as it is for memory that the
 * program has locked: then the pages are as before. */
bool os_discard(void *low, size_t size);

/* The number of mappings that this process may have. */
size_t os_max_mappings(void);

/* The end, which is the highest address, of the stack of the thread, which is a
 * pthread_t and must be alive. NULL if unknown. */
void *os_stack_top(unsigned long thread);

/* The size of the machine's memory, or what the control groups of the process
 * allow of it. */
size_t os_memory(void);

/* The address space that this process may have, if that is limited (RLIMIT_AS),
 * or SIZE_MAX. */
size_t os_address_space(void);

enum os_limit_name {
    OS_NO_LIMIT,      /* none that is known */
    OS_ADDRESS_SPACE, /* RLIMIT_AS */
    OS_DATA,          /* RLIMIT_DATA: private memory that can be written */
    OS_COMMITMENT,    /* vm.overcommit_memory is 2: that of all processes */
    OS_LIMITS
};

struct os_limit {
    enum os_limit_name name;
    size_t bytes, used; /* unspecified for none */
};

/* The first limit that refuses so many bytes more. */
struct os_limit os_limit_below(size_t size);

/* Milliseconds since some moment, to within ten; never 0. Makes no system call.
 */
uint64_t os_clock_ms(void);

/* The size of a stack for signal handlers. */
size_t os_signal_stack_size(void);

/* Copies memory of this process that another thread may be giving back. False
 * if not all of it can be read. May be called in a signal handler, as may
 * os_map(), os_unmap() and the two below. */
bool os_peek(void *to, uintptr_t from, size_t size);

/* Nanoseconds of CLOCK_MONOTONIC, and seconds since 1970. */
uint64_t os_monotonic(void);
int64_t os_time(void);

/* Writes all of it. False if that failed, or if the file takes nothing for so
 * many milliseconds and says so. */
bool os_write(int fd, const char *bytes, size_t size, int patience_ms);

/* Calls run(hook) in the current thread when it exits, after which the hook
 * is no longer registered. The hook is the caller's and must live until then;
 * a registered hook is not registered twice. False if out of memory. */
struct os_exit_hook {
    struct os_exit_hook *next;
    void (*run)(struct os_exit_hook *hook);
    bool registered;
};

bool os_at_thread_exit(struct os_exit_hook *hook);

/* Calls before() ahead of every fork() of this process from now on, then
 * parent() in this process and child() in the new one. False if out of memory.
 */
bool os_around_fork(void (*before)(void), void (*parent)(void),
                    void (*child)(void));

#endif
