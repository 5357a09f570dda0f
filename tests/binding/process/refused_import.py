"""Imports copool while an allocation that this causes fails, and then once more.

    LD_PRELOAD=refuse.so python refused_import.py refuse.so once|on N

It prints how many were refused.
"""

import contextlib
import ctypes
import importlib.util
import sys

from refusing import load


def use():
    """Import what there is of it, and make what is made when first asked for."""
    import copool._core

    return copool._core._greenlet_names()


def main(path, mode, n):
    module = importlib.util.find_spec("copool._core").origin
    ctypes.CDLL(module)  # it has a place now, and has not run
    library = load(path, module)
    first = int(n)
    with contextlib.suppress(MemoryError, ImportError):
        library.refuse_while(use, first, first if mode == "once" else 1 << 40)
    refused = library.refuse_count()

    names = use()
    import copool

    assert list(copool.Coroutine(lambda: copool.yield_(1))) == [1]
    assert names["greenlet"](int).switch() == 0
    assert {"getcurrent", "GreenletExit", "error"} <= set(dir(names["greenlet"]))
    assert copool._core.check()
    print(refused)
    print("end")


main(*sys.argv[1:])
