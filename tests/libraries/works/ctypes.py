"""ctypes, of the standard library: C's qsort() and bsearch(), which call Python."""

import ctypes
import sys
from ctypes import CFUNCTYPE, POINTER, c_int, c_size_t, c_void_p

from hosts import pause

NAME = "ctypes, standard library"
VERSION = ".".join(map(str, sys.version_info[:3]))
C = ctypes.CDLL(None)
COMPARE = CFUNCTYPE(c_int, POINTER(c_int), POINTER(c_int))
C.bsearch.restype = c_void_p


def _sorted(numbers, before=lambda: None):
    array = (c_int * len(numbers))(*numbers)

    @COMPARE
    def compare(a, b):
        before()
        return (a[0] > b[0]) - (a[0] < b[0])

    size = c_size_t(ctypes.sizeof(c_int))
    C.qsort(array, c_size_t(len(numbers)), size, compare)
    wanted = c_int(numbers[0])
    found = C.bsearch(
        ctypes.byref(wanted), array, c_size_t(len(numbers)), size, compare
    )
    return [list(array), (found - ctypes.addressof(array)) // size.value]


def small():
    return _sorted([3, 1, 2])


def heavy():
    """The first comparison of a sort sorts in turn, until it is 60 deep."""

    def nested(levels):
        down = iter([lambda: nested(levels - 1)] if levels else [])
        return _sorted([levels, 1, 5], lambda: next(down, lambda: None)())

    return [nested(60), _sorted([n * 7919 % 10007 for n in range(3000)])]


def callback(number):
    return _sorted([3, number, 1, 2], pause)


def exception():
    C.qsort(object(), 1, 1, COMPARE(lambda a, b: 0))
