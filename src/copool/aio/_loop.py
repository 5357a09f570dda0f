"""Anywhere mode: `await_()` below every task of an asyncio loop."""

import asyncio
import functools
import traceback
from collections.abc import Callable, Coroutine
from types import CoroutineType, SimpleNamespace
from typing import Any, TypeVar

from copool._core import Bridge, _driven_by, _know_tasks, bridge
from copool.aio._greenlets import put_ours_in_place

__all__ = ["install", "installed", "new_event_loop", "run", "uninstall"]

T = TypeVar("T")


class _Factory:
    """A task factory whose tasks drive their coroutines on strands.

    The tasks themselves are made by the factory that the loop had before.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.before = loop.get_task_factory()
        self.kind = None if self.before else _kind_of_task()
        self.named = _type_with_names()

    def __call__(
        self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any
    ) -> Any:
        # Anything else is refused by the task, with the same message as ever.
        if type(coro) is CoroutineType or asyncio.iscoroutine(coro):
            coro = bridge(coro)
        task: Any
        if self.kind:
            task = self.kind(coro, loop=loop, **options)
        else:
            task = self.before(loop, coro, **options)  # type: ignore[misc]
        if type(coro) is Bridge and isinstance(task, self.named):
            _driven_by(coro, task)
        if loop.get_debug() and (source := getattr(task, "_source_traceback", None)):
            self._end_at_caller(source)
        return task

    def _end_at_caller(self, source: traceback.StackSummary) -> None:
        """Leave out what is between a task and who made it, in debug mode."""
        source[:] = [frame for frame in source if frame.filename != __file__]
        # As a loop that has no factory does; not all are written in Python.
        own = asyncio.base_events.__file__
        if not self.before and source and source[-1].filename == own:
            del source[-1]


class Task(asyncio.Task[Any]):
    """A task that keeps its name when a loop says that it was given none."""

    __slots__ = ()

    def set_name(self, name: object, /) -> None:
        if name is not None:
            super().set_name(name)


@functools.cache
def _kind_of_task() -> type[asyncio.Task[Any]]:
    """Return the class of the tasks of a loop that has no factory.

    The loops of 3.13.0 call `set_name(None)` on what a factory returns, which makes
    "None" of the name. Elsewhere there is no subclass: to await one takes longer.
    """
    names: list[object] = []
    loop = asyncio.BaseEventLoop()
    loop.set_task_factory(lambda *_, **__: SimpleNamespace(set_name=names.append))  # type: ignore[arg-type]
    loop.create_task(None)  # type: ignore[arg-type]
    loop.close()
    return Task if None in names else asyncio.Task


@functools.cache
def _type_with_names() -> type[Any] | tuple[()]:
    """Return the type of the tasks in which a dump finds their names.

    It reads the memory of tasks, and how that is laid out is known to their module
    alone: so one is made, not to be run, with a name to look for.
    """

    async def nothing() -> None: ...

    name = "a name that " + "copool looks for"
    loop = asyncio.BaseEventLoop()
    coroutine = nothing()
    try:
        task = asyncio.Task(coroutine, loop=loop, name=name)
        found = _know_tasks(task, task.get_name())
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        return asyncio.Task if found else ()
    finally:
        coroutine.close()
        loop.close()


def install(
    loop: asyncio.AbstractEventLoop | None = None, *, foreign_greenlets: bool = False
) -> None:
    """Let `await_()` work below every task that the loop makes from now on.

    `loop` is the running one unless given: asyncio's or one with its interface, such
    as uvloop's. A task factory that it has goes on making the tasks; one that is set
    later takes the place of this. Does nothing if the loop has it already.

    Greenlets of the package greenlet, which SQLAlchemy's asyncio uses, can't be used
    below such tasks. So from here on `import greenlet` gives copool's, and if the other
    one is already imported, this raises RuntimeError. `foreign_greenlets=True` leaves
    both out: it is the program's promise that none of its tasks uses any.

    To be called in the loop's thread, or before it runs. Raises RuntimeError without a
    loop, too.

    >>> import asyncio, copool.aio
    >>> async def part():
    ...     return copool.aio.await_(asyncio.sleep(0.001, "done"))
    >>> async def main():
    ...     copool.aio.install()
    ...     return await asyncio.create_task(part())
    >>> asyncio.run(main())
    'done'
    """
    loop = loop or asyncio.get_running_loop()
    if not foreign_greenlets:
        put_ours_in_place()
    if not installed(loop):
        loop.set_task_factory(_Factory(loop))


def installed(loop: asyncio.AbstractEventLoop | None = None) -> bool:
    """Whether `install()` was called for the loop, by default the running one.

    It may be called in any thread. Raises RuntimeError if none is given or running.

    >>> import copool.aio
    >>> async def main():
    ...     return copool.aio.installed()
    >>> copool.aio.run(main())
    True
    """
    loop = loop or asyncio.get_running_loop()
    return isinstance(loop.get_task_factory(), _Factory)


def uninstall(loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Give the loop back the task factory that it had; tasks it has stay as they are.

    `loop` is the running one unless given. Does nothing if it was not installed. To be
    called in the loop's thread. Raises RuntimeError if none is given or running.

    >>> import copool.aio
    >>> async def main():
    ...     copool.aio.uninstall()
    ...     return copool.aio.installed()
    >>> copool.aio.run(main())
    False
    """
    loop = loop or asyncio.get_running_loop()
    factory = loop.get_task_factory()
    if isinstance(factory, _Factory):
        loop.set_task_factory(factory.before)


def new_event_loop(
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    *,
    foreign_greenlets: bool = False,
) -> asyncio.AbstractEventLoop:
    """Make a loop below whose tasks `await_()` works, for who runs it later.

    It is a loop factory itself: `uvicorn --loop copool.aio:new_event_loop app:app`, or
    `asyncio.Runner(loop_factory=copool.aio.new_event_loop)`. `loop_factory` makes the
    loop, for example `uvloop.new_event_loop`; by default it is asyncio's. For
    `foreign_greenlets` see `install()`; what that raises is raised before there is a
    loop. It may be called in any thread, and the loop run in another one.

    >>> import asyncio, copool.aio
    >>> async def main():
    ...     return copool.aio.can_await()
    >>> with asyncio.Runner(loop_factory=copool.aio.new_event_loop) as runner:
    ...     runner.run(main())
    True
    """
    if not foreign_greenlets:
        put_ours_in_place()
    loop = (loop_factory or asyncio.new_event_loop)()
    install(loop, foreign_greenlets=True)
    return loop


def run(
    main: Coroutine[Any, Any, T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    foreign_greenlets: bool = False,
) -> T:
    """Like `asyncio.run()`, with `await_()` working below every task.

    `loop_factory` makes the loop, for example `uvloop.new_event_loop`. For
    `foreign_greenlets` see `install()`. It runs in the thread that calls it.

    Raises what `main` raises; RuntimeError where a loop is running in this thread, and
    as `install()` does.

    >>> import asyncio, copool.aio
    >>> async def main():
    ...     names = ["b", "a"]
    ...     names.sort(key=lambda n: copool.aio.await_(asyncio.sleep(0.001, n)))
    ...     return names
    >>> copool.aio.run(main())
    ['a', 'b']
    """
    # As asyncio.run() does: the coroutine stays unawaited, and says so.
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "copool.aio.run() can't be called where a loop is running; there, "
            "copool.aio.install() lets await_() work below the tasks made afterwards"
        )
    with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
        install(runner.get_loop(), foreign_greenlets=foreign_greenlets)
        return runner.run(main)
