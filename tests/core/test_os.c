/* SPDX-License-Identifier: MIT
 *
 * Mappings, guards, and what runs at the end of a thread and around a fork.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os.h"
#include "san.h"
#include "test.h"

#ifndef PR_SET_VMA
#    define PR_SET_VMA 0x53564d41
#    define PR_SET_VMA_ANON_NAME 0
#endif

/* --- memory ------------------------------------------------------------- */

static bool
is_zero(const char *bytes, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        if (bytes[i])
            return false;
    return true;
}

static void
page_size_is_a_power_of_two(void)
{
    size_t page = os_page_size();

    EXPECT(page >= 4096);
    EXPECT_EQ(page & (page - 1), 0);
    EXPECT_EQ(page, sysconf(_SC_PAGESIZE));
}

static void
mapping_is_zero_and_untouched(void)
{
    size_t size = 16 * os_page_size();
    char *base = os_map(size);

    REQUIRE(base != NULL);
    EXPECT_EQ(test_resident(base, size), 0);
    EXPECT(is_zero(base, size));
    memset(base, 1, size);
    EXPECT_EQ(test_resident(base, size), 16);
    os_unmap(base, size);
}

static char *reserved;

static int
touch_reserved(void)
{
    size_t page = os_page_size();

    fault_expected(reserved, reserved + 4 * page);
    *(volatile char *)(reserved + page) = 1;
    return 0;
}

static int
touch_beside_opened(void)
{
    size_t page = os_page_size();

    fault_expected(reserved + 3 * page, reserved + 4 * page);
    *(volatile char *)(reserved + 3 * page) = 1;
    return 0;
}

static void
reserved_memory_is_opened_in_parts(void)
{
    size_t page = os_page_size();

    reserved = os_reserve(4 * page, page);
    REQUIRE(reserved != NULL);
    EXPECT(child_faulted_there(test_child(touch_reserved)));
    EXPECT(os_open(reserved, page));
    EXPECT(os_open(reserved + page, 2 * page));
    EXPECT_EQ(test_resident(reserved, 3 * page), 0);
    memset(reserved, 1, 3 * page);
    EXPECT(child_faulted_there(test_child(touch_beside_opened)));
    os_unmap(reserved, 4 * page);
}

/* Wherever the kernel has put what is there already. */
static void
reserved_memory_is_aligned(void)
{
    size_t page = os_page_size(), alignment = page / 8 * page, i;
    char *other[8];

    for (i = 0; i < 8; i++) {
        size_t size = 3 * alignment + i % 3 * page;
        char *base;

        other[i] = os_map((2 * i + 1) * page);
        base = os_reserve(size, alignment);
        REQUIRE(other[i] && base);
        EXPECT_EQ((uintptr_t)base % alignment, 0);
        EXPECT(os_open(base + size - page, page));
        base[size - 1] = 1;
        EXPECT(os_unmap(base, size));
    }
    for (i = 0; i < 8; i++)
        os_unmap(other[i], (2 * i + 1) * page);
}

static void
unmapped_memory_is_gone(void)
{
    size_t size = os_page_size();
    unsigned char in;
    char *base = os_map(size);

    REQUIRE(base != NULL);
    os_unmap(base, size);
    EXPECT_EQ(mincore(base, size, &in), -1);
    EXPECT_EQ(errno, ENOMEM);
}

static void
mappings_are_named(void)
{
    size_t size = os_page_size(), before;
    char *base;

    base = os_map(size);
    REQUIRE(base != NULL);
    if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, base, size, "probe") != 0) {
        test_skip("this kernel does not name mappings");
        os_unmap(base, size);
        return;
    }
    os_unmap(base, size);
    before = test_mappings("[anon:copool]");
    base = os_map(size);
    REQUIRE(base != NULL);
    EXPECT_EQ(test_mappings("[anon:copool]"), before + 1);
    os_unmap(base, size);
    EXPECT_EQ(test_mappings("[anon:copool]"), before);
}

static void
impossible_mapping_is_refused(void)
{
    EXPECT(os_map((size_t)1 << 60) == NULL);
    EXPECT(os_reserve((size_t)1 << 60, (size_t)1 << 21) == NULL);
}

static void
discarded_pages_read_as_zero(void)
{
    size_t page = os_page_size();
    char *base = os_map(4 * page);

    REQUIRE(base != NULL);
    memset(base, 1, 4 * page);
    errno = 7;
    os_discard(base + page, 2 * page);
    EXPECT_EQ(errno, 7);
    EXPECT_EQ(test_resident(base, 4 * page), 2);
    EXPECT(is_zero(base + page, 2 * page));
    EXPECT_EQ(base[page - 1], 1);
    EXPECT_EQ(base[3 * page], 1);
    os_unmap(base, 4 * page);
}

static void
limits_are_plausible(void)
{
    EXPECT(os_max_mappings() >= 1000);
    EXPECT(os_memory() >= (size_t)1 << 24);
}

/* --- guards ------------------------------------------------------------- */

static char *region;
static enum co_guard kind;

static int
touch_the_guard(void)
{
    size_t page = os_page_size();

    fault_expected(region + page, region + 2 * page);
    region[0] = region[2 * page] = 1;
    region[2 * page - 1] = 1;
    return 0;
}

static int
discard_and_touch_the_guard(void)
{
    os_discard(region, 3 * os_page_size());
    return touch_the_guard();
}

/* Pages: open, guarded, open. */
static void
check_guard(enum co_guard guard)
{
    size_t page = os_page_size();

    kind = os_resolve_guard(guard);
    if (kind == CO_GUARD_COUNT) {
        test_skip("this kernel has no guard regions");
        return;
    }
    region = os_map(3 * page);
    REQUIRE(region != NULL);
    REQUIRE(os_guard(region + page, page, kind));
    EXPECT(child_exited(test_child(touch_the_guard), FAULTED_THERE));
    EXPECT(
        child_exited(test_child(discard_and_touch_the_guard), FAULTED_THERE));
    os_unmap(region, 3 * page);
}

static void
madvise_guard_faults(void)
{
    check_guard(CO_GUARD_MADVISE);
}

static void
mprotect_guard_faults(void)
{
    check_guard(CO_GUARD_MPROTECT);
}

/* Whatever the kernel, or what stands in for it, says that it can do. */
static void
automatic_guard_faults(void)
{
    check_guard(CO_GUARD_AUTO);
    EXPECT(kind == CO_GUARD_MADVISE || kind == CO_GUARD_MPROTECT);
}

static void
guards_resolve_to_what_works(void)
{
    bool regions = test_guard_faults(CO_GUARD_MADVISE);

    EXPECT_EQ(os_resolve_guard(CO_GUARD_AUTO),
              regions ? CO_GUARD_MADVISE : CO_GUARD_MPROTECT);
    EXPECT_EQ(os_resolve_guard(CO_GUARD_MADVISE),
              regions ? CO_GUARD_MADVISE : CO_GUARD_COUNT);
    EXPECT_EQ(os_resolve_guard(CO_GUARD_MPROTECT), CO_GUARD_MPROTECT);
    EXPECT_EQ(os_resolve_guard(CO_GUARD_NONE), CO_GUARD_NONE);
}

/* --- the end of a thread ------------------------------------------------ */

static struct record events;
static struct os_exit_hook hooks[4];
static unsigned again;

static void
note(struct os_exit_hook *hook)
{
    record(&events, "%d%s", (int)(hook - hooks),
           hook->registered ? "(registered)" : "");
}

static void
note_and_register_again(struct os_exit_hook *hook)
{
    note(hook);
    if (again++ < 2)
        EXPECT(os_at_thread_exit(hook));
}

static void
begin_hooks(void)
{
    size_t i;

    memset(&events, 0, sizeof events);
    memset(hooks, 0, sizeof hooks);
    for (i = 0; i < 4; i++)
        hooks[i].run = note;
    again = 0;
}

static void
register_all(void)
{
    size_t i;

    for (i = 0; i < 4; i++) {
        EXPECT(os_at_thread_exit(&hooks[i]));
        EXPECT(hooks[i].registered);
    }
}

static void
hooks_run_newest_first(void)
{
    begin_hooks();
    test_thread(register_all);
    EXPECT_RECORD(events, "3 2 1 0");
}

static void
register_twice(void)
{
    register_all();
    register_all();
}

static void
hook_registers_once(void)
{
    begin_hooks();
    test_thread(register_twice);
    EXPECT_RECORD(events, "3 2 1 0");
}

static void
register_one(void)
{
    EXPECT(os_at_thread_exit(&hooks[2]));
}

static void
hook_may_register_again_while_it_runs(void)
{
    begin_hooks();
    hooks[2].run = note_and_register_again;
    test_thread(register_one);
    EXPECT_RECORD(events, "2 2 2");
}

static void
register_own(unsigned index)
{
    EXPECT(os_at_thread_exit(&hooks[index]));
}

static _Atomic(unsigned) runs;

static void
count_run(struct os_exit_hook *hook)
{
    (void)hook;
    runs++;
}

static void
threads_have_hooks_of_their_own(void)
{
    size_t i;

    begin_hooks();
    runs = 0;
    for (i = 0; i < 4; i++)
        hooks[i].run = count_run;
    test_threads(4, register_own);
    EXPECT_EQ(runs, 4);
}

/* --- fork --------------------------------------------------------------- */

static void
before(void)
{
    record(&events, "before");
}

static void
parent(void)
{
    record(&events, "parent");
}

static void
child(void)
{
    record(&events, "child");
}

static int
compare_in_child(void)
{
    EXPECT_RECORD(events, "before child");
    return 0;
}

/* In a child, since what is registered stays so. */
static int
fork_between(void)
{
    begin_hooks();
    os_around_fork(before, parent, child);
    EXPECT(child_exited(test_child(compare_in_child), 0));
    EXPECT_RECORD(events, "before parent");
    return 0;
}

static void
fork_is_surrounded(void)
{
    EXPECT(child_exited(test_child(fork_between), 0));
}

static bool
knows_guard_regions_with(const char *loaded)
{
    EXPECT_EQ(setenv("LD_PRELOAD", loaded, 1), 0);
    return san_knows_guard_regions();
}

static void
valgrind_is_told_by_the_name_of_a_file(void)
{
    const char *loaded = getenv("LD_PRELOAD");
    char *before = loaded ? strdup(loaded) : NULL;

    EXPECT(knows_guard_regions_with(""));
    EXPECT(knows_guard_regions_with("/opt/vgpreload_core/lib.so"));
    EXPECT(knows_guard_regions_with("/opt/vgpreload_a/b.so:/vgpreload_c/d.so"));
    EXPECT(!knows_guard_regions_with("/opt/vgpreload_core.so"));
    EXPECT(
        !knows_guard_regions_with("/vgpreload_a/b.so:/vgpreload_c.so /d.so"));
    (void)(before ? setenv("LD_PRELOAD", before, 1) : unsetenv("LD_PRELOAD"));
    free(before);
}

int
main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(page_size_is_a_power_of_two),
        TEST(mapping_is_zero_and_untouched),
        TEST(reserved_memory_is_opened_in_parts),
        TEST(reserved_memory_is_aligned),
        TEST(unmapped_memory_is_gone),
        TEST(mappings_are_named),
        TEST(impossible_mapping_is_refused),
        TEST(discarded_pages_read_as_zero),
        TEST(limits_are_plausible),
        TEST(madvise_guard_faults),
        TEST(mprotect_guard_faults),
        TEST(automatic_guard_faults),
        TEST(guards_resolve_to_what_works),
        TEST(hooks_run_newest_first),
        TEST(hook_registers_once),
        TEST(hook_may_register_again_while_it_runs),
        TEST(threads_have_hooks_of_their_own),
        TEST(fork_is_surrounded),
        TEST(valgrind_is_told_by_the_name_of_a_file),
        TESTS_END,
    };

    return test_main(tests, argc, argv);
}
