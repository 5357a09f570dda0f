/* SPDX-License-Identifier: MIT
 *
 * The eight bodies of the case `mixed`, written once for every subject that
 * does it. In the other cases the same body is always resumed at the same
 * place, so the processor has guessed where each jump leads before it is
 * there. Here it cannot: the bodies are different code and are entered in an
 * order that looks random.
 *
 * A body counts its steps and gives their number when it ends. Each keeps that
 * number elsewhere over its yields, so the sum is right only if what a switch
 * must keep has been kept. None raises a floating-point flag.
 *
 * A subject makes functions of these with BENCH_MIXED, and so that each has
 * jumps of its own, they and the subject's yield are inlined there.
 *
 * Thread rule: one thread.
 */
#ifndef CO_BENCH_MIXED_H
#define CO_BENCH_MIXED_H

#include <stdbool.h>
#include <stdint.h>

enum { BENCH_BODIES = 8 };

#define BENCH_MIXED(X)                                                         \
    X(mixed_plain)                                                             \
    X(mixed_frame)                                                             \
    X(mixed_two_places)                                                        \
    X(mixed_four_places)                                                       \
    X(mixed_real)                                                              \
    X(mixed_registers)                                                         \
    X(mixed_multiplies)                                                        \
    X(mixed_branches)

#define BENCH_INLINE static inline __attribute__((always_inline))

/* Yields; false when the body is to end. */
typedef bool bench_goes_on(void *self);

/* Which is entered next. The generator is the usual linear congruence, of
 * which the highest bits are the best ones. */
BENCH_INLINE unsigned
bench_next_body(uint64_t *order)
{
    *order = *order * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*order >> 61);
}

/* The compiler cannot tell the value from here on, nor leave out its making. */
BENCH_INLINE void
bench_use(uint64_t *value)
{
    __asm__ volatile("" : "+r"(*value));
}

BENCH_INLINE long
mixed_plain(bench_goes_on *goes_on, void *self)
{
    long count = 0;
    do
        count++;
    while (goes_on(self));
    return count;
}

/* Its frame is large, and the count is in the middle of it. */
BENCH_INLINE long
mixed_frame(bench_goes_on *goes_on, void *self)
{
    volatile long frame[160];
    frame[80] = 0;
    do
        frame[80] = frame[80] + 1;
    while (goes_on(self));
    return frame[80];
}

BENCH_INLINE long
mixed_two_places(bench_goes_on *goes_on, void *self)
{
    long odd = 0, even = 0;
    do {
        odd++;
        if (!goes_on(self))
            break;
        even++;
    } while (goes_on(self));
    return odd + even;
}

BENCH_INLINE long
mixed_four_places(bench_goes_on *goes_on, void *self)
{
    long at[4] = {0, 0, 0, 0};
    do {
        at[0]++;
        if (!goes_on(self))
            break;
        at[1]++;
        if (!goes_on(self))
            break;
        at[2]++;
        if (!goes_on(self))
            break;
        at[3]++;
    } while (goes_on(self));
    return at[0] + at[1] + at[2] + at[3];
}

/* Whole numbers are added exactly. */
BENCH_INLINE long
mixed_real(bench_goes_on *goes_on, void *self)
{
    double count = 0;
    do
        count += 1;
    while (goes_on(self));
    return (long)count;
}

/* Five numbers that are wanted after each yield. */
BENCH_INLINE long
mixed_registers(bench_goes_on *goes_on, void *self)
{
    uint64_t a = 0, b = 1, c = 2, d = 3, e = 4;
    do {
        a++, b++, c++, d++, e++;
        bench_use(&a);
        bench_use(&b);
        bench_use(&c);
        bench_use(&d);
        bench_use(&e);
    } while (goes_on(self));
    return (long)(a + b + c + d + e - 10) / 5;
}

/* Does some work: three products, of which each waits for the one before. */
BENCH_INLINE long
mixed_multiplies(bench_goes_on *goes_on, void *self)
{
    uint64_t value = 1;
    long count = 0;
    do {
        for (int i = 0; i < 3; i++) {
            value = value * value + 1;
            bench_use(&value);
        }
        count++;
    } while (goes_on(self));
    return count;
}

/* Takes the other way each fourth time. */
BENCH_INLINE long
mixed_branches(bench_goes_on *goes_on, void *self)
{
    uint64_t left = 0, right = 0;
    do {
        if ((left + right) % 4 == 0)
            left++;
        else
            right++;
        bench_use(&left);
        bench_use(&right);
    } while (goes_on(self));
    return (long)(left + right);
}

#endif
