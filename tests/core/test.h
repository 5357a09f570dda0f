/* SPDX-License-Identifier: MIT
 *
 * What every test program of the core uses. A program is a list of tests; each
 * prints "ok NAME", "skip NAME: why" or "FAIL NAME" behind the lines that say
 * what was expected. The exit status is 0, or 77 if every test was skipped, or
 * 1. With arguments it runs only the tests of those names.
 *
 * EXPECT...() may be used in any thread and in any coroutine: a failure is
 * noted and the test goes on. REQUIRE() ends the program: for what the rest of
 * the test stands on. Nothing here sleeps; threads are put into an order by
 * turns.
 */
#ifndef COPOOL_TEST_H
#define COPOOL_TEST_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "pool.h"

struct test {
    const char *name;
    void (*run)(void);
};

#define TEST(function) {#function, function}
#define TESTS_END {NULL, NULL}

/* The whole of main(). The list ends with TESTS_END. */
int test_main(const struct test *tests, int argc, char **argv);

/* The current test counts as skipped, unless it fails. It still runs on. */
void test_skip(const char *why);

/* Names the case that a test is at, for the message of a failure. */
void test_case(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- expectations ------------------------------------------------------- */

void test_failed(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define EXPECT(cond)                                                           \
    ((cond) ? (void)0 : test_failed(__FILE__, __LINE__, "expected: %s", #cond))

#define REQUIRE(cond)                                                          \
    ((cond) ? (void)0                                                          \
            : (test_failed(__FILE__, __LINE__, "cannot go on without: %s",     \
                           #cond),                                             \
               fflush(NULL), _Exit(1)))

/* Integers: numbers, counts, statuses. The actual value comes first. */
#define EXPECT_EQ(actual, expected)                                            \
    test_expect_eq(__FILE__, __LINE__, #actual, (long long)(actual),           \
                   (long long)(expected))
void test_expect_eq(const char *file, int line, const char *what,
                    long long actual, long long expected);

#define EXPECT_STR(actual, expected)                                           \
    test_expect_str(__FILE__, __LINE__, #actual, actual, expected)
void test_expect_str(const char *file, int line, const char *what,
                     const char *actual, const char *expected);

/* --- an order of events ------------------------------------------------- */

/* What happened, in words between single blanks. One writer at a time. */
struct record {
    char text[4096];
    size_t length;
};

void record(struct record *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#define EXPECT_RECORD(r, expected)                                             \
    test_expect_str(__FILE__, __LINE__, #r, (r).text, expected)

/* --- threads, processes ------------------------------------------------- */

/* Runs run(0) ... run(n - 1), each in a thread; returns when all are done. */
void test_threads(unsigned n, void (*run)(unsigned index));

/* Runs in a new thread and waits for its end. */
void test_thread(void (*run)(void));

/* Threads take turns: each waits for the number that is its own. All zero at
 * the start, so that turn 0 is the first. */
struct turns {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned now;
};

#define TURNS_INIT {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0}

void turn_wait(struct turns *turns, unsigned number);
void turn_next(struct turns *turns);

/* Runs in a child process, whose status as wait() gives it is returned. The
 * child exits with 1 if an expectation in it failed, else with what run()
 * returns, and dies by a signal rather than by a sanitizer's report of it. */
int test_child(int (*run)(void));
bool child_exited(int status, int code);
bool child_killed(int status, int signal);

/* In a child: a fault in [low, high) ends it with this exit status, from any
 * depth of stack; elsewhere the fault kills it. */
enum { FAULTED_THERE = 42 };

/* Whether it was. Valgrind knows of an access to memory that was mapped without
 * any, and then puts the code for an error in the place of a child's (see the
 * Makefile). */
bool child_faulted_there(int status);
void fault_expected(const char *low, const char *high);

/* --- memory ------------------------------------------------------------- */

/* Lines of /proc/self/maps, or only those that contain a text. */
size_t test_mappings(const char *containing);

/* Pages of the range that are in memory. */
size_t test_resident(const void *low, size_t size);

/* Whether this kind of guard really faults: an emulator may accept the request
 * and forget it. */
bool test_guard_faults(enum co_guard guard);

/* --- where we run ------------------------------------------------------- */

bool under_valgrind(void);
bool under_emulator(void);

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#    define SANITIZED true
#else
#    define SANITIZED false
#endif

/* Fewer rounds where each takes a hundred times as long; at least 1. */
unsigned test_rounds(unsigned n);

/* --- pools -------------------------------------------------------------- */

/* All defaults but these two, guards that every kernel has, and nothing that
 * depends on the time. */
co_pool *test_pool(enum co_policy policy, unsigned batch);

/* Walks the pool, then destroys it; expects both to go well. */
#define EXPECT_DESTROY(pool)                                                   \
    do {                                                                       \
        EXPECT(co_pool_check(pool));                                           \
        EXPECT_EQ(co_pool_destroy(pool), CO_OK);                               \
    } while (0)

struct co_pool_stats test_stats(co_pool *pool);

/* A block; the test cannot go on without it. */
struct block *test_get(co_pool *pool);

#endif
