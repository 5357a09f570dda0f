/* SPDX-License-Identifier: MIT */
#include "segv.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os.h"

static _Atomic(segv_report *) reports; /* NULL if there is none to be called */

/* What was in force when the handler last came to the front; only changed while
 * it is not in force. */
static struct sigaction before;

/* What was in force when it first did, and whether it has come to the front
 * since: then what is in `before` may have it for a predecessor. */
static struct sigaction behind;
static bool is_there, came_again;

static _Atomic(int) state;
enum { WATCHING, STEPPING_ASIDE, ASIDE };

/* How often the handler has come to the front, and what that was when this
 * thread was last in it. */
static _Atomic(unsigned) times;
static CO_THREAD_LOCAL unsigned passed;

/* --- the handler -------------------------------------------------------- */

/* A handler that came in front of this one, such as faulthandler's, has raised
 * the signal again, which therefore has no address. But on the stack that both
 * run on the kernel has left the registers of the fault, and its address. */
__attribute__((no_sanitize_address, noinline)) static void
search_stack(segv_report *report)
{
    const void *const *word = __builtin_frame_address(0), *const * end;
    stack_t stack;

    if (sigaltstack(NULL, &stack) != 0 || !(stack.ss_flags & SS_ONSTACK))
        return;
    end = (const void *const *)((char *)stack.ss_sp + stack.ss_size);
    while (word < end && !report(*word))
        word++;
}

static bool on_segv_is_in_force(struct sigaction *now);

/* Of several threads that fault at once the first does it, and the others find
 * it done. A thread that comes here again after that does so since the handler
 * of before has this one for its predecessor. If that one has put this one in
 * force, the next fault must be the end; if it calls this one, it gives way to
 * what was behind both of them.
 *
 * No instruction repeats a fault that the kernel has made out of a signal whose
 * frame found no room on the stack: it is sent again, like one that was sent,
 * and not even who ignores the signal is spared. It can't be told from a fault
 * that has no address; that comes back but once, since what is sent again
 * arrives before the instruction is repeated. */
static void
step_aside(siginfo_t *info)
{
    struct sigaction end = {.sa_handler = SIG_DFL}, now;
    int found = WATCHING;

    if (atomic_compare_exchange_strong(&state, &found, STEPPING_ASIDE)) {
        (void)sigaction(SIGSEGV, &before, NULL);
        atomic_store(&state, ASIDE);
    } else if (found == ASIDE && on_segv_is_in_force(&now)) {
        (void)sigaction(SIGSEGV, &end, NULL);
    } else if (found == ASIDE && passed == times) {
        (void)sigaction(SIGSEGV, &behind, NULL);
    }
    passed = times;
    if (info->si_code == SI_KERNEL && sigaction(SIGSEGV, NULL, &now) == 0 &&
        now.sa_handler == SIG_IGN)
        (void)sigaction(SIGSEGV, &end, NULL);
    if (info->si_code <= 0 || info->si_code == SI_KERNEL)
        (void)syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid),
                      SIGSEGV, info);
}

static void
on_segv(int signal, siginfo_t *info, void *context)
{
    segv_report *report = atomic_exchange(&reports, NULL);
    int saved = errno;

    (void)signal, (void)context;
    if (report && info->si_code > 0)
        (void)report(info->si_addr);
    else if (report)
        search_stack(report);
    step_aside(info);
    errno = saved;
}

/* *now gets what is in force. */
static bool
on_segv_is_in_force(struct sigaction *now)
{
    return sigaction(SIGSEGV, NULL, now) == 0 && (now->sa_flags & SA_SIGINFO) &&
           now->sa_sigaction == on_segv;
}

bool
segv_watch(segv_report *report)
{
    struct sigaction now = {.sa_flags = 0},
                     ours = {.sa_sigaction = on_segv,
                             .sa_flags = SA_SIGINFO | SA_ONSTACK};

    if (!on_segv_is_in_force(&now)) {
        if (!is_there)
            behind = now;
        before = now;
        times++;
        atomic_store(&state, WATCHING);
        /* For a system call that a signal interrupts. */
        ours.sa_flags |= now.sa_flags & SA_RESTART;
        (void)sigemptyset(&ours.sa_mask);
        if (sigaction(SIGSEGV, &ours, NULL) != 0)
            return false;
        came_again = is_there;
        is_there = true;
    }
    atomic_store(&reports, report);
    return true;
}

void
segv_unwatch(void)
{
    struct sigaction now;

    atomic_store(&reports, NULL);
    if (on_segv_is_in_force(&now)) {
        (void)sigaction(SIGSEGV, &before, NULL);
        is_there = came_again;
    }
}

/* --- a stack for it ----------------------------------------------------- */

static CO_THREAD_LOCAL struct {
    char *base; /* NULL if the thread has none of us */
    size_t size;
    struct os_exit_hook hook;
} own;

/* One that was put in its place may be undone, and it be put back: it is not
 * freed then, and neither while it is in use. */
static void
take_back(struct os_exit_hook *hook)
{
    stack_t none = {.ss_flags = SS_DISABLE}, now;

    (void)hook;
    if (sigaltstack(NULL, &now) == 0 && now.ss_sp == own.base &&
        sigaltstack(&none, NULL) == 0)
        (void)os_unmap(own.base, own.size);
    own.base = NULL;
}

bool
segv_stack(void)
{
    stack_t stack;
    char *base;

    if (own.base)
        return true;
    if (sigaltstack(NULL, &stack) != 0)
        return false;
    if (!(stack.ss_flags & SS_DISABLE))
        return true;
    stack = (stack_t){.ss_size = os_signal_stack_size()};
    stack.ss_sp = base = os_map(stack.ss_size);
    if (!base)
        return false;
    own.base = base;
    own.size = stack.ss_size;
    own.hook.run = take_back;
    if (sigaltstack(&stack, NULL) != 0)
        (void)os_unmap(base, stack.ss_size);
    else if (os_at_thread_exit(&own.hook))
        return true;
    else
        take_back(&own.hook);
    own.base = NULL;
    return false;
}

void
segv_say(const char *text, size_t length)
{
    if (write(STDERR_FILENO, text, length) < 0)
        return; /* there is nobody to tell */
}
