"""copool, greenlet and generators, each doing every case in its best way.

What all have in common: whatever can be looked up beforehand is; `repeat(None,
n)` is the loop, inside and outside; the collector is off (the runner's doing).
A subject is a class with a method for each case that it can do:

``lifecycle``   create, run and finish n of them
``cost``        create, enter, yield, enter and finish n of them
``yield_there_and_back``  switch there and back n times
``deep_yield``  the same, from ten C frames down
``nesting``     have 1000 enter one another, n times
``crowd``       go n times round a crowd of that width

A body that yields does so exactly n times and then returns DONE. The driver
enters n times, then once more without timing: only if every step was made, no
more and no less, does it see DONE just then. For the cases without such a
loop, `count` makes bodies that count; the runner asks for that before it
starts timing.
"""

# What each case is stands above, once for all subjects.
# ruff: noqa: D102

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Generator
from itertools import repeat
from time import perf_counter_ns as clock
from types import FunctionType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import copool
from copool.commands.bench.model import ImpossibleError, Sample

if TYPE_CHECKING:
    import greenlet as greenlet_module

    from copool._pool import Policy

P = ParamSpec("P")
T = TypeVar("T")
Body = Callable[[], object]

NESTING = 1000
DEPTH = 10
DONE = object()


def call_at_depth(function: Callable[[], object], depth: int = DEPTH) -> None:
    """Call function ten C frames down: each level goes through `sorted`."""
    if depth == 0:
        function()
    else:

        def key(_: object) -> int:
            call_at_depth(function, depth - 1)
            return 0

        sorted((0,), key=key)


class Thrown(Exception):
    """What is thrown into a suspended coroutine."""


def empty() -> object:
    """Return DONE: the body of a coroutine that has nothing to do."""
    return DONE


class Counter:
    """Stands in for a body and counts how often it was gone through."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> object:
        """Count, and return DONE."""
        self.count += 1
        return DONE


def countable(body: Body, *, count: bool) -> tuple[Body, Counter | None]:
    """Return a body, or what stands in for it and counts how often that gives DONE."""
    if not count:
        return body, None
    counter = Counter()
    return lambda: counter() if body() is DONE else None, counter


def judged(
    elapsed: int, n: int, last: object, counter: Counter | None = None
) -> Sample:
    """Conclude from the last result, and the counter if any, what came back."""
    came_back = n if last is DONE else 0
    if counter is not None and last is DONE:
        came_back = counter.count
    return Sample(elapsed, n, came_back)


def function_call(n: int, *, count: bool) -> Sample:
    """Call an empty function: the baseline."""
    function, counter = countable(empty, count=count)
    last: object = None
    start = clock()
    for _ in repeat(None, n):
        last = function()
    return judged(clock() - start, n, last, counter)


def time_crowd(enters: list[Callable[[], object]], n: int) -> Sample:
    """Go n times round, entering each in turn."""
    for enter in enters:
        enter()
    start = clock()
    for _ in repeat(None, n):
        for enter in enters:
            enter()
    elapsed = clock() - start
    finished = sum(enter() is DONE for enter in enters)
    return Sample(elapsed, n * len(enters), n * finished)


def its_own(function: Callable[P, T]) -> Callable[P, T]:
    """Return a copy with code of its own, for a subject.

    CPython makes code faster for what it has called so far. Where several
    subjects run the same code, that would be what another one calls.
    """
    assert isinstance(function, FunctionType)
    return FunctionType(function.__code__.replace(), function.__globals__)


class CopoolSubject:
    """copool's own, with one of its pool policies."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.time_crowd = its_own(time_crowd)

    def prepare(self) -> None:
        """Make the policy the one in use and its pool a warm one."""
        copool.configure(policy=self.policy)
        for _ in range(256):
            copool.Coroutine(empty).enter()

    def lifecycle(self, n: int, *, count: bool) -> Sample:
        self.prepare()
        body, counter = countable(empty, count=count)
        make = copool.Coroutine
        last: object = None
        start = clock()
        for _ in repeat(None, n):
            last = make(body).enter()
        return judged(clock() - start, n, last, counter)

    def cost(self, n: int, *, count: bool) -> Sample:
        self.prepare()
        make, yield_ = copool.Coroutine, copool.yield_

        def body() -> object:
            yield_()
            return DONE

        function, counter = countable(body, count=count)
        last: object = None
        start = clock()
        for _ in repeat(None, n):
            co = make(function)
            co.enter()
            last = co.enter()
        return judged(clock() - start, n, last, counter)

    def yield_there_and_back(self, n: int, *, count: bool) -> Sample:
        self.prepare()
        yield_ = copool.yield_

        def body() -> object:
            for _ in repeat(None, n + 1):
                yield_()
            return DONE

        return self._time_enter(copool.Coroutine(body).enter, n)

    def deep_yield(self, n: int, *, count: bool) -> Sample:
        self.prepare()
        yield_ = copool.yield_

        def at_bottom() -> None:
            for _ in repeat(None, n + 1):
                yield_()

        def body() -> object:
            call_at_depth(at_bottom)
            return DONE

        return self._time_enter(copool.Coroutine(body).enter, n)

    @staticmethod
    def _time_enter(enter: Callable[[], object], n: int) -> Sample:
        enter()
        start = clock()
        for _ in repeat(None, n):
            enter()
        elapsed = clock() - start
        return judged(elapsed, n, enter())

    def nesting(self, n: int, *, count: bool) -> Sample:
        self.prepare()
        make = copool.Coroutine
        reached = 0

        def nest(left: int) -> None:
            nonlocal reached
            reached += 1
            if left > 1:
                make(nest).enter(left - 1)

        make(nest).enter(NESTING)  # so that the pool is as warm for that many
        reached = 0
        start = clock()
        for _ in repeat(None, n):
            make(nest).enter(NESTING)
        return Sample(clock() - start, n * NESTING, reached)

    def crowd(self, n: int, *, count: bool, width: int) -> Sample:
        self.prepare()
        yield_ = copool.yield_

        def body() -> object:
            for _ in repeat(None, n + 1):
                yield_()
            return DONE

        enters = [copool.Coroutine(body).enter for _ in range(width)]
        return self.time_crowd(enters, n)


class GreenletSubject:
    """greenlet, with `switch` bound beforehand wherever it can be."""

    def __init__(self, greenlet: type[greenlet_module.greenlet], current: Any) -> None:
        self.greenlet = greenlet
        self.current = current
        self.time_crowd = its_own(time_crowd)

    def lifecycle(self, n: int, *, count: bool) -> Sample:
        body, counter = countable(empty, count=count)
        make = self.greenlet
        last: object = None
        start = clock()
        for _ in repeat(None, n):
            last = make(body).switch()
        return judged(clock() - start, n, last, counter)

    def cost(self, n: int, *, count: bool) -> Sample:
        make, switch_back = self.greenlet, self.current().switch

        def body() -> object:
            switch_back()
            return DONE

        function, counter = countable(body, count=count)
        last: object = None
        start = clock()
        for _ in repeat(None, n):
            co = make(function)
            co.switch()
            last = co.switch()
        return judged(clock() - start, n, last, counter)

    def yield_there_and_back(self, n: int, *, count: bool) -> Sample:
        switch_back = self.current().switch

        def body() -> object:
            for _ in repeat(None, n + 1):
                switch_back()
            return DONE

        return self._time_switch(self.greenlet(body).switch, n)

    def deep_yield(self, n: int, *, count: bool) -> Sample:
        switch_back = self.current().switch

        def at_bottom() -> None:
            for _ in repeat(None, n + 1):
                switch_back()

        def body() -> object:
            call_at_depth(at_bottom)
            return DONE

        return self._time_switch(self.greenlet(body).switch, n)

    @staticmethod
    def _time_switch(switch: Callable[[], object], n: int) -> Sample:
        switch()
        start = clock()
        for _ in repeat(None, n):
            switch()
        elapsed = clock() - start
        return judged(elapsed, n, switch())

    def throw(self, n: int, *, count: bool) -> Sample:
        """Create, suspend, throw into and finish n of them."""
        make, switch_back = self.greenlet, self.current().switch

        def body() -> object:
            try:
                switch_back()
            except Thrown:
                return DONE
            return None

        function, counter = countable(body, count=count)
        last: object = None
        start = clock()
        for _ in repeat(None, n):
            co = make(function)
            co.switch()
            last = co.throw(Thrown)
        return judged(clock() - start, n, last, counter)

    def getcurrent(self, n: int, *, count: bool) -> Sample:
        """Ask n times which greenlet runs, inside one."""
        current = self.current

        def body() -> Sample:
            last: object = None
            start = clock()
            for _ in repeat(None, n):
                last = current()
            return Sample(clock() - start, n, n if last is co else 0)

        def counting_body() -> Sample:
            return Sample(0, n, sum(current() is co for _ in repeat(None, n)))

        co = self.greenlet(counting_body if count else body)
        sample: Sample = co.switch()
        return sample

    def nesting(self, n: int, *, count: bool) -> Sample:
        make = self.greenlet
        reached = 0

        def nest(left: int) -> None:
            nonlocal reached
            reached += 1
            if left > 1:
                make(nest).switch(left - 1)

        try:
            with deep_recursion():
                start = clock()
                for _ in repeat(None, n):
                    make(nest).switch(NESTING)
                elapsed = clock() - start
        except RecursionError:
            raise ImpossibleError("RecursionError: one stack for all") from None
        return Sample(elapsed, n * NESTING, reached)

    def crowd(self, n: int, *, count: bool, width: int) -> Sample:
        switch_back = self.current().switch

        def body() -> object:
            for _ in repeat(None, n + 1):
                switch_back()
            return DONE

        enters = [self.greenlet(body).switch for _ in range(width)]
        return self.time_crowd(enters, n)


class deep_recursion:
    """Let Python calls nest deeper, for subjects without limits of their own."""

    def __enter__(self) -> None:
        self.limit = sys.getrecursionlimit()
        sys.setrecursionlimit(self.limit + 20 * NESTING)

    def __exit__(self, *exc_info: object) -> None:
        sys.setrecursionlimit(self.limit)


Driver = Callable[[Generator[None, None, None], int], Sample]


def drive_by_next(generator: Generator[None, None, None], n: int) -> Sample:
    """Resume with the built-in function."""
    next(generator)
    start = clock()
    for _ in repeat(None, n):
        next(generator)
    elapsed = clock() - start
    return judged(elapsed, n, next(generator, DONE))


def drive_by_send(generator: Generator[None, None, None], n: int) -> Sample:
    """Resume with a method call, which Python specialises."""
    next(generator)
    start = clock()
    for _ in repeat(None, n):
        generator.send(None)
    elapsed = clock() - start
    return judged(elapsed, n, next(generator, DONE))


def drive_by_bound_send(generator: Generator[None, None, None], n: int) -> Sample:
    """Resume with a method that was bound beforehand."""
    send = generator.send
    next(generator)
    start = clock()
    for _ in repeat(None, n):
        send(None)
    elapsed = clock() - start
    return judged(elapsed, n, next(generator, DONE))


@functools.cache
def fastest_driver() -> Driver:
    """Return the driver that does best in this version of Python."""

    def body(n: int) -> Generator[None, None, None]:
        for _ in repeat(None, n + 1):
            yield

    def best_time(driver: Driver) -> int:
        return min(driver(body(5000), 5000).nanoseconds for _ in range(9))

    drivers: list[Driver] = [drive_by_next, drive_by_send, drive_by_bound_send]
    return min(drivers, key=best_time)


GeneratorBody = Callable[[], Generator[None, None, None]]


class GeneratorSubject:
    """A plain generator; `send` or `next`, whichever is the faster."""

    @staticmethod
    def _countable(
        body: GeneratorBody, *, count: bool
    ) -> tuple[GeneratorBody, Counter | None]:
        counter = Counter()

        def counting() -> Generator[None, None, None]:
            yield from body()
            counter()

        return (counting, counter) if count else (body, None)

    def lifecycle(self, n: int, *, count: bool) -> Sample:

        def body() -> Generator[None, None, None]:
            return
            yield

        function, counter = self._countable(body, count=count)
        last: object = None
        start = clock()
        for _ in repeat(None, n):
            last = next(function(), DONE)
        return judged(clock() - start, n, last, counter)

    def cost(self, n: int, *, count: bool) -> Sample:

        def body() -> Generator[None, None, None]:
            yield

        function, counter = self._countable(body, count=count)
        last: object = None
        start = clock()
        for _ in repeat(None, n):
            co = function()
            next(co)
            last = next(co, DONE)
        return judged(clock() - start, n, last, counter)

    def yield_there_and_back(self, n: int, *, count: bool) -> Sample:

        def body() -> Generator[None, None, None]:
            for _ in repeat(None, n + 1):
                yield

        return fastest_driver()(body(), n)

    def deep_yield(self, n: int, *, count: bool) -> Sample:
        raise ImpossibleError("it yields to its direct caller only")

    def nesting(self, n: int, *, count: bool) -> Sample:
        reached = 0

        def nest(left: int) -> Generator[None, None, None]:
            nonlocal reached
            reached += 1
            if left > 1:
                next(nest(left - 1), None)
            return
            yield

        try:
            with deep_recursion():
                start = clock()
                for _ in repeat(None, n):
                    next(nest(NESTING), None)
                elapsed = clock() - start
        except RecursionError:
            raise ImpossibleError("RecursionError: one stack for all") from None
        return Sample(elapsed, n * NESTING, reached)

    def crowd(self, n: int, *, count: bool, width: int) -> Sample:

        def body() -> Generator[None, None, None]:
            for _ in repeat(None, n + 1):
                yield

        generators = [body() for _ in range(width)]
        for generator in generators:
            next(generator)
        start = clock()
        for _ in repeat(None, n):
            for generator in generators:
                next(generator)
        elapsed = clock() - start
        finished = sum(next(generator, DONE) is DONE for generator in generators)
        return Sample(elapsed, n * width, n * finished)
