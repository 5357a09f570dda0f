"""sympy: recursion in Python, and code that it makes; integers of gmpy2."""

import sympy
from sympy import Symbol, expand, factor, integrate, lambdify, sin, solve

DISTRIBUTION = "sympy"
x, y = Symbol("x"), Symbol("y")


def small():
    return str(expand((x + 1) ** 5))


def heavy():
    deep = x
    for n in range(40):
        deep = sin(deep + n)
    polynomial = sum(n * x**n for n in range(700))
    return [
        str(factor(x**12 - 1)),
        str(integrate(x**2 * sympy.exp(x), x)),
        sorted(map(str, solve([x**2 + y**2 - 5, x - y - 1], [x, y]))),
        float(lambdify(x, deep.diff(x))(0.5)),
        lambdify(x, polynomial)(3),
        str(sympy.Matrix(4, 4, range(16)).charpoly(x).as_expr()),
        sympy.factorint(2**97 + 1),
    ]


def exception():
    sympy.sympify("x +* 1")
