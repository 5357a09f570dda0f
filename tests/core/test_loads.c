/* SPDX-License-Identifier: MIT
 *
 * Whether a library that is loaded is noticed, and what is found in it. FOLDER
 * has libsentinel.so, libone.so and libtwo.so.
 */
#include "loads.h"

#include <dlfcn.h>
#include <pthread.h>

#include "test.h"

static void *
load(const char *path)
{
    void *handle = dlopen(path, RTLD_LAZY);

    REQUIRE(handle != NULL);
    return handle;
}

static struct loads_watch the_watch;

static void *const volatile *
watch(void)
{
    void *const volatile *word =
        loads_watch(&the_watch, FOLDER "/libsentinel.so");

    REQUIRE(word != NULL);
    return word;
}

/* musl never unloads, so nothing is loaded twice there. */
static bool
unloads(void *handle)
{
    (void)dlclose(handle);
    return loads_find(FOLDER "/libone.so", "loaded_for_a_test") == NULL;
}

static void
a_load_is_noticed(void)
{
    void *const volatile *word = watch();
    void *one;

    EXPECT(!*word);
    one = load(FOLDER "/libone.so");
    EXPECT(*word != NULL);
    word = watch();
    EXPECT(!*word);
    if (unloads(one)) {
        EXPECT(!*word);
        one = load(FOLDER "/libone.so");
        EXPECT(*word != NULL);
        (void)dlclose(one);
        EXPECT(!*word);
    }
    loads_unwatch(&the_watch);
}

static void *
load_two(void *unused)
{
    (void)unused;
    return load(FOLDER "/libtwo.so");
}

static void
a_load_in_another_thread_is_noticed(void)
{
    void *const volatile *word = watch();
    pthread_t thread;
    void *two;

    REQUIRE(pthread_create(&thread, NULL, load_two, NULL) == 0);
    REQUIRE(pthread_join(thread, &two) == 0);
    EXPECT(*word != NULL);
    (void)dlclose(two);
    loads_unwatch(&the_watch);
}

static void
a_second_watch_ends_the_first(void)
{
    (void)watch();
    EXPECT(!*watch());
    loads_unwatch(&the_watch);
    loads_unwatch(&the_watch);
    EXPECT(!*watch());
    loads_unwatch(&the_watch);
}

static void
a_load_changes_the_count(void)
{
    uint64_t before = loads_count();
    void *one;

    EXPECT(before > 0);
    EXPECT_EQ(loads_count(), before);
    one = load(FOLDER "/libone.so");
    if (unloads(one))
        EXPECT(loads_count() > before);
}

static void
what_is_not_loaded_is_not_found(void)
{
    uint64_t before = loads_count();

    EXPECT(!loads_find("libthere-is-none.so.6", "loaded_for_a_test"));
    EXPECT(!loads_find(FOLDER "/libsentinel.so", "loaded_for_a_test"));
    EXPECT_EQ(loads_count(), before);
}

static void
what_is_found_stays_loaded(void)
{
    void *two = load(FOLDER "/libtwo.so");
    int (*found)(void);

    EXPECT(!loads_find(FOLDER "/libtwo.so", "no_such_name"));
    *(void **)&found = loads_find(FOLDER "/libtwo.so", "loaded_for_a_test");
    REQUIRE(found != NULL);
    (void)dlclose(two);
    EXPECT_EQ(found(), 1);
}

static void
what_everybody_sees_is_found_in_no_library(void)
{
    EXPECT(loads_find("libthere-is-none.so.6", "malloc") != NULL);
}

int
main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(a_load_is_noticed),
        TEST(a_load_in_another_thread_is_noticed),
        TEST(a_second_watch_ends_the_first),
        TEST(a_load_changes_the_count),
        TEST(what_is_not_loaded_is_not_found),
        TEST(what_is_found_stays_loaded),
        TEST(what_everybody_sees_is_found_in_no_library),
        TESTS_END,
    };

    return test_main(tests, argc, argv);
}
