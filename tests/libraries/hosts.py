"""What a library runs in: a coroutine, a greenlet or a task, and the main flow.

A chain is a function that runs in such a host until it pauses or ends. Whoever
conducts the chains resumes them one by one, in the order that a check wants.
"""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar

import copool
import copool.aio
import copool.greenlet


class Missing(Exception):
    """What a library needs, besides its package, is not on this machine."""


class Chain:
    """Calls a function; what it raises comes out of `resume()`."""

    def __init__(self, fn: Callable[[], object]):
        self.fn = fn
        self.done = False
        self.value: object = None

    def _body(self) -> None:
        self.value = self.fn()
        self.done = True

    def resume(self) -> None:
        raise NotImplementedError


class CoroutineHost:
    class Chain(Chain):
        def __init__(self, fn: Callable[[], object]):
            super().__init__(fn)
            self._coroutine = copool.Coroutine(self._body)

        def resume(self) -> None:
            self._coroutine.enter()

    def run(self, conduct: Callable[[], object]) -> object:
        return conduct()

    def pause(self) -> None:
        copool.yield_()


class GreenletHost:
    """Greenlets of the drop-in; must be made before anything imports greenlet."""

    class Chain(Chain):
        def __init__(self, fn: Callable[[], object]):
            import greenlet

            super().__init__(fn)
            self._greenlet = greenlet.greenlet(self._body)

        def resume(self) -> None:
            self._greenlet.switch()

    def __init__(self) -> None:
        copool.greenlet.install()
        import greenlet

        if not copool.greenlet.installed():
            raise RuntimeError("greenlet is not copool's")
        self._current = greenlet.getcurrent

    def run(self, conduct: Callable[[], object]) -> object:
        return conduct()

    def pause(self) -> None:
        parent = self._current().parent
        if parent is None:  # a callback in a thread of the library's
            raise RuntimeError("there is no greenlet to switch to")
        parent.switch()


class TaskHost:
    """Tasks in anywhere mode, whose functions are plain; so is who conducts them."""

    current: ContextVar["TaskHost.Chain | None"] = ContextVar("current", default=None)

    class Chain(Chain):
        def __init__(self, fn: Callable[[], object]):
            super().__init__(fn)
            self._task: asyncio.Task[None] | None = None
            self._turn: asyncio.Future[None]
            self._gate: asyncio.Future[None]

        async def _main(self) -> None:
            TaskHost.current.set(self)
            self._body()

        def resume(self) -> None:
            self._turn = asyncio.get_running_loop().create_future()
            if self._task is None:
                self._task = asyncio.ensure_future(self._main())
                self._task.add_done_callback(self._end_turn)
            else:
                self._gate.set_result(None)
            copool.aio.await_(self._turn)
            if self._task.done():
                self._task.result()

        def _end_turn(self, _: object) -> None:
            # It is at an end already for one that is cancelled with the loop.
            if not self._turn.done():
                self._turn.set_result(None)

        def pause(self) -> None:
            self._gate = asyncio.get_running_loop().create_future()
            self._turn.set_result(None)
            copool.aio.await_(self._gate)

    def run(self, conduct: Callable[[], object]) -> object:
        async def main() -> object:
            return conduct()

        return copool.aio.run(main())

    def pause(self) -> None:
        chain = TaskHost.current.get()
        if chain is None:  # a callback in a thread of the library's
            copool.aio.await_(asyncio.sleep(0))
        else:
            chain.pause()


HOSTS = {"coroutine": CoroutineHost, "greenlet": GreenletHost, "task": TaskHost}
Host = CoroutineHost | GreenletHost | TaskHost

# The one that runs now; None stands for the main flow, where nothing pauses.
_running: Host | None = None


def run_in(host: Host, conduct: Callable[[], object]) -> object:
    """Call `conduct` where it can resume chains of the host."""
    global _running
    _running = host
    try:
        return host.run(conduct)
    finally:
        _running = None


def pause() -> None:
    """Stop the chain that calls it until it is resumed."""
    if _running is not None:
        _running.pause()
