"""Cython: a module that it translates, with and without the GIL, and C's qsort()."""

import sys
import sysconfig

from building import build, run
from hosts import pause

DISTRIBUTION = "Cython"
SOURCE = """
# cython: language_level=3
from libc.stdlib cimport free, malloc, qsort

cdef int compare(const void *a, const void *b) noexcept with gil:
    stop()
    return (<int *>a)[0] - (<int *>b)[0]

stop = None

def sort(numbers, before):
    global stop
    stop = before
    cdef int count = len(numbers)
    cdef int *array = <int *>malloc(count * sizeof(int))
    for i in range(count):
        array[i] = numbers[i]
    with nogil:
        qsort(array, count, sizeof(int), compare)
    found = [array[i] for i in range(count)]
    free(array)
    return found

cdef long down(long levels, object leaf) except? -1:
    if levels == 0:
        return leaf()
    return down(levels - 1, leaf) + 1

def descend(long levels, leaf):
    return down(levels, leaf)

cdef class Walk:
    cdef object leaf
    def __init__(self, leaf):
        self.leaf = leaf
    def __iter__(self):
        for number in range(4):
            yield self.leaf(number)
    def __call__(self, int levels):
        return self.leaf(levels) if levels == 0 else self(levels - 1)
"""


def _compile(folder):
    (folder / "copool_cython.pyx").write_text(SOURCE)
    run(sys.executable, "-m", "cython", "-3", "copool_cython.pyx", folder=folder)
    include = sysconfig.get_path("include")
    run(
        *("gcc", "-O2", "-shared", "-fPIC", f"-I{include}", "copool_cython.c"),
        *("-o", "copool_cython.so"),
        folder=folder,
    )


module = build("copool_cython", _compile, SOURCE)


def small():
    return [module.descend(3, lambda: 40), module.sort([3, 1, 2], lambda: None)]


def heavy():
    numbers = [n * 7919 % 10007 for n in range(5000)]
    return [module.descend(20_000, lambda: 1), module.sort(numbers, lambda: None)]


def callback(number):
    walk = module.Walk(lambda n: pause() or n * (number + 1))
    return [
        module.sort([3, number, 1, 2], pause),
        module.descend(50, lambda: pause() or number * 1000),
        list(walk),
        walk(30),
    ]


def exception():
    def fail():
        pause()
        raise LookupError("from below Cython")

    module.descend(50, fail)
