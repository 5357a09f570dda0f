"""Lets SQLAlchemy wait wherever `await_()` can: at an attribute that loads itself.

SQLAlchemy's asyncio runs its own plain code in a greenlet, which `greenlet_spawn()`
makes, and waits in it by switching to the parent. Below a task of copool's there is
no need for one: the chain of calls can be stopped as it is. So some of its functions
get other code: `greenlet_spawn()` just calls where a wait is possible, the function
that waits does so by `await_()`, and `in_greenlet()` says whether it can. They stay
the same objects, so that it doesn't matter who has imported them by name; elsewhere
they do what they did.
"""

import asyncio
import functools
import inspect
import os
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import nullcontext
from types import FunctionType, ModuleType
from typing import Any, TypeVar

from copool._core import CoroutineError, await_, can_await
from copool._settings import flag
from copool.aio._faces import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

__all__ = ["lazy_loads"]

T = TypeVar("T")

# What the functions below find in the module whose code they become.
__copool__: "_Adapter" = None  # type: ignore[assignment]

# Where SQLAlchemy has them, in 2.1 and in 2.0; and where its pools are.
_WAITING = ("sqlalchemy.util.concurrency", "sqlalchemy.util._concurrency_py3k")
_POOLS = "sqlalchemy.pool.base"
_MODULES = (*_WAITING, _POOLS)


def lazy_loads(wanted: bool = True) -> None:
    """Let SQLAlchemy's attributes load themselves below tasks, or no longer.

    So it is once `copool.aio` is imported: wherever `await_()` can wait, so can each
    plain call and access by which SQLAlchemy's asyncio comes to its database. Where it
    can't, there is an error that says why and is both a `CoroutineError` and
    SQLAlchemy's `MissingGreenlet`. After `lazy_loads(False)`, or with
    `COPOOL_LAZY_LOADS=0` in the environment, SQLAlchemy does what it does without
    copool. It holds for all threads; not to be called while SQLAlchemy waits. Never
    raises.

    >>> import copool.aio
    >>> copool.aio.lazy_loads(False)  # MissingGreenlet, as ever
    >>> copool.aio.lazy_loads()
    """
    global _wanted
    _wanted = wanted
    for name in _MODULES:
        if module := sys.modules.get(name):
            _adapt(module)
    if wanted and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


_wanted = False


def _adapt(module: ModuleType) -> None:
    """Give SQLAlchemy's module, once it was executed, the code that is wanted."""
    names = vars(module)
    if module.__name__ == _POOLS:
        if finalize := names.get("_finalize_fairy"):
            names["_finalize_fairy"] = _without_waits(finalize)
        return
    if "__copool__" not in names:
        if not all(_fits(names.get(name), ours) for name, ours in _needed(module)):
            return
        names["__copool__"] = _Adapter(module)
    names["__copool__"].switch(_wanted)


class _Finder:
    """Sees to it that SQLAlchemy is adapted as soon as it is imported."""

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> "ModuleSpec | None":
        """Find what the other finders do, and have it adapted after its execution."""
        if name not in _MODULES:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        for find in (getattr(finder, "find_spec", None) for finder in others):
            if find and (spec := find(name, path, target)):
                if hasattr(spec.loader, "exec_module"):
                    _adapt_after(spec.loader)
                return spec  # type: ignore[no-any-return]
        return None


def _adapt_after(loader: Any) -> None:
    """Have a loader adapt what it executes; it stays, since tracebacks ask it."""
    execute = loader.exec_module

    def execute_and_adapt(module: ModuleType) -> None:
        execute(module)
        # A loader may be that of many modules.
        if module.__name__ in _MODULES:
            _adapt(module)

    loader.exec_module = execute_and_adapt


# --- the code of SQLAlchemy's functions, which runs in its module ---------------------


def _wait(awaitable: Awaitable[T]) -> T:
    if __copool__.can_await():
        __copool__.waits.number += 1
        return __copool__.await_(awaitable)
    return __copool__.wait_elsewhere(awaitable)


def _wait_or_run(awaitable: Awaitable[T]) -> T:
    if __copool__.can_await():
        __copool__.waits.number += 1
        return __copool__.await_(awaitable)
    return __copool__.wait_or_run_elsewhere(awaitable)


def _in_greenlet() -> bool:
    return __copool__.can_await() or __copool__.before["in_greenlet"]()


async def _spawn(
    fn: Callable[..., T], *args: Any, _require_await: bool = False, **kwargs: Any
) -> T:
    if not __copool__.calls():
        spawn = __copool__.before["greenlet_spawn"]
        return await spawn(fn, *args, _require_await=_require_await, **kwargs)  # type: ignore[no-any-return]
    if _require_await:
        return __copool__.call_and_see(fn, args, kwargs)
    return fn(*args, **kwargs)


# --- what that code calls -------------------------------------------------------------


class _Waits(threading.local):
    """How often a thread has waited for SQLAlchemy."""

    number = 0


class _Ended:
    """What SQLAlchemy takes for a greenlet that has not switched: see `refuse`."""

    dead = True

    def __init__(self, fn: Callable[..., object], driver: None) -> None:
        self.switch = fn

    @staticmethod
    def getcurrent() -> None:
        pass


_Ended._AsyncIoGreenlet = _Ended  # type: ignore[attr-defined]


class _Adapter:
    """What is called by that code: a global of SQLAlchemy's module."""

    def __init__(self, module: ModuleType) -> None:
        functions = [(vars(module)[name], ours) for name, ours in _needed(module)]
        self.codes = [(f, f.__code__, ours.__code__) for f, ours in functions]
        self.before = {f.__name__: _copy(f) for f, _ in functions}
        self.refuse = _copy(
            vars(module)["greenlet_spawn"],
            _concurrency_shim=_Ended,
            _AsyncIoGreenlet=_Ended,
            getcurrent=_Ended.getcurrent,
        )
        self.name = functions[0][0].__name__
        self.module: Any = module
        self.can_await = can_await
        self.await_ = await_
        self.waits = _Waits()

    def switch(self, ours: bool) -> None:
        """Give the functions our code, or that of before."""
        for function, before, after in self.codes:
            function.__code__ = after if ours else before

    def calls(self) -> bool:
        """Whether to call what is to be spawned.

        Not where nobody can wait, nor while someone watches the greenlets switch, as
        the tests of cancelling that SQLAlchemy has for dialects do.
        """
        if not can_await():
            return False
        module = self.module
        kind = getattr(module, "_concurrency_shim", module)._AsyncIoGreenlet
        return "switch" not in vars(kind) and "throw" not in vars(kind)

    def call_and_see(
        self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> T:
        """Call what has to come to an await, with SQLAlchemy's error if it has not."""
        before = self.waits.number
        result = fn(*args, **kwargs)
        # If it has not waited then nothing else of this thread has, meanwhile.
        if self.waits.number == before:
            self.refuse(lambda: result, _require_await=True).send(None)
        return result

    def wait_or_run_elsewhere(self, awaitable: Awaitable[T]) -> T:
        """Do the same, or let a loop run that doesn't."""
        if asyncio._get_running_loop() is None:
            return self.before["await_fallback"](awaitable)  # type: ignore[no-any-return]
        return self.wait_elsewhere(awaitable)

    def wait_elsewhere(self, awaitable: Awaitable[T]) -> T:
        """Wait in a greenlet of SQLAlchemy's, or say why that can't be."""
        if self.before["in_greenlet"]():
            return self.before[self.name](awaitable)  # type: ignore[no-any-return]
        # What begins to use a connection and can't go on with it leaves it unusable.
        try:
            await_(_Turn())
        except CoroutineError as error:
            if type(error) is not CoroutineError:
                raise
            # It was made to be awaited here, and nobody else has it.
            self.module._safe_cancel_awaitable(awaitable)
            raise can_not_wait()(
                "SQLAlchemy has to wait for the database here, as it does where an "
                f"attribute is loaded on access: {error}"
            ) from None
        return await_(awaitable)


class _Turn:
    """Has to wait for the next turn of the loop."""

    def __await__(self) -> Generator[None, None, None]:
        yield


@functools.cache
def can_not_wait() -> type[CoroutineError]:
    """Return `CantWait`. Raises ImportError if there is no SQLAlchemy."""
    from sqlalchemy.exc import MissingGreenlet

    class CantWait(CoroutineError, MissingGreenlet):
        """SQLAlchemy would have to wait where a task can't."""

        code = ""  # no link to what SQLAlchemy says of its own error

    CantWait.__module__, CantWait.__qualname__ = "copool.aio", "CantWait"
    return CantWait


def _without_waits(finalize: Callable[..., None]) -> Callable[..., None]:
    """Let a pool not wait when it is told that a connection's user is gone.

    Nothing gets out of such a callback: a cancellation that came would be lost. So it
    is as without copool, where that is no place to wait: the connection is cut off.
    """
    if hasattr(finalize, "__wrapped__"):
        return finalize

    @functools.wraps(finalize)
    def finalize_without_waits(
        connection: object, record: object, pool: object, *args: Any, **kwargs: Any
    ) -> None:
        # How that is told in 2.1, and in 2.0.
        is_gone = kwargs.get("is_gc_cleanup") or isinstance(args[0], weakref.ref)
        with atomic() if _wanted and is_gone and can_await() else nullcontext():
            finalize(connection, record, pool, *args, **kwargs)

    return finalize_without_waits


def _needed(module: ModuleType) -> list[tuple[str, Callable[..., Any]]]:
    """Return the names of its functions, first the one that waits, with ours."""
    names: dict[str, Callable[..., Any]]
    names = {"in_greenlet": _in_greenlet, "greenlet_spawn": _spawn}
    if module.__name__ == _WAITING[0]:
        return [("await_", _wait), *names.items()]
    return [("await_only", _wait), ("await_fallback", _wait_or_run), *names.items()]


def _fits(function: object, ours: Callable[..., Any]) -> bool:
    """Whether a function can be given the code of another one."""
    return (
        isinstance(function, FunctionType)
        and not function.__closure__
        and inspect.signature(function).parameters.keys()
        == inspect.signature(ours).parameters.keys()
    )


def _copy(function: FunctionType, **others: object) -> Callable[..., Any]:
    """Return a function that goes on with the code that this one has now.

    If it is to find other globals in its module, then these are a copy.
    """
    found = {**function.__globals__, **others} if others else function.__globals__
    copy = FunctionType(function.__code__, found, function.__name__)
    copy.__defaults__ = function.__defaults__
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


lazy_loads(flag(os.environ, "COPOOL_LAZY_LOADS") is not False)
