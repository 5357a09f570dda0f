"""Await from anywhere: plain functions that wait for awaitables.

>>> import asyncio, copool.aio
>>> def fetch(n):  # an ordinary function, at any depth below a task
...     copool.aio.await_(asyncio.sleep(0.001))
...     return n
>>> async def main():
...     return [fetch(1), fetch(2)]
>>> copool.aio.run(main())
[1, 2]

`run()`, `install()` and `new_event_loop()` make it work below every task of a loop;
`run_sync()` below one call, on any loop. The thread rule is asyncio's: a loop and its
tasks stay in one thread.
"""

# The settings of the environment, before the first stack is taken.
from copool import _settings as _settings
from copool._core import Bridge, await_, bridge, can_await, run_sync
from copool.aio._faces import asyncify, atomic, enter, function, iterate
from copool.aio._loop import install, installed, new_event_loop, run, uninstall
from copool.aio._sqlalchemy import can_not_wait, lazy_loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from copool._core import CoroutineError

    class CantWait(CoroutineError):
        """SQLAlchemy would have to wait where a task can't.

        It is SQLAlchemy's `MissingGreenlet`, too, and there if SQLAlchemy is.

        >>> import copool.aio
        >>> from sqlalchemy.exc import MissingGreenlet
        >>> issubclass(copool.aio.CantWait, MissingGreenlet)
        True
        """


__all__ = [
    "Bridge",
    "asyncify",
    "atomic",
    "await_",
    "bridge",
    "can_await",
    "enter",
    "function",
    "install",
    "installed",
    "iterate",
    "lazy_loads",
    "new_event_loop",
    "run",
    "run_sync",
    "uninstall",
]

if not TYPE_CHECKING:

    def __getattr__(name):
        """Make `CantWait` when it is asked for: it is an error of SQLAlchemy's too."""
        if name == "CantWait":
            try:
                return can_not_wait()
            except ImportError:
                pass
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
