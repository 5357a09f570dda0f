/* SPDX-License-Identifier: MIT
 *
 * Reads and writes what controls the floating-point unit of x86-64 that Python
 * computes with; <fenv.h> would change the other one as well.
 */
#include <fenv.h>
#include <xmmintrin.h>

enum { FLAGS = 0x3f };

unsigned
get_control(void)
{
    return _mm_getcsr() & ~(unsigned)FLAGS;
}

void
set_control(unsigned control)
{
    _mm_setcsr((_mm_getcsr() & FLAGS) | control);
}

int
set_rounding(int upward)
{
    return fesetround(upward ? FE_UPWARD : FE_TONEAREST);
}

void
clear_flags(void)
{
    feclearexcept(FE_ALL_EXCEPT);
}

int
is_inexact(void)
{
    return fetestexcept(FE_INEXACT) != 0;
}

void
be_inexact(void)
{
    volatile double third = 1;

    third /= 3;
}
