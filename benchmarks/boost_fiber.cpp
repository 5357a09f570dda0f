/* SPDX-License-Identifier: MIT
 *
 * A subject to compare with: Boost.Context's fibers on stacks from its
 * pooled_fixedsize_stack, which is Boost's own answer to what a pool is for.
 * The pool belongs to one thread and has no lock.
 *
 * Thread rule: one thread.
 */
#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>
#include <cfenv>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "bench_mixed.h"
#include "corebench.h"

namespace
{

using boost::context::fiber;
using boost::context::pooled_fixedsize_stack;

int64_t
checked(bool right, int64_t elapsed)
{
    return right ? elapsed : static_cast<int64_t>(BENCH_WRONG);
}

pooled_fixedsize_stack &
stacks()
{
    static pooled_fixedsize_stack allocator;
    return allocator;
}

template <typename Body>
fiber
make(Body &&body)
{
    return fiber(std::allocator_arg, stacks(), std::forward<Body>(body));
}

int64_t
lifecycle(long n, long)
{
    long steps = 0;
    int64_t start = bench_clock();
    for (long i = 0; i < n; i++) {
        fiber made = make([&steps](fiber &&caller) {
            ++steps;
            return std::move(caller);
        });
        if (std::move(made).resume())
            return BENCH_WRONG;
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
        fiber made = make([&steps](fiber &&caller) {
            ++steps;
            caller = std::move(caller).resume();
            ++steps;
            return std::move(caller);
        });
        made = std::move(made).resume();
        if (std::move(made).resume())
            return BENCH_WRONG;
    }
    int64_t end = bench_clock();
    return checked(steps == 2 * n, end - start);
}

fiber
make_yielding(long &steps, const bool &stop)
{
    return make([&steps, &stop](fiber &&caller) {
        while (!stop) {
            ++steps;
            caller = std::move(caller).resume();
        }
        return std::move(caller);
    });
}

int64_t
yield_with(fiber made, const long &steps, bool &stop, long n)
{
    int64_t start = bench_clock();
    for (long i = 0; i < n; i++)
        made = std::move(made).resume();
    int64_t end = bench_clock();
    stop = true;
    made = std::move(made).resume();
    return checked(!made && steps == n, end - start);
}

int64_t
yield(long n, long)
{
    long steps = 0;
    bool stop = false;

    return yield_with(make_yielding(steps, stop), steps, stop, n);
}

int64_t
inexact(long n, long)
{
    long steps = 0;
    bool stop = false;

    std::feclearexcept(FE_ALL_EXCEPT);
    return yield_with(make([&steps, &stop](fiber &&caller) {
                          bench_be_inexact();
                          while (!stop) {
                              ++steps;
                              caller = std::move(caller).resume();
                          }
                          return std::move(caller);
                      }),
                      steps, stop, n);
}

void
nest(long left, long &steps)
{
    fiber inner = make([left, &steps](fiber &&caller) {
        ++steps;
        if (left > 1)
            nest(left - 1, steps);
        return std::move(caller);
    });
    std::move(inner).resume();
}

int64_t
nesting(long n, long)
{
    long steps = 0;
    int64_t start = bench_clock();
    for (long i = 0; i < n; i++)
        nest(BENCH_NESTING, steps);
    int64_t end = bench_clock();
    return checked(steps == n * BENCH_NESTING, end - start);
}

int64_t
crowd(long n, long width)
{
    long steps = 0;
    bool stop = false;
    int64_t elapsed = 0;
    std::vector<fiber> fibers;

    for (long k = 0; k < width; k++) {
        fibers.push_back(make_yielding(steps, stop));
        fibers.back() = std::move(fibers.back()).resume();
    }
    int64_t start = bench_clock();
    for (long i = 0; i < n; i++)
        for (fiber &one : fibers)
            one = std::move(one).resume();
    elapsed = bench_clock() - start;
    if (steps != (n + 1) * width)
        elapsed = BENCH_WRONG;
    stop = true;
    for (fiber &one : fibers)
        if ((one = std::move(one).resume()))
            elapsed = BENCH_WRONG;
    return elapsed;
}

struct mixed_body {
    fiber caller;
    const bool &stop;
};

BENCH_INLINE bool
goes_on(void *self)
{
    mixed_body *body = static_cast<mixed_body *>(self);

    body->caller = std::move(body->caller).resume();
    return !body->stop;
}

template <long (*Body)(bench_goes_on *, void *)>
fiber
make_mixed(long &steps, const bool &stop)
{
    return make([&steps, &stop](fiber &&caller) {
        mixed_body body = {std::move(caller), stop};
        steps += Body(goes_on, &body);
        return std::move(body.caller);
    });
}

int64_t
mixed(long n, long)
{
    long steps = 0;
    uint64_t order = 0;
    bool stop = false, right = true;
#define BODY(name) make_mixed<name>(steps, stop),
    fiber fibers[] = {BENCH_MIXED(BODY)};
#undef BODY

    for (fiber &one : fibers)
        one = std::move(one).resume();
    int64_t start = bench_clock();
    for (long i = 0; i < n; i++) {
        fiber &one = fibers[bench_next_body(&order)];
        one = std::move(one).resume();
    }
    int64_t end = bench_clock();
    stop = true;
    for (fiber &one : fibers)
        if ((one = std::move(one).resume()))
            right = false;
    return checked(right && steps == n + BENCH_BODIES, end - start);
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

extern "C" const struct bench_row bench_boost_rows[] = {
    {"lifecycle", run<lifecycle>}, {"cost", run<cost>},
    {"yield", run<yield>},         {"inexact", run<inexact>},
    {"nesting", run<nesting>},     {"crowd", run<crowd>},
    {"mixed", run<mixed>},         {nullptr, nullptr},
};
