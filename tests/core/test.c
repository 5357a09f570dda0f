/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "san.h"

#ifdef CO_VALGRIND
#    include <valgrind/valgrind.h>
#endif

/* --- running ------------------------------------------------------------ */

static const char *running;
static const char *skipped;
static char at_case[128];
static _Atomic(unsigned) failures;

static bool
is_chosen(const char *name, int argc, char **argv)
{
    int i;

    for (i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return argc <= 1;
}

int
test_main(const struct test *tests, int argc, char **argv)
{
    unsigned before, run = 0, skips = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (; tests->name; tests++) {
        if (!is_chosen(tests->name, argc, argv))
            continue;
        running = tests->name;
        skipped = NULL;
        at_case[0] = '\0';
        before = failures;
        tests->run();
        run++;
        if (failures != before) {
            printf("FAIL %s\n", running);
        } else if (skipped) {
            skips++;
            printf("skip %s: %s\n", running, skipped);
        } else {
            printf("ok %s\n", running);
        }
    }
    if (!run) {
        printf("FAIL no test of that name\n");
        return 1;
    }
    return failures ? 1 : run == skips ? 77 : 0;
}

void
test_skip(const char *why)
{
    skipped = why;
}

void
test_failed(const char *file, int line, const char *format, ...)
{
    char text[4096 + 256];
    va_list args;

    failures++;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    printf("%s:%d: in %s%s: %s\n", file, line, running, at_case, text);
}

void
test_case(const char *format, ...)
{
    va_list args;
    int n = snprintf(at_case, sizeof at_case, ", ");

    va_start(args, format);
    vsnprintf(at_case + n, sizeof at_case - (size_t)n, format, args);
    va_end(args);
}

void
test_expect_eq(const char *file, int line, const char *what, long long actual,
               long long expected)
{
    if (actual != expected)
        test_failed(file, line, "%s is %lld, expected %lld", what, actual,
                    expected);
}

void
test_expect_str(const char *file, int line, const char *what,
                const char *actual, const char *expected)
{
    if (strcmp(actual, expected) != 0)
        test_failed(file, line, "%s is\n    %s\n  expected\n    %s", what,
                    actual, expected);
}

void
record(struct record *r, const char *format, ...)
{
    va_list args;
    int n;

    if (r->length)
        r->text[r->length++] = ' ';
    va_start(args, format);
    n = vsnprintf(r->text + r->length, sizeof r->text - r->length - 1, format,
                  args);
    va_end(args);
    REQUIRE(n >= 0 && (size_t)n < sizeof r->text - r->length - 1);
    r->length += (size_t)n;
}

/* --- threads ------------------------------------------------------------ */

struct start {
    pthread_t thread;
    unsigned index;
    void (*run)(unsigned index);
};

static void *
start_thread(void *argument)
{
    struct start *start = argument;

    start->run(start->index);
    return NULL;
}

void
test_threads(unsigned n, void (*run)(unsigned index))
{
    struct start starts[64];
    unsigned i;

    REQUIRE(n <= 64);
    for (i = 0; i < n; i++) {
        starts[i].index = i;
        starts[i].run = run;
        REQUIRE(pthread_create(&starts[i].thread, NULL, start_thread,
                               &starts[i]) == 0);
    }
    for (i = 0; i < n; i++)
        pthread_join(starts[i].thread, NULL);
}

static void *
start_plain(void *argument)
{
    void (**run)(void) = argument;

    (*run)();
    return NULL;
}

void
test_thread(void (*run)(void))
{
    pthread_t thread;

    REQUIRE(pthread_create(&thread, NULL, start_plain, &run) == 0);
    pthread_join(thread, NULL);
}

void
turn_wait(struct turns *turns, unsigned number)
{
    pthread_mutex_lock(&turns->lock);
    while (turns->now < number)
        pthread_cond_wait(&turns->changed, &turns->lock);
    pthread_mutex_unlock(&turns->lock);
}

void
turn_next(struct turns *turns)
{
    pthread_mutex_lock(&turns->lock);
    turns->now++;
    pthread_cond_broadcast(&turns->changed);
    pthread_mutex_unlock(&turns->lock);
}

/* --- processes ---------------------------------------------------------- */

int
test_child(int (*run)(void))
{
    pid_t child;
    int status;

    fflush(NULL);
    child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        unsigned before = failures;
        int code;

        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        code = run();
        fflush(NULL);
        _exit(failures != before ? 1 : code);
    }
    while (waitpid(child, &status, 0) < 0)
        REQUIRE(errno == EINTR);
    return status;
}

bool
child_exited(int status, int code)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == code;
}

bool
child_killed(int status, int signal)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == signal;
}

bool
child_faulted_there(int status)
{
    return child_exited(status, FAULTED_THERE) ||
           (under_valgrind() && child_exited(status, 99));
}

static const char *fault_low, *fault_high;

static void
on_fault(int signal, siginfo_t *info, void *context)
{
    const char *at = info->si_addr;

    (void)signal, (void)context;
    if (at >= fault_low && at < fault_high)
        _exit(FAULTED_THERE);
    _exit(FAULTED_THERE + 1);
}

void
fault_expected(const char *low, const char *high)
{
    static char other_stack[64 * 1024];
    stack_t stack = {.ss_sp = other_stack, .ss_size = sizeof other_stack};
    struct sigaction action = {.sa_sigaction = on_fault,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK};

    fault_low = low;
    fault_high = high;
#ifdef CO_VALGRIND
    /* It would report the access as an error of its own before the fault. */
    VALGRIND_MAKE_MEM_UNDEFINED(low, (size_t)(high - low));
#endif
    REQUIRE(sigaltstack(&stack, NULL) == 0);
    REQUIRE(sigaction(SIGSEGV, &action, NULL) == 0);
    REQUIRE(sigaction(SIGBUS, &action, NULL) == 0);
}

/* --- memory ------------------------------------------------------------- */

size_t
test_mappings(const char *containing)
{
    FILE *file = fopen("/proc/self/maps", "re");
    char line[4096];
    size_t n = 0;

    REQUIRE(file != NULL);
    while (fgets(line, sizeof line, file))
        n += !containing || strstr(line, containing) != NULL;
    fclose(file);
    return n;
}

size_t
test_resident(const void *low, size_t size)
{
    size_t page = os_page_size(), n = 0, i;
    char *start = (char *)((uintptr_t)low / page * page);
    size_t pages = (size_t)((const char *)low + size - start + page - 1) / page;
    unsigned char *in = malloc(pages);

    REQUIRE(in != NULL);
    REQUIRE(mincore(start, pages * page, in) == 0);
    for (i = 0; i < pages; i++)
        n += in[i] & 1;
    free(in);
    return n;
}

static char *probed_page;

static int
touch_probed_page(void)
{
    fault_expected(probed_page, probed_page + os_page_size());
    *(volatile char *)probed_page = 1;
    return 0;
}

bool
test_guard_faults(enum co_guard guard)
{
    size_t page = os_page_size();
    bool faults;

    if (guard == CO_GUARD_MADVISE && !san_knows_guard_regions())
        return false;
    probed_page = os_map(page);
    REQUIRE(probed_page != NULL);
    faults = os_guard(probed_page, page, guard) &&
             child_exited(test_child(touch_probed_page), FAULTED_THERE);
    os_unmap(probed_page, page);
    return faults;
}

/* --- where we run ------------------------------------------------------- */

bool
under_valgrind(void)
{
#ifdef CO_VALGRIND
    return RUNNING_ON_VALGRIND;
#else
    return false;
#endif
}

/* .ci/aarch64.ini says so to what it starts. */
bool
under_emulator(void)
{
    return getenv("COPOOL_EMULATED") != NULL;
}

unsigned
test_rounds(unsigned n)
{
    unsigned divisor = 1;

    if (under_valgrind())
        divisor = 50;
    else if (SANITIZED || under_emulator())
        divisor = 10;
    return n > divisor ? n / divisor : 1;
}

/* --- pools -------------------------------------------------------------- */

co_pool *
test_pool(enum co_policy policy, unsigned batch)
{
    struct co_pool_options options;
    co_pool *pool = NULL;

    co_pool_options_init(&options);
    options.policy = policy;
    options.batch = batch;
    options.guard = CO_GUARD_NONE;
    options.stack_size = 64 * 1024;
    options.idle_ms = 0;
    REQUIRE(co_pool_create(&options, &pool) == CO_OK);
    return pool;
}

struct co_pool_stats
test_stats(co_pool *pool)
{
    struct co_pool_stats stats;

    co_pool_stats(pool, &stats);
    return stats;
}

struct block *
test_get(co_pool *pool)
{
    enum co_status status = CO_OK;
    struct block *block = pool_get(pool, &status);

    if (!block)
        test_failed(__FILE__, __LINE__, "no block: %s", co_status_text(status));
    REQUIRE(block != NULL);
    return block;
}
