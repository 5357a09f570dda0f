"""numpy: OpenBLAS' LU on two threads has frames of half a megabyte and recurses."""

import numpy as np
from hosts import pause

DISTRIBUTION = "numpy"


def _matrix(n):
    return np.random.default_rng(n).standard_normal((n, n)) + n**0.5 * np.eye(n)


def small():
    return np.linalg.solve(_matrix(4), np.arange(4.0))


def heavy():
    answers = []
    for n in (100, 500, 1000):
        a = _matrix(n)
        b = np.arange(n * 2.0).reshape(n, 2)
        x = np.linalg.solve(a, b)
        assert np.abs(a @ x - b).max() < 1e-6 * n, f"solve at {n} is wrong"
        inverse = np.linalg.inv(a)
        assert np.abs(a @ inverse - np.eye(n)).max() < 1e-8, f"inv at {n} is wrong"
        answers += [x, inverse, float(np.linalg.det(a / n**0.5))]
    a = _matrix(200)
    u, s, v = np.linalg.svd(a)
    assert np.abs(u * s @ v - a).max() < 1e-9, "svd is wrong"
    return [*answers, s, np.abs(np.linalg.eigvals(a)).sum().item()]


def callback(number):
    def times(row):
        pause()
        return row * (number + 1)

    applied = np.apply_along_axis(times, 1, np.arange(12.0).reshape(4, 3))
    called = np.frompyfunc(lambda x: pause() or x + number, 1, 1)(np.arange(4))
    array = np.fromiter((pause() or x for x in range(number, 9)), float)
    return [applied, list(called), array]


def exception():
    def fail(row):
        pause()
        return np.linalg.inv(np.zeros((3, 3)))

    np.apply_along_axis(fail, 1, np.ones((2, 3)))
