"""asyncio tasks and threads, doing the cases as far as they can.

A task yields by awaiting something that gives the bare None to the loop, which
is what `asyncio.sleep(0)` does inside. 64 of them run at a time, so that what
the loop does once per turn (a system call, mostly) is shared by 64 steps. The
loop is made before the clock starts.

A thread yields by handing a lock over and waiting for another one.
"""

# What each case is stands in `subjects`.
# ruff: noqa: D102

from __future__ import annotations

import asyncio
import threading
import types
from collections.abc import Callable, Coroutine, Generator
from itertools import repeat
from time import perf_counter_ns as clock
from typing import Any

from copool.commands.bench.model import ImpossibleError, Sample
from copool.commands.bench.subjects import NESTING, call_at_depth

AT_A_TIME = 64
MOST_THREADS = 1000

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@types.coroutine
def bare_yield() -> Generator[None, None, None]:
    """Let the event loop go once round."""
    yield


class AsyncioSubject:
    """Tasks in one event loop, which `run` makes for each sample."""

    def __init__(self, run: Run = asyncio.run) -> None:
        self.run = run

    def lifecycle(self, n: int, *, count: bool) -> Sample:
        finished = 0

        async def body() -> None:
            nonlocal finished
            finished += 1

        return self._in_batches(body, n, lambda: finished)

    def cost(self, n: int, *, count: bool) -> Sample:
        finished = 0

        async def body() -> None:
            nonlocal finished
            await bare_yield()
            finished += 1

        return self._in_batches(body, n, lambda: finished)

    def _in_batches(
        self,
        body: Callable[[], Coroutine[None, None, None]],
        n: int,
        finished: Callable[[], int],
    ) -> Sample:
        async def main() -> int:
            create = asyncio.get_running_loop().create_task
            start = clock()
            left = n
            while left:
                batch = min(left, AT_A_TIME)
                left -= batch
                for task in [create(body()) for _ in range(batch)]:
                    await task
            return clock() - start

        elapsed = self.run(main())
        return Sample(elapsed, n, finished())

    def yield_there_and_back(self, n: int, *, count: bool) -> Sample:
        return self.crowd(max(1, n // AT_A_TIME), count=count, width=AT_A_TIME)

    def deep_yield(self, n: int, *, count: bool) -> Sample:
        raise ImpossibleError("every function in between must be async")

    def crowd(self, n: int, *, count: bool, width: int) -> Sample:
        steps = 0

        async def body() -> None:
            nonlocal steps
            taken = 0
            for _ in repeat(None, n + 1):
                await bare_yield()
                taken += 1
            steps += taken - 1

        async def main() -> int:
            create = asyncio.get_running_loop().create_task
            tasks = [create(body()) for _ in range(width)]
            await bare_yield()
            # The loop is a queue: while this goes n times round, so does
            # every other task.
            start = clock()
            for _ in repeat(None, n):
                await bare_yield()
            elapsed = clock() - start
            for task in tasks:
                await task
            return elapsed

        elapsed = self.run(main())
        return Sample(elapsed, n * width, steps)


class Baton:
    """Control handed to a thread and back, by two locks."""

    def __init__(self, body: Callable[[Callable[[], object]], None]) -> None:
        self.there, self.back = threading.Lock(), threading.Lock()
        self.there.acquire()
        self.back.acquire()
        self.thread = threading.Thread(target=self._run, args=(body,))
        self.thread.start()

    def _run(self, body: Callable[[Callable[[], object]], None]) -> None:
        self.there.acquire()
        body(self._yield)
        self.back.release()

    def _yield(self) -> None:
        self.back.release()
        self.there.acquire()

    def enter(self) -> None:
        """Let the thread go on until it yields or ends."""
        self.there.release()
        self.back.acquire()


class ThreadSubject:
    """A thread for each coroutine."""

    def lifecycle(self, n: int, *, count: bool) -> Sample:
        hits: list[None] = []
        start = clock()
        for _ in repeat(None, n):
            thread = threading.Thread(target=hits.append, args=(None,))
            thread.start()
            thread.join()
        return Sample(clock() - start, n, len(hits))

    def cost(self, n: int, *, count: bool) -> Sample:
        finished = 0

        def body(yield_: Callable[[], object]) -> None:
            nonlocal finished
            yield_()
            finished += 1

        start = clock()
        for _ in repeat(None, n):
            baton = Baton(body)
            baton.enter()
            baton.enter()
            baton.thread.join()
        return Sample(clock() - start, n, finished)

    def yield_there_and_back(self, n: int, *, count: bool) -> Sample:
        return self.crowd(n, count=count, width=1)

    def deep_yield(self, n: int, *, count: bool) -> Sample:
        steps = 0

        def body(yield_: Callable[[], object]) -> None:
            def at_bottom() -> None:
                nonlocal steps
                for _ in repeat(None, n + 1):
                    yield_()
                    steps += 1

            call_at_depth(at_bottom)

        return self._time([Baton(body)], n, lambda: steps - 1)

    def nesting(self, n: int, *, count: bool) -> Sample:
        reached = 0

        def nest(left: int) -> None:
            nonlocal reached
            reached += 1
            if left > 1:
                thread = threading.Thread(target=nest, args=(left - 1,))
                thread.start()
                thread.join()

        start = clock()
        for _ in repeat(None, n):
            nest(NESTING)
        return Sample(clock() - start, n * NESTING, reached)

    def crowd(self, n: int, *, count: bool, width: int) -> Sample:
        if width > MOST_THREADS:
            raise ImpossibleError(f"more than {MOST_THREADS:,} threads not tried")
        steps = 0

        def body(yield_: Callable[[], object]) -> None:
            nonlocal steps
            taken = 0
            for _ in repeat(None, n + 1):
                yield_()
                taken += 1
            steps += taken - 1

        return self._time([Baton(body) for _ in range(width)], n, lambda: steps)

    @staticmethod
    def _time(batons: list[Baton], n: int, steps: Callable[[], int]) -> Sample:
        for baton in batons:
            baton.enter()
        start = clock()
        for _ in repeat(None, n):
            for baton in batons:
                baton.enter()
        elapsed = clock() - start
        for baton in batons:
            baton.enter()
            baton.thread.join()
        return Sample(elapsed, n * len(batons), steps())
