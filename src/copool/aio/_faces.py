"""Functions as awaitables, and asynchronous things as plain ones."""

import functools
import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Generic, ParamSpec, TypeVar

from copool._core import Bridge, _hold, _release, await_, run_sync

__all__ = ["asyncify", "atomic", "enter", "function", "iterate"]

P = ParamSpec("P")
T = TypeVar("T")


def asyncify(fn: Callable[P, T], /) -> Callable[P, Awaitable[T]]:
    """Make an asynchronous function of a plain one, below which `await_()` works.

    Its calls return what `run_sync(fn, ...)` does: nothing runs before the `await`.
    The result counts as a coroutine function (`inspect.iscoroutinefunction()`; on 3.11,
    asyncio's). Also a decorator, for functions and methods, then called `function`.
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
    `with enter(contextlib.aclosing(generator)) as items`.
    """
    iterator = aiter(iterable)
    while True:
        try:
            item = await_(anext(iterator))
        except StopAsyncIteration:
            return
        yield item


class enter(Generic[T]):
    """Enter an asynchronous context manager with a plain `with`."""

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
    """

    def __init__(self) -> None:
        self._held: list[Bridge[object] | None] = []

    def __enter__(self) -> None:
        self._held.append(_hold())

    def __exit__(self, *_: object) -> None:
        _release(self._held.pop())
