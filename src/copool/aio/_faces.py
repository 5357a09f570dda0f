"""Functions as awaitables, and asynchronous things as plain ones."""

import functools
import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Generic, NoReturn, ParamSpec, Self, TypeVar, overload

from copool._core import Bridge, _hold, _release, await_, run_sync

__all__ = ["asyncify", "atomic", "enter", "function", "iterate"]

_NOTHING = object()

P = ParamSpec("P")
T = TypeVar("T")


def asyncify(fn: Callable[P, T], /) -> Callable[P, Awaitable[T]]:
    """Make an asynchronous function of a plain one, below which `await_()` works.

    Its calls return what `run_sync(fn, ...)` does: nothing runs before the `await`.
    The result counts as a coroutine function (`inspect.iscoroutinefunction()`; on 3.11,
    asyncio's). Also a decorator, for functions and methods, then called `function`.
    All of it stays in the loop's thread. Raises TypeError for what can't be called.

    >>> import asyncio, copool.aio
    >>> @copool.aio.function
    ... def total(numbers):
    ...     return sum(map(copool.aio.await_, numbers))
    >>> async def number(n):
    ...     return n
    >>> asyncio.run(total([number(1), number(2)]))
    3
    """
    if not callable(fn):
        raise TypeError(f"asyncify() needs a callable, not {type(fn).__name__}")

    @functools.wraps(fn)
    def call(*args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return run_sync(fn, *args, **kwargs)

    return _mark(call)


function = asyncify


def _mark(call: Callable[P, T]) -> Callable[P, T]:
    if hasattr(inspect, "markcoroutinefunction"):
        inspect.markcoroutinefunction(call)
    else:
        # What asyncio.iscoroutinefunction() looks for up to 3.11.
        from asyncio import coroutines

        call._is_coroutine = coroutines._is_coroutine  # type: ignore[attr-defined]
    return call


def iterate(iterable: AsyncIterable[T], /) -> Iterator[T]:
    """Iterate over an asynchronous iterable with a plain `for`.

    Like `async for`, it does not close what it has not used up; for that there is
    `with enter(contextlib.aclosing(generator)) as items`. All of it stays in the loop's
    thread. Raises TypeError for another iterable, and what `await_()` raises.

    >>> import copool.aio
    >>> async def numbers():
    ...     yield 1
    ...     yield 2
    >>> async def main():
    ...     return list(copool.aio.iterate(numbers()))
    >>> copool.aio.run(main())
    [1, 2]
    """
    iterator = aiter(iterable)
    while True:
        try:
            item = await_(anext(iterator))
        except StopAsyncIteration:
            return
        yield item


class enter(Generic[T]):
    """Enter an asynchronous context manager with a plain `with`.

    All of it stays in the loop's thread. Raises TypeError for another manager, and what
    `await_()` raises.

    >>> import asyncio, copool.aio
    >>> lock = asyncio.Lock()
    >>> async def main():
    ...     with copool.aio.enter(lock):
    ...         return lock.locked()
    >>> copool.aio.run(main()), lock.locked()
    (True, False)
    """

    def __init__(self, manager: AbstractAsyncContextManager[T], /) -> None:
        kind = type(manager)
        try:
            self._aenter, self._aexit = kind.__aenter__, kind.__aexit__
        except AttributeError:
            raise TypeError(
                f"enter() needs an asynchronous context manager, not {kind.__name__}"
            ) from None
        self._manager = manager

    def __enter__(self) -> T:
        return await_(self._aenter(self._manager))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await_(self._aexit(self._manager, kind, value, traceback))


class atomic:
    """A block in which nothing else of the loop runs: `with atomic(): ...`.

    An `await_()` in it that would have to wait raises CoroutineError instead, whatever
    depth of calls it is at. One that need not wait, and a plain `await`, which can be
    seen, are not affected. Does nothing where `await_()` doesn't work anyway.

    Also a decorator, `@atomic` or `@atomic()`, of functions each of whose calls is then
    such a block. Not of those whose calls only make something that runs later: it
    raises TypeError for an `async def` and for a generator. Other threads are not
    affected: against these a lock is needed, as ever.

    >>> import asyncio, copool.aio
    >>> async def main():
    ...     with copool.aio.atomic():
    ...         copool.aio.await_(asyncio.sleep(0))
    >>> copool.aio.run(main())
    Traceback (most recent call last):
    copool.CoroutineError: await_() can't wait here: it is in a block of ...
    """

    _held: list[Bridge[Any] | None]

    @overload
    def __new__(cls) -> Self: ...

    @overload
    def __new__(cls, fn: Callable[P, T], /) -> Callable[P, T]: ...  # type: ignore[misc]

    def __new__(cls, fn: Any = _NOTHING, /) -> Any:  # type: ignore[misc]
        """Make a block, or a function of one if it is given."""
        self = super().__new__(cls)
        self._held = []
        return self if fn is _NOTHING else self(fn)

    def __call__(self, fn: Callable[P, T], /) -> Callable[P, T]:
        """Make a function whose calls are blocks, each by itself."""
        _check_runs_at_once(fn)

        @functools.wraps(fn)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            held = _hold()
            try:
                return fn(*args, **kwargs)
            finally:
                _release(held)

        return call

    def __enter__(self) -> None:
        self._held.append(_hold())

    def __exit__(self, *_: object) -> None:
        held = self._held
        _release(held.pop() if len(held) == 1 else held.pop(self._find()))

    def _find(self) -> int:
        """Return which one it is that ends: that of the task which asks."""
        mine = _hold()
        _release(mine)
        places = [at for at, held in enumerate(self._held) if held is mine]
        return places[-1] if places else -1

    def __reduce__(self) -> NoReturn:
        raise TypeError("an atomic() can't be pickled or copied: make another one")


def _check_runs_at_once(fn: Any) -> None:
    """Raise TypeError for what a block around its call would not hold together."""
    if not callable(fn) or isinstance(fn, type):
        kind = "a class" if isinstance(fn, type) else type(fn).__name__
        raise TypeError(f"atomic() decorates functions, not {kind}")
    for what in (fn, getattr(fn, "__call__", None)):  # noqa: B004
        if (
            inspect.iscoroutinefunction(what)
            or inspect.isgeneratorfunction(what)
            or inspect.isasyncgenfunction(what)
            or hasattr(what, "_is_coroutine")  # see _mark()
        ):
            raise TypeError(
                f"atomic() can't decorate {fn!r}, whose calls run later: put "
                "`with atomic():` into it, around what must stay together"
            )
