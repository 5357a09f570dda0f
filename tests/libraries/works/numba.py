"""numba: compiles with LLVM in the host, and calls back into Python from its code."""

import numba
import numpy as np
from hosts import pause
from numba import njit, objmode, prange

DISTRIBUTION = "numba"


def small():
    return njit(lambda a, b: a * b + 1)(6, 7)


def heavy():
    @njit(parallel=True, fastmath=False)
    def norms(a):
        sums = np.zeros(a.shape[0])
        for row in prange(a.shape[0]):
            for column in range(a.shape[1]):
                sums[row] += a[row, column] ** 2
        return np.sqrt(sums)

    @njit
    def fibonacci(n):
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    @njit
    def levels(n):
        return 0 if n == 0 else 1 + levels(n - 1)

    a = np.arange(40_000.0).reshape(200, 200)
    return [norms(a), fibonacci(24), levels(2000), numba.vectorize(lambda x: x * 2)(a)]


def _stop(value):
    pause()
    return value + 1.0


@njit
def _with_python(number):
    total = 0.0
    for turn in range(4):
        with objmode(value="float64"):
            value = _stop(number * turn)
        total += value
    return total


def callback(number):
    return _with_python(float(number))


@njit
def _divided(a, b):
    return a // b


def exception():
    _divided(1, 0)
