"""Stackful coroutines at the price of a generator.

>>> import copool
>>> def walk(tree):
...     if isinstance(tree, list):
...         for branch in tree:
...             walk(branch)
...     else:
...         copool.yield_(tree)
>>> for leaf in copool.Coroutine(lambda: walk([1, [2, [3]]])):
...     print(leaf)
1
2
3
"""

from copool._core import (
    Coroutine,
    CoroutineError,
    CoroutineExit,
    PoolExhausted,
    __version__,
    current,
    in_coroutine,
    trim,
    yield_,
)
from copool._pool import PoolStats, configure, stats

__all__ = [
    "Coroutine",
    "CoroutineError",
    "CoroutineExit",
    "PoolExhausted",
    "PoolStats",
    "__version__",
    "configure",
    "current",
    "in_coroutine",
    "stats",
    "trim",
    "yield_",
]
