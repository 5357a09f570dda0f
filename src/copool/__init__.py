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
    import _imp
    import sys as _sys
    from _thread import get_ident as _get_ident

    # Of these names each is the core's own, not one that stands in front of it.
    _CORE = {
        *("Coroutine", "CoroutineError", "CoroutineExit", "PoolExhausted"),
        *("__version__", "current", "gettrace", "in_coroutine", "on_thread_stack"),
        *("settrace", "trim", "yield_"),
    }
    _MODULES = ("_core", "_dump", "_pool", "_tools", "_watch")
    _loading = set()  # the threads that load the modules now
    _others = []  # see _core_at_once()

    def __getattr__(name):
        """Load the core when it is first used; not every process that inherits us does.

        That fills in all names and removes this function: the interpreter caches the
        places of names only in a module that has no `__getattr__`.

        A signal handler may come in the middle of any of it and use us, too.
        """
        if name not in __all__ and name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        thread = _get_ident()
        if thread in _loading:
            return _meanwhile(name)
        _loading.add(thread)
        try:
            return _load(name)
        finally:
            _loading.discard(thread)

    def _load(name):
        core = _module("_core")
        _module("_settings")
        try:
            modules = {module: _module(module) for module in _MODULES}
        except (ImportError, AttributeError):
            # Where a handler has interrupted the import of a module that these need,
            # such as dataclasses, the core still works. The rest is for another time.
            if name == "_core":
                return core
            if name in _CORE:
                return vars(core)[name]
            raise
        package = globals()
        loaded = {}
        for module in modules.values():
            loaded |= vars(module)
        package.update({public: loaded[public] for public in __all__})
        package.pop("__getattr__", None)
        return modules[name] if name in modules else package[name]

    def _module(name):
        name = f"{__name__}.{name}"
        __import__(name)
        # Not as an attribute of ours, which it becomes a moment later only.
        module = _sys.modules[name]
        if _is_complete(module):
            return module
        # A handler has raised an exception at a point at which the import left it as
        # it was, or is still running and has interrupted an import that is not ours.
        _sys.modules.pop(name, None)
        __import__(name)
        return _sys.modules[name]

    def _is_complete(module):
        return not getattr(module.__spec__, "_initializing", False)

    def _meanwhile(name):
        """Return what is asked for in the middle of loading, by the same thread."""
        core = _core_at_once()
        if name == "_core":
            return core
        if name in _CORE:
            return vars(core)[name]
        for module in _MODULES[1:]:
            found = _sys.modules.get(f"{__name__}.{module}")
            if found and _is_complete(found):
                if name == module:
                    return found
                if name in __all__ and name in vars(found):
                    return vars(found)[name]
        raise ImportError(
            f"copool.{name} is still being imported, which this signal handler has "
            "interrupted: use copool once before the handler is set"
        )

    def _core_at_once():
        """Return the core, maybe as another module than the one that is being made.

        They have the same state, types and functions. The next signal may come before
        this has returned, so it is as short as it can be.
        """
        core = _sys.modules.get(_Place.name)
        if core and "__version__" in vars(core):  # the last one that it gets
            return core
        if not _others:
            try:
                file = f"{__path__[0]}/_core{_imp.extension_suffixes()[0]}"
                core = _imp.create_dynamic(_Place(file))
            except ImportError:  # it lies elsewhere, as it does before it is installed
                specs = (f.find_spec(_Place.name, __path__) for f in _sys.meta_path)
                core = _imp.create_dynamic(next(spec for spec in specs if spec))
            _imp.exec_dynamic(core)
            _others.append(core)
        return _others[0]

    class _Place:
        """As much of a module's spec as that takes."""

        name = f"{__name__}._core"

        def __init__(self, origin):
            self.origin = origin

    def __dir__():
        return sorted({*globals(), *__all__})
