"""scipy: an OpenBLAS of its own, and callbacks from C, C++ and Cython.

Those of quad, fsolve, leastsq and the solvers in Fortran are not here: see the page.
"""

import numpy as np
from hosts import pause
from scipy import linalg, ndimage, optimize, sparse, spatial
from scipy.sparse.linalg import LinearOperator, eigsh, splu

DISTRIBUTION = "scipy"


def _matrix(n):
    return np.random.default_rng(n).standard_normal((n, n)) + n**0.5 * np.eye(n)


def small():
    return linalg.solve(_matrix(5), np.arange(5.0))


def heavy():
    answers = []
    for n in (100, 500, 1000):
        a = _matrix(n)
        b = np.arange(1.0 * n)
        x = linalg.solve(a, b)
        assert np.abs(a @ x - b).max() < 1e-6 * n, f"solve at {n} is wrong"
        inverse = linalg.inv(a)
        assert np.abs(a @ inverse - np.eye(n)).max() < 1e-8, f"inv at {n} is wrong"
        again = linalg.lu_solve(linalg.lu_factor(a), b)
        assert np.abs(again - x).max() < 1e-8 * n, f"lu_solve at {n} is wrong"
        answers += [x, inverse, float(linalg.det(a / n**0.5))]
    permutation, lower, upper = linalg.lu(_matrix(300))
    assert np.abs(permutation @ lower @ upper - _matrix(300)).max() < 1e-10
    values = linalg.svdvals(_matrix(300))
    exponential = linalg.expm(_matrix(200) / 200)
    poisson = sparse.diags_array(
        [-1.0, 2.5, -1.0], offsets=(-1, 0, 1), shape=(5000,) * 2
    )
    solved = splu(poisson.tocsc()).solve(np.ones(5000))
    return [*answers, values, exponential, solved]


def callback(number):
    def called(x):
        pause()
        return (x - number - 1) * (x + 3)

    root = optimize.brentq(called, 0, number + 9.5)
    filtered = ndimage.generic_filter(
        np.arange(9.0).reshape(3, 3),
        lambda w: pause() or w.sum() * (number + 1),
        size=3,
    )
    points = np.arange(6.0).reshape(3, 2)
    distances = spatial.distance.cdist(
        points, points, lambda a, b: pause() or abs(a - b).sum() + number
    )
    times = np.arange(1.0, 31) + number
    operator = LinearOperator(
        (30, 30), matvec=lambda v: pause() or times * v.ravel(), dtype=float
    )
    largest = eigsh(operator, k=2, v0=np.ones(30), return_eigenvectors=False)
    least = optimize.minimize(
        lambda x: pause() or ((x - number) ** 2).sum(), [5.0, 7.0], method="L-BFGS-B"
    )
    return [
        float(root),
        filtered,
        distances,
        np.sort(largest).round(6),
        least.x.round(4),
    ]


def exception():
    def fail(x):
        pause()
        raise KeyError("from below brentq")

    optimize.brentq(fail, 0, 1)
