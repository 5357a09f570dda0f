/* SPDX-License-Identifier: MIT
 *
 * A subject to compare with: jump_fcontext(), the bare jump that is below
 * Boost.Context's fibers, on stacks from a free list. It says how fast a jump
 * can be with nothing around it, and is no interface for programs: nobody
 * knows who runs, who entered it or whether it has ended; an exception that
 * leaves a body, or a body that returns, ends the process; a stack has no
 * guard, so what overflows it writes to the next one.
 *
 * As Debian builds it for x86-64, the jump saves and loads the registers that
 * a function must keep, the control word of the x87, and MXCSR, which it loads
 * with its flags. What a processor makes of that is the case `inexact`; in the
 * others the flags are the same on both sides.
 *
 * Thread rule: one thread.
 */
#include <sys/mman.h>

#include <boost/context/detail/fcontext.hpp>
#include <cfenv>
#include <exception>
#include <new>
#include <vector>

#include "bench_mixed.h"
#include "corebench.h"

namespace
{

using boost::context::detail::fcontext_t;
using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

int64_t
checked(bool right, int64_t elapsed)
{
    return right ? elapsed : static_cast<int64_t>(BENCH_WRONG);
}

/* --- bodies: bench_pool.c has the same ones ----------------------------- */

using body_fn = void(transfer_t);

void
body_empty(transfer_t t)
{
    ++*static_cast<long *>(t.data);
    jump_fcontext(t.fctx, nullptr);
}

void
body_yield_once(transfer_t t)
{
    long *steps = static_cast<long *>(t.data);

    ++*steps;
    t = jump_fcontext(t.fctx, steps);
    ++*steps;
    jump_fcontext(t.fctx, nullptr);
}

void
body_yield_on(transfer_t t)
{
    long *steps = static_cast<long *>(t.data);

    while (t.data) {
        ++*steps;
        t = jump_fcontext(t.fctx, steps);
    }
    jump_fcontext(t.fctx, nullptr);
}

void
body_yield_on_inexact(transfer_t t)
{
    bench_be_inexact();
    body_yield_on(t);
}

BENCH_INLINE bool
goes_on(void *self)
{
    transfer_t *t = static_cast<transfer_t *>(self);

    *t = jump_fcontext(t->fctx, t->data);
    return t->data;
}

template <long (*Body)(bench_goes_on *, void *)>
void
body_mixed(transfer_t t)
{
    long *steps = static_cast<long *>(t.data);

    *steps += Body(goes_on, &t);
    jump_fcontext(t.fctx, nullptr);
}

/* --- stacks ------------------------------------------------------------- */

/* The layout is one that suits 10,000 coroutines; up to 1,000 all that were
 * tried are alike. Stacks that lie beside one another, in a mapping for all of
 * them, share the lines of the page tables; some lines longer than 16 KiB, they
 * don't compete for the same sets of a cache. A mapping of 256 KiB for each
 * takes 1.6 times as long. Stacks of 4 KiB take 0.9 of it and huge pages 0.8,
 * but the ones are too small for the frame of a signal, and with the others
 * every stack is in memory as a whole. */
constexpr size_t LINE = 64;
constexpr size_t STACK = 16 * 1024 + 3 * LINE;
constexpr size_t SLAB = 16 * 1024 * STACK;

/* At the top of a stack that is not in use. */
struct stack {
    stack *next;
};

stack *unused;

fcontext_t
make_on(stack *top, body_fn *body)
{
    return make_fcontext(top, STACK / 2, body);
}

/* How far below the beginning of a line the top of a stack must be, so that
 * what a jump saves below body_yield_on() is in one line: in two lines it takes
 * a tenth longer when there are 10,000. */
size_t
line_up()
{
    alignas(LINE) static char place[STACK];
    long steps = 0;
    stack *top = reinterpret_cast<stack *>(place + STACK - LINE);
    fcontext_t made = jump_fcontext(make_on(top, body_yield_on), &steps).fctx;
    jump_fcontext(made, nullptr);
    return reinterpret_cast<uintptr_t>(made) % LINE;
}

stack *
take_fresh()
{
    static const size_t below = LINE + line_up();
    static char *low;
    static size_t left;

    if (left == 0) {
        void *slab = mmap(nullptr, SLAB, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (slab == MAP_FAILED)
            throw std::bad_alloc();
        low = static_cast<char *>(slab);
        left = SLAB;
    }
    low += STACK;
    left -= STACK;
    return reinterpret_cast<stack *>(low - below);
}

stack *
take()
{
    stack *top = unused;

    if (!top)
        return take_fresh();
    unused = top->next;
    return top;
}

void
give(stack *top)
{
    top->next = unused;
    unused = top;
}

/* --- cases -------------------------------------------------------------- */

int64_t
lifecycle(long n, long)
{
    long steps = 0;
    int64_t start = bench_clock();
    for (long i = 0; i < n; i++) {
        stack *top = take();
        if (jump_fcontext(make_on(top, body_empty), &steps).data)
            return BENCH_WRONG;
        give(top);
    }
    int64_t end = bench_clock();
    return checked(steps == n, end - start);
}

int64_t
cost(long n, long)
{
    long steps = 0;
    int64_t start = bench_clock();
    for (long i = 0; i < n; i++) {
        stack *top = take();
        transfer_t t = jump_fcontext(make_on(top, body_yield_once), &steps);
        if (!t.data || jump_fcontext(t.fctx, &steps).data)
            return BENCH_WRONG;
        give(top);
    }
    int64_t end = bench_clock();
    return checked(steps == 2 * n, end - start);
}

int64_t
yield_with(body_fn *body, long n)
{
    long steps = 0;
    stack *top = take();
    fcontext_t made = make_on(top, body);

    int64_t start = bench_clock();
    for (long i = 0; i < n; i++)
        made = jump_fcontext(made, &steps).fctx;
    int64_t end = bench_clock();
    bool ended = !jump_fcontext(made, nullptr).data;
    give(top);
    return checked(ended && steps == n, end - start);
}

int64_t
yield(long n, long)
{
    return yield_with(body_yield_on, n);
}

int64_t
inexact(long n, long)
{
    std::feclearexcept(FE_ALL_EXCEPT);
    return yield_with(body_yield_on_inexact, n);
}

/* Lets all of them end, and tells whether they did. */
bool
end_all(const std::vector<fcontext_t> &made, const std::vector<stack *> &tops)
{
    bool ended = true;

    for (fcontext_t one : made)
        ended = !jump_fcontext(one, nullptr).data && ended;
    for (stack *top : tops)
        give(top);
    return ended;
}

int64_t
crowd(long n, long width)
{
    long steps = 0;
    std::vector<fcontext_t> made;
    std::vector<stack *> tops;

    for (long k = 0; k < width; k++) {
        tops.push_back(take());
        made.push_back(
            jump_fcontext(make_on(tops.back(), body_yield_on), &steps).fctx);
    }
    int64_t start = bench_clock();
    for (long i = 0; i < n; i++)
        for (fcontext_t &one : made)
            one = jump_fcontext(one, &steps).fctx;
    int64_t end = bench_clock();
    bool right = steps == (n + 1) * width;
    return checked(end_all(made, tops) && right, end - start);
}

int64_t
mixed(long n, long)
{
    long steps = 0;
    uint64_t order = 0;
    std::vector<fcontext_t> made;
    std::vector<stack *> tops;
#define BODY(name) body_mixed<name>,
    for (body_fn *body : {BENCH_MIXED(BODY)}) {
#undef BODY
        tops.push_back(take());
        made.push_back(jump_fcontext(make_on(tops.back(), body), &steps).fctx);
    }

    int64_t start = bench_clock();
    for (long i = 0; i < n; i++) {
        fcontext_t &one = made[bench_next_body(&order)];
        one = jump_fcontext(one, &steps).fctx;
    }
    int64_t end = bench_clock();
    return checked(end_all(made, tops) && steps == n + BENCH_BODIES,
                   end - start);
}

/* No exception may cross into C. */
template <int64_t (*Case)(long, long)>
int64_t
run(int, long n, long width)
{
    try {
        return Case(n, width);
    } catch (const std::exception &) {
        return bench_refuse("no memory for a stack");
    }
}

} // namespace

extern "C" const struct bench_row bench_fcontext_rows[] = {
    {"lifecycle", run<lifecycle>},
    {"cost", run<cost>},
    {"yield", run<yield>},
    {"inexact", run<inexact>},
    {"crowd", run<crowd>},
    {"mixed", run<mixed>},
    {nullptr, nullptr},
};
