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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from copool._core import (
        Coroutine,
        CoroutineError,
        CoroutineExit,
        PoolExhausted,
        __version__,
        current,
        gettrace,
        in_coroutine,
        on_thread_stack,
        settrace,
        trim,
        yield_,
    )
    from copool._dump import dump, dump_off, dump_on, note
    from copool._pool import ChainStats, Counts, PoolStats, configure, stats
    from copool._tools import follow, profile
    from copool._watch import Hold, Watch, watch

__all__ = [
    "ChainStats",
    "Coroutine",
    "CoroutineError",
    "CoroutineExit",
    "Counts",
    "Hold",
    "PoolExhausted",
    "PoolStats",
    "Watch",
    "__version__",
    "configure",
    "current",
    "dump",
    "dump_off",
    "dump_on",
    "follow",
    "gettrace",
    "in_coroutine",
    "note",
    "on_thread_stack",
    "profile",
    "settrace",
    "stats",
    "trim",
    "watch",
    "yield_",
]

if not TYPE_CHECKING:
    _MODULES = ("_core", "_dump", "_pool", "_tools", "_watch")

    def __getattr__(name):
        """Load the core when it is first used; not every process that inherits us does.

        That fills in all names and removes this function: the interpreter caches
        the places of names only in a module that has no `__getattr__`.
        """
        if name not in __all__ and name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import copool._core
        import copool._dump
        import copool._pool
        import copool._tools
        import copool._watch

        package = globals()
        loaded = vars(copool._core) | vars(copool._dump) | vars(copool._pool)
        loaded |= vars(copool._tools) | vars(copool._watch)
        package.update({public: loaded[public] for public in __all__})
        package.pop("__getattr__", None)
        return package[name]

    def __dir__():
        return sorted({*globals(), *__all__})
