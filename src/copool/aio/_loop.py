"""Anywhere mode: `await_()` below every task of an asyncio loop."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from copool._core import _drive
from copool.aio._greenlets import put_ours_in_place

__all__ = ["install", "installed", "run", "uninstall"]

T = TypeVar("T")


class _Factory:
    """A task factory whose tasks drive their coroutines on strands.

    The tasks themselves are made by the factory that the loop had before.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.before = loop.get_task_factory()
        self.make: Callable[..., Any] = self.before or _make_task

    def __call__(
        self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any
    ) -> Any:
        # Anything else is refused by the task, with the same message as ever.
        if asyncio.iscoroutine(coro):
            coro = _drive(coro)
        return self.make(loop, coro, **options)


def _make_task(
    loop: asyncio.AbstractEventLoop, coro: Any, **options: Any
) -> asyncio.Task[Any]:
    return asyncio.Task(coro, loop=loop, **options)


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
    """
    loop = loop or asyncio.get_running_loop()
    if not foreign_greenlets:
        put_ours_in_place()
    if not installed(loop):
        loop.set_task_factory(_Factory(loop))


def installed(loop: asyncio.AbstractEventLoop | None = None) -> bool:
    """Whether `install()` was called for the loop, by default the running one."""
    loop = loop or asyncio.get_running_loop()
    return isinstance(loop.get_task_factory(), _Factory)


def uninstall(loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Give the loop back the task factory that it had; tasks it has stay as they are.

    `loop` is the running one unless given. Does nothing if it was not installed.
    """
    loop = loop or asyncio.get_running_loop()
    factory = loop.get_task_factory()
    if isinstance(factory, _Factory):
        loop.set_task_factory(factory.before)


def run(
    main: Coroutine[Any, Any, T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    foreign_greenlets: bool = False,
) -> T:
    """Like `asyncio.run()`, with `await_()` working below every task.

    `loop_factory` makes the loop, for example `uvloop.new_event_loop`. For
    `foreign_greenlets` see `install()`.
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
