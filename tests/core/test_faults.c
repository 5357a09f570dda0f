/* SPDX-License-Identifier: MIT
 *
 * What the core does when the system refuses: each call that it makes is made
 * to fail, the n-th of a program for every n, once and from then on. Whatever
 * fails, it must say so or do without; the same program succeeds afterwards,
 * and nothing is left behind.
 *
 * The linker diverts the core's calls to here (see meson.build), so that the
 * library itself knows nothing of it.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "coro.h"
#include "test.h"

/* --- calls that fail ---------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Under the lock, as all that is below it. */
static struct {
    bool armed;
    const char *only;            /* the call that is counted; NULL for all */
    unsigned calls, first, last; /* first to last are refused */
    unsigned refused;
    const char *name; /* of the last call that was */
} fault;

static long live_allocations;
static size_t mapped;

/* What could not be unmapped. */
static struct range {
    char *base;
    size_t size;
} stuck[64];
static unsigned stuck_count;

static void
arm_only(const char *only, unsigned first, unsigned last)
{
    pthread_mutex_lock(&lock);
    memset(&fault, 0, sizeof fault);
    fault.only = only;
    fault.first = first;
    fault.last = last;
    fault.armed = true;
    pthread_mutex_unlock(&lock);
}

/* Returns how many calls were refused. */
static unsigned
disarm(void)
{
    unsigned refused;

    pthread_mutex_lock(&lock);
    fault.armed = false;
    refused = fault.refused;
    pthread_mutex_unlock(&lock);
    return refused;
}

static bool
refuse(const char *name)
{
    bool refused = false;

    pthread_mutex_lock(&lock);
    if (fault.armed && (!fault.only || strcmp(fault.only, name) == 0)) {
        fault.calls++;
        refused = fault.calls >= fault.first && fault.calls <= fault.last;
        if (refused) {
            fault.refused++;
            fault.name = name;
        }
    }
    pthread_mutex_unlock(&lock);
    return refused;
}

static void
account(long allocations, long bytes)
{
    pthread_mutex_lock(&lock);
    live_allocations += allocations;
    mapped += (size_t)bytes;
    pthread_mutex_unlock(&lock);
}

void *__real_mmap(void *, size_t, int, int, int, off_t);
int __real_munmap(void *, size_t);
int __real_madvise(void *, size_t, int);
int __real_mprotect(void *, size_t, int);
void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_aligned_alloc(size_t, size_t);
void __real_free(void *);
int __real_pthread_mutex_init(pthread_mutex_t *, const pthread_mutexattr_t *);
int __real_pthread_key_create(pthread_key_t *, void (*)(void *));
int __real_pthread_setspecific(pthread_key_t, const void *);
int __real_pthread_atfork(void (*)(void), void (*)(void), void (*)(void));
int __real_open(const char *, int, ...);
int __real_uname(struct utsname *);

void *__wrap_mmap(void *, size_t, int, int, int, off_t);
void *__wrap_mmap64(void *, size_t, int, int, int, off_t);
int __wrap_munmap(void *, size_t);
int __wrap_madvise(void *, size_t, int);
int __wrap_mprotect(void *, size_t, int);
void *__wrap_malloc(size_t);
void *__wrap_calloc(size_t, size_t);
void *__wrap_aligned_alloc(size_t, size_t);
void __wrap_free(void *);
int __wrap_pthread_mutex_init(pthread_mutex_t *, const pthread_mutexattr_t *);
int __wrap_pthread_key_create(pthread_key_t *, void (*)(void *));
int __wrap_pthread_setspecific(pthread_key_t, const void *);
int __wrap_pthread_atfork(void (*)(void), void (*)(void), void (*)(void));
int __wrap_open(const char *, int, ...);
int __wrap_open64(const char *, int, ...);
int __wrap_uname(struct utsname *);

static int
no_memory(void)
{
    errno = ENOMEM;
    return -1;
}

void *
__wrap_mmap(void *at, size_t size, int protection, int flags, int file,
            off_t offset)
{
    void *base;

    if (refuse("mmap"))
        return no_memory(), MAP_FAILED;
    base = __real_mmap(at, size, protection, flags, file, offset);
    if (base != MAP_FAILED)
        account(0, (long)size);
    return base;
}

void *
__wrap_mmap64(void *at, size_t size, int protection, int flags, int file,
              off_t offset)
{
    return __wrap_mmap(at, size, protection, flags, file, offset);
}

int
__wrap_munmap(void *base, size_t size)
{
    if (refuse("munmap")) {
        pthread_mutex_lock(&lock);
        if (stuck_count < 64)
            stuck[stuck_count++] = (struct range){base, size};
        pthread_mutex_unlock(&lock);
        return no_memory();
    }
    account(0, -(long)size);
    return __real_munmap(base, size);
}

/* What is to happen, once, while the pages of a block are given back. */
static void (*meanwhile)(void);

int
__wrap_madvise(void *base, size_t size, int advice)
{
    void (*run)(void) = meanwhile;

    if (run && advice == MADV_DONTNEED) {
        meanwhile = NULL;
        run();
    }
    return refuse("madvise") ? no_memory() : __real_madvise(base, size, advice);
}

int
__wrap_mprotect(void *base, size_t size, int protection)
{
    return refuse("mprotect") ? no_memory()
                              : __real_mprotect(base, size, protection);
}

static void *
allocated(void *memory)
{
    if (memory)
        account(1, 0);
    return memory;
}

void *
__wrap_malloc(size_t size)
{
    return refuse("malloc") ? NULL : allocated(__real_malloc(size));
}

void *
__wrap_calloc(size_t n, size_t size)
{
    return refuse("malloc") ? NULL : allocated(__real_calloc(n, size));
}

void *
__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return refuse("malloc") ? NULL
                            : allocated(__real_aligned_alloc(alignment, size));
}

void
__wrap_free(void *memory)
{
    if (memory)
        account(-1, 0);
    __real_free(memory);
}

int
__wrap_pthread_mutex_init(pthread_mutex_t *mutex,
                          const pthread_mutexattr_t *how)
{
    return refuse("mutex") ? ENOMEM : __real_pthread_mutex_init(mutex, how);
}

int
__wrap_pthread_key_create(pthread_key_t *key, void (*destroy)(void *))
{
    return refuse("key") ? EAGAIN : __real_pthread_key_create(key, destroy);
}

int
__wrap_pthread_setspecific(pthread_key_t key, const void *value)
{
    return refuse("setspecific") ? ENOMEM
                                 : __real_pthread_setspecific(key, value);
}

int
__wrap_pthread_atfork(void (*before)(void), void (*parent)(void),
                      void (*child)(void))
{
    return refuse("atfork") ? ENOMEM
                            : __real_pthread_atfork(before, parent, child);
}

/* Files that a test has written in the place of the kernel's, or NULL. */
static const char *overcommit_memory, *meminfo;

/* The core only reads files. */
int
__wrap_open(const char *name, int flags, ...)
{
    if (refuse("open"))
        return no_memory();
    if (overcommit_memory && strstr(name, "/overcommit_memory"))
        name = overcommit_memory;
    if (meminfo && strstr(name, "/meminfo"))
        name = meminfo;
    return __real_open(name, flags);
}

int
__wrap_open64(const char *name, int flags, ...)
{
    return __wrap_open(name, flags);
}

int
__wrap_uname(struct utsname *name)
{
    if (!refuse("uname"))
        return __real_uname(name);
    errno = EPERM;
    return -1;
}

/* --- a program ---------------------------------------------------------- */

static struct co_pool_options options;
static co_pool *pool;
static bool must_succeed; /* nothing is refused now */

/* Whether the status is good. A bad one is only right when something was
 * refused. */
static bool
succeeded(enum co_status status)
{
    if (status == CO_OK)
        return true;
    EXPECT_EQ(status, CO_NO_MEMORY);
    EXPECT(!must_succeed);
    return false;
}

static void *
count_twice(void *first)
{
    long n = (long)first;
    void *got = NULL;

    EXPECT_EQ(co_yield((void *)(n + 1), &got), CO_OK);
    EXPECT_EQ((long)got, n + 2);
    return (void *)(n + 3);
}

enum { CROWD = 9 };

static co_t *crowd[CROWD];

/* Some of them may be missing; the others work. */
static void
begin_crowd(void)
{
    void *got;
    long i;

    for (i = 0; i < CROWD; i++) {
        crowd[i] = NULL;
        if (!succeeded(co_create(pool, count_twice, &crowd[i])))
            continue;
        got = NULL;
        EXPECT_EQ(co_enter(crowd[i], (void *)i, &got), CO_OK);
        EXPECT_EQ((long)got, i + 1);
    }
}

static void
finish_crowd(void)
{
    void *got;
    long i;

    for (i = 0; i < CROWD; i++) {
        if (!crowd[i])
            continue;
        got = NULL;
        if (i == 4) {
            EXPECT_EQ(co_discard(crowd[i]), CO_OK);
            continue;
        }
        EXPECT_EQ(co_enter(crowd[i], (void *)(i + 2), &got), CO_FINISHED);
        EXPECT_EQ((long)got, i + 3);
    }
}

/* Blocks go to the thread's part and the shared one, out of both, and back to
 * the system. */
static void
use_pool(void)
{
    begin_crowd();
    finish_crowd();
    begin_crowd();
    EXPECT_EQ(test_stats(pool).lost, 0);
    EXPECT_EQ(co_pool_adjust(pool, 3), CO_OK);
    finish_crowd();
    EXPECT_EQ(co_pool_adjust(pool, -3), CO_OK);
    co_pool_trim(pool);
    begin_crowd();
    test_thread(finish_crowd);
    test_thread(begin_crowd);
    finish_crowd();
    EXPECT_EQ(test_stats(pool).live, 0);
    EXPECT(co_pool_check(pool));
}

/* In a thread of its own, whose end is a part of it. */
static void
program(void)
{
    co_pool *made = NULL;

    if (!succeeded(co_pool_create(&options, &made))) {
        EXPECT(made == NULL);
        return;
    }
    pool = made;
    use_pool();
    EXPECT_EQ(co_pool_destroy(pool), CO_OK);
}

/* --- every call of it --------------------------------------------------- */

enum { UP_TO_THE_END = 1 << 30, NO_SUCH_CALL = 10 };

static unsigned nth;
static bool once;

/* What could not be unmapped when its pool was destroyed is still there, but
 * without pages. */
static size_t
expect_stuck_are_empty(void)
{
    size_t total = 0;
    unsigned char in;
    unsigned i;

    for (i = 0; i < stuck_count; i++) {
        if (mincore(stuck[i].base, os_page_size(), &in) != 0)
            continue; /* it was tried again */
        total += stuck[i].size;
        if (once)
            EXPECT_EQ(test_resident(stuck[i].base, stuck[i].size), 0);
    }
    return total;
}

static int
run_with_fault(void)
{
    unsigned refused;
    size_t left;

    arm_only(NULL, nth, once ? nth : UP_TO_THE_END);
    test_thread(program);
    refused = disarm();
    test_case("%s, guard %s, call %u (%s) %s", co_policy_name(options.policy),
              co_guard_name(options.guard), nth, fault.name ? fault.name : "-",
              once ? "fails" : "and all that follow fail");
    left = expect_stuck_are_empty();
    EXPECT_EQ(live_allocations, 0);
    EXPECT(mapped <= left);

    must_succeed = true;
    test_thread(program);
    EXPECT_EQ(live_allocations, 0);
    EXPECT(mapped <= left);
    return refused ? 0 : NO_SUCH_CALL;
}

/* Each in a fresh process, since some calls are made only once in one. Under
 * tools that make this slow only some are tried. */
static void
try_every_call(void)
{
    unsigned step = under_valgrind()                ? 19
                    : SANITIZED || under_emulator() ? 13
                                                    : 1;
    int status;

    for (nth = 1;; nth += step) {
        status = test_child(run_with_fault);
        if (child_exited(status, NO_SUCH_CALL))
            break;
        if (!child_exited(status, 0)) {
            test_case("%s, guard %s, call %u, %s",
                      co_policy_name(options.policy),
                      co_guard_name(options.guard), nth,
                      once ? "once" : "from there on");
            EXPECT(child_exited(status, 0));
            return;
        }
    }
    EXPECT(nth > 20);
}

static void
try_policies(enum co_guard guard)
{
    static const enum co_policy policies[] = {
        CO_POLICY_MAGAZINE, CO_POLICY_NONE, CO_POLICY_MUTEX, CO_POLICY_RELEASE};
    size_t i;

    for (i = 0; i < 4; i++) {
        co_pool_options_init(&options);
        options.policy = policies[i];
        options.guard = guard;
        options.batch = 2;
        options.max_idle = 4;
        options.max_blocks = 1000;
        options.stack_size = 64 * 1024;
        once = true;
        try_every_call();
        once = false;
        try_every_call();
    }
}

static void
every_call_may_fail_with_automatic_guards(void)
{
    try_policies(CO_GUARD_AUTO);
}

static void
every_call_may_fail_with_mprotect_guards(void)
{
    try_policies(CO_GUARD_MPROTECT);
}

/* --- what state remains ------------------------------------------------- */

static void
begin_pool(enum co_policy policy, enum co_guard guard)
{
    co_pool_options_init(&options);
    options.policy = policy;
    options.guard = guard;
    options.stack_size = 64 * 1024;
    REQUIRE(co_pool_create(&options, &pool) == CO_OK);
}

static void
slab_that_stays_mapped_is_used_again(void)
{
    struct block *block;
    char *base;

    begin_pool(CO_POLICY_MAGAZINE, CO_GUARD_MPROTECT);
    block = test_get(pool);
    base = block->low;
    memset(base, 1, 4 * os_page_size());
    pool_put(pool, block);
    arm_only("munmap", 1, 1);
    EXPECT_EQ(co_pool_trim(pool), 1);
    EXPECT_EQ(disarm(), 1);
    EXPECT_EQ(test_stats(pool).slabs, 1);
    EXPECT_EQ(test_stats(pool).vacant, 1);
    EXPECT_EQ(test_resident(base, 4 * os_page_size()), 0);
    arm_only("mmap", 1, UP_TO_THE_END);
    block = test_get(pool);
    EXPECT_EQ(disarm(), 0);
    EXPECT(block->low == base);
    pool_put(pool, block);
    co_pool_trim(pool);
    EXPECT_EQ(test_stats(pool).slabs, 0);
    EXPECT_DESTROY(pool);
}

static void
block_that_stays_mapped_is_used_again(void)
{
    struct block *block;
    char *base;

    begin_pool(CO_POLICY_NONE, CO_GUARD_MPROTECT);
    block = test_get(pool);
    base = block->low;
    memset(base, 1, os_page_size());
    arm_only("munmap", 1, 1);
    pool_put(pool, block);
    EXPECT_EQ(disarm(), 1);
    EXPECT_EQ(test_resident(base, os_page_size()), 0);
    EXPECT(co_pool_check(pool));
    block = test_get(pool);
    EXPECT(block->low == base);
    pool_put(pool, block);
    EXPECT_EQ(test_stats(pool).slabs, 0);
    EXPECT_DESTROY(pool);
}

static struct block *guarded;

static int
touch_its_guard(void)
{
    fault_expected(guarded->low - os_page_size(), guarded->low);
    *(volatile char *)(guarded->low - 1) = 1;
    return 0;
}

/* No block without its guard is handed out, then or later. */
static void
block_whose_guard_was_refused_gets_it_later(void)
{
    struct block *first;
    enum co_status status;

    begin_pool(CO_POLICY_MUTEX, CO_GUARD_MPROTECT);
    first = test_get(pool);
    arm_only("mprotect", 1, 1);
    EXPECT(pool_get(pool, &status) == NULL);
    EXPECT_EQ(status, CO_NO_MEMORY);
    EXPECT_EQ(disarm(), 1);
    guarded = test_get(pool);
    EXPECT(child_faulted_there(test_child(touch_its_guard)));
    pool_put(pool, guarded);
    pool_put(pool, first);
    EXPECT_EQ(test_stats(pool).slabs, 1);
    EXPECT_DESTROY(pool);
}

static int
take_one_that_has_no_guard(void)
{
    enum co_status status;

    arm_only("madvise", 1, UP_TO_THE_END);
    EXPECT(pool_get(pool, &status) == NULL);
    EXPECT_EQ(status, CO_NO_MEMORY);
    disarm();
    return 0;
}

/* Another kind of guard is for memory that can't have this one, not for want of
 * memory, which the other kind needs more of. */
static void
guard_region_is_not_replaced_for_want_of_memory(void)
{
    if (!test_guard_faults(CO_GUARD_MADVISE)) {
        test_skip("this kernel has no guard regions");
        return;
    }
    begin_pool(CO_POLICY_MUTEX, CO_GUARD_MADVISE);
    guarded = test_get(pool);
    EXPECT(child_exited(test_child(take_one_that_has_no_guard), 0));
    pool_put(pool, guarded);
    EXPECT_DESTROY(pool);
}

/* Where memory is short, as many stacks are made as there may be. */
static void
fewer_blocks_are_opened_if_more_are_refused(void)
{
    struct block *blocks[4];
    enum co_status status;
    unsigned i;

    begin_pool(CO_POLICY_MUTEX, CO_GUARD_NONE);
    for (i = 0; i < 2; i++)
        blocks[i] = test_get(pool);
    arm_only("mprotect", 1, UP_TO_THE_END);
    EXPECT(pool_get(pool, &status) == NULL);
    EXPECT_EQ(status, CO_NO_MEMORY);
    EXPECT_EQ(disarm(), 2); /* of two blocks, then of one */
    arm_only("mprotect", 1, 1);
    blocks[2] = test_get(pool);
    EXPECT_EQ(disarm(), 1);
    blocks[3] = test_get(pool);
    for (i = 0; i < 4; i++) {
        blocks[i]->low[0] = 1;
        pool_put(pool, blocks[i]);
    }
    EXPECT_EQ(test_stats(pool).slabs, 1);
    EXPECT(co_pool_check(pool));
    EXPECT_DESTROY(pool);
}

static const char *
write_file(char *name, const char *text)
{
    int file = mkstemp(name);

    REQUIRE(file >= 0);
    REQUIRE(write(file, text, strlen(text)) == (ssize_t)strlen(text));
    close(file);
    return name;
}

static void
limit_on_what_the_system_promises_is_found(void)
{
    char mode[] = "/tmp/copool-mode-XXXXXX", info[] = "/tmp/copool-info-XXXXXX";
    struct os_limit found;

    overcommit_memory = write_file(mode, "2\n");
    meminfo = write_file(info, "MemTotal:       24000000 kB\n"
                               "CommitLimit:    12000000 kB\n"
                               "Committed_AS:   11500000 kB\n");
    found = os_limit_below(2000 * 1024);
    EXPECT_EQ(found.name, OS_COMMITMENT);
    EXPECT_EQ(found.bytes / 1024, 12000000);
    EXPECT_EQ(found.used / 1024, 11500000);
    arm_only("open", 1, UP_TO_THE_END);
    EXPECT_EQ(os_limit_below(2000 * 1024).name, OS_NO_LIMIT);
    EXPECT_EQ(disarm(), 2);
    unlink(mode);
    overcommit_memory =
        write_file(strcpy(mode, "/tmp/copool-mode-XXXXXX"), "0\n");
    EXPECT_EQ(os_limit_below(2000 * 1024).name, OS_NO_LIMIT);
    unlink(mode);
    unlink(info);

    /* With so much left it must be for another reason. */
    overcommit_memory =
        write_file(strcpy(mode, "/tmp/copool-mode-XXXXXX"), "2\n");
    meminfo = write_file(strcpy(info, "/tmp/copool-info-XXXXXX"),
                         "CommitLimit:    12000000 kB\n"
                         "Committed_AS:   11000000 kB\n");
    EXPECT_EQ(os_limit_below(2000 * 1024).name, OS_NO_LIMIT);
    unlink(mode);
    unlink(info);
    overcommit_memory = meminfo = NULL;
}

static void
refused_discard_is_not_counted(void)
{
    struct block *block;

    begin_pool(CO_POLICY_MUTEX, CO_GUARD_NONE);
    block = test_get(pool);
    arm_only("madvise", 1, 1);
    pool_put(pool, block);
    EXPECT_EQ(co_pool_trim(pool), 1);
    EXPECT_EQ(disarm(), 1);
    EXPECT_EQ(test_stats(pool).discards, 0);
    EXPECT_DESTROY(pool);
}

/* --- what others do meanwhile ------------------------------------------- */

enum { WARM = 1024 };

static struct block *taken[WARM];

/* Takes all that the store has, and uses the pool until no interval is running.
 * Keeps nothing idle, which would go to the store when the thread ends. */
static void
empty_the_store(void)
{
    unsigned i;

    for (i = 0; i < WARM; i++)
        taken[i] = test_get(pool);
    EXPECT_EQ(test_stats(pool).idle_shared, 0);
    while (atomic_load(&pool->since)) {
        pool_put(pool, taken[0]);
        taken[0] = test_get(pool);
    }
}

static void
empty_it_in_a_thread(void)
{
    pool->options.idle_ms = 1;
    test_thread(empty_the_store);
    pool->options.idle_ms = UINT_MAX;
}

/* What gets into the store late is watched as well. */
static void
cold_batch_for_an_empty_store_begins_an_interval(void)
{
    static struct block *blocks[WARM + 2 * 64 + 64];
    unsigned n = sizeof blocks / sizeof *blocks, i;

    co_pool_options_init(&options);
    options.guard = CO_GUARD_NONE;
    options.stack_size = 64 * 1024;
    options.idle_ms = UINT_MAX;
    options.max_blocks = 1 << 16;
    REQUIRE(co_pool_create(&options, &pool) == CO_OK);
    for (i = 0; i < n; i++)
        blocks[i] = test_get(pool);
    meanwhile = empty_it_in_a_thread;
    for (i = 0; i < n; i++)
        pool_put(pool, blocks[i]);
    EXPECT(!meanwhile);
    EXPECT_EQ(pool->cold.blocks, pool->batch);
    EXPECT(atomic_load(&pool->since) != 0);
    EXPECT(co_pool_check(pool));
    for (i = 0; i < WARM; i++)
        pool_put(pool, taken[i]);
    EXPECT_DESTROY(pool);
}

/* --- what is done once in a process ------------------------------------- */

static int
probe_twice(void)
{
    enum co_guard first, second;

    arm_only("madvise", 1, UP_TO_THE_END);
    first = os_resolve_guard(CO_GUARD_AUTO);
    disarm();
    second = os_resolve_guard(CO_GUARD_AUTO);
    EXPECT_EQ(first, CO_GUARD_MPROTECT);
    EXPECT_EQ(second, test_guard_faults(CO_GUARD_MADVISE) ? CO_GUARD_MADVISE
                                                          : CO_GUARD_MPROTECT);
    return 0;
}

static void
guard_regions_are_asked_for_again_after_want_of_memory(void)
{
    EXPECT(child_exited(test_child(probe_twice), 0));
}

static int
probe_in_a_sandbox(void)
{
    arm_only("uname", 1, UP_TO_THE_END);
    EXPECT_EQ(os_resolve_guard(CO_GUARD_AUTO), CO_GUARD_MPROTECT);
    disarm();
    return 0;
}

static void
call_that_a_sandbox_refuses_proves_no_guard(void)
{
    EXPECT(child_exited(test_child(probe_in_a_sandbox), 0));
}

static unsigned runs;

static void
count_run(struct os_exit_hook *hook)
{
    (void)hook;
    runs++;
}

static void
register_hook(void)
{
    static struct os_exit_hook hook = {.run = count_run};

    arm_only("key", 1, 1);
    EXPECT(!os_at_thread_exit(&hook));
    EXPECT_EQ(disarm(), 1);
    EXPECT(!hook.registered);
    EXPECT(os_at_thread_exit(&hook));
}

static int
register_in_thread(void)
{
    test_thread(register_hook);
    EXPECT_EQ(runs, 1);
    return 0;
}

static void
thread_exit_works_after_want_of_keys(void)
{
    EXPECT(child_exited(test_child(register_in_thread), 0));
}

static int
fork_after_refusal(void)
{
    co_pool *made = NULL;

    co_pool_options_init(&options);
    arm_only("atfork", 1, 1);
    EXPECT_EQ(co_pool_create(&options, &made), CO_NO_MEMORY);
    EXPECT_EQ(disarm(), 1);
    arm_only("atfork", 1, UP_TO_THE_END);
    EXPECT_EQ(co_pool_create(&options, &made), CO_NO_MEMORY);
    disarm();
    REQUIRE(co_pool_create(&options, &pool) == CO_OK);
    EXPECT_DESTROY(pool);
    return 0;
}

static void
no_pool_without_protection_from_fork(void)
{
    EXPECT(child_exited(test_child(fork_after_refusal), 0));
}

int
main(int argc, char **argv)
{
    static const struct test tests[] = {
        /* First: the process must not have used what they refuse. */
        TEST(every_call_may_fail_with_automatic_guards),
        TEST(every_call_may_fail_with_mprotect_guards),
        TEST(guard_regions_are_asked_for_again_after_want_of_memory),
        TEST(call_that_a_sandbox_refuses_proves_no_guard),
        TEST(thread_exit_works_after_want_of_keys),
        TEST(no_pool_without_protection_from_fork),
        TEST(slab_that_stays_mapped_is_used_again),
        TEST(block_that_stays_mapped_is_used_again),
        TEST(block_whose_guard_was_refused_gets_it_later),
        TEST(guard_region_is_not_replaced_for_want_of_memory),
        TEST(fewer_blocks_are_opened_if_more_are_refused),
        TEST(limit_on_what_the_system_promises_is_found),
        TEST(refused_discard_is_not_counted),
        TEST(cold_batch_for_an_empty_store_begins_an_interval),
        TESTS_END,
    };

    return test_main(tests, argc, argv);
}
