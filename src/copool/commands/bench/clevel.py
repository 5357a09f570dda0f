"""The C level: copool's core without Python, and what it is compared with.

The library is built from `benchmarks/` and lies beside this module. A thread is
parked while it is in use, for every subject alike: in a process with one thread
glibc's mutex leaves its atomic instructions out, and what pools cost there is
not what they cost in programs that have threads.
"""

from __future__ import annotations

import ctypes
import functools
from importlib import resources

from copool.commands.bench.model import (
    BenchError,
    ImpossibleError,
    Sample,
    WrongResultError,
)
from copool.commands.bench.subjects import NESTING

POLICIES = ("none", "mutex", "release", "magazine")
OTHERS = ("ucontext", "boost", "fcontext")
_OF_BOOST = ("boost", "fcontext")
_WRONG, _REFUSED = -2, -3


@functools.cache
def library() -> ctypes.CDLL:
    """Load the library, once."""
    path = resources.files("copool.commands.bench") / "libcorebench.so"
    try:
        lib = ctypes.CDLL(str(path))
    except OSError as error:
        raise BenchError(
            f"the C part of the benchmark cannot be loaded ({error}); install"
            " copool again with `pip install --force-reinstall 'copool[bench]'`"
        ) from None
    lib.corebench_run.restype = ctypes.c_int64
    lib.corebench_run.argtypes = (
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_long,
        ctypes.c_long,
    )
    lib.corebench_why.restype = ctypes.c_char_p
    lib.corebench_compiler.restype = ctypes.c_char_p
    return lib


def has_boost() -> bool:
    """Tell whether Boost.Context was there when the library was built."""
    return bool(library().corebench_has_boost())


def compiler() -> str:
    """Return the name and version of the compiler of the core."""
    return bytes(library().corebench_compiler()).decode()


def mark() -> None:
    """Call the function at which the instruction counter starts anew."""
    library().corebench_mark()


class CWork:
    """A case by a subject at the C level. Every operation is verified there."""

    def __init__(self, case: str, subject: str, *, width: int = 0) -> None:
        self.case = case
        self.subject = subject
        self.width = width

    def __call__(self, n: int, *, count: bool) -> Sample:
        """Do it n times, n times round, or n times in every thread."""
        if self.subject in _OF_BOOST and not has_boost():
            raise ImpossibleError("not installed (Debian: libboost-context-dev)")
        result = library().corebench_run(
            self.case.encode(), self.subject.encode(), n, self.width
        )
        if result == _REFUSED:
            raise ImpossibleError(bytes(library().corebench_why()).decode())
        if result == _WRONG:
            raise WrongResultError(f"{self.case} by {self.subject}: wrong result")
        if result < 0:
            raise BenchError(f"no case {self.case!r} by {self.subject!r}")
        wide = {"nesting": NESTING, "crowd": self.width, "threads": self.width}
        operations = n * wide.get(self.case, 1)
        return Sample(result, operations, operations)
