"""cffi: callbacks of libffi's, sorted by C's qsort(), in one compiled module."""

from functools import partial

from building import build
from cffi import FFI
from hosts import pause

DISTRIBUTION = "cffi"
HEADER = """
    int descend(int levels, int (*leaf)(int, void *), void *data);
    typedef int comparing(const void *, const void *);
    void qsort(void *base, size_t count, size_t size, comparing *compare);
"""
SOURCE = """
    #include <stdlib.h>
    typedef int comparing(const void *, const void *);
    static int descend(int levels, int (*leaf)(int, void *), void *data)
    {
        volatile char room[200] = {(char)levels};
        if (levels == 0)
            return leaf(levels, data);
        return descend(levels - 1, leaf, data) + (room[0] == (char)levels);
    }
"""


def _compile(folder):
    ffi = FFI()
    ffi.cdef(HEADER)
    ffi.set_source("copool_cffi", SOURCE)
    ffi.compile(tmpdir=str(folder))


module = build("copool_cffi", _compile, HEADER + SOURCE)
ffi, lib = module.ffi, module.lib


def _called(levels, fn):
    leaf = ffi.callback("int(int, void *)", lambda level, _: fn(level))
    return lib.descend(levels, leaf, ffi.NULL)


def _sorted(numbers, before=lambda: None):
    array = ffi.new("int[]", numbers)

    def compare(a, b):
        before()
        a, b = (ffi.cast("const int *", pointer)[0] for pointer in (a, b))
        return (a > b) - (a < b)

    compared = ffi.callback("comparing *", compare)
    lib.qsort(array, len(numbers), ffi.sizeof("int"), compared)
    return list(array)


def small():
    return [_called(3, lambda level: 40), _sorted([3, 1, 2])]


def heavy():
    return [
        _called(10_000, lambda level: 1),
        _sorted([n * 7919 % 10007 for n in range(3000)]),
    ]


def callback(number):
    called = _called(50, lambda level: pause() or number * 1000)
    return [called, _sorted([3, number, 1, 2], pause)]


def exception():
    """C has no exceptions: what one does in a callback is for a handler to say."""
    failed = []

    def fail(*_):
        pause()
        raise LookupError("from below C")

    with_handler = partial(ffi.callback, "int(int, void *)", error=-5)
    leaf = with_handler(fail, onerror=lambda kind, value, _: failed.append(value))
    assert lib.descend(20, leaf, ffi.NULL) == 15
    raise failed[0]
