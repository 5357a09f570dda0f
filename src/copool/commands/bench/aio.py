"""The cases of ``copool bench --aio``: plain functions that wait, below a task.

A `Way` is how a task calls a plain function, and how that waits for an awaitable.
Every way goes through the same loop; so do coroutines, which need none ("plain").

They run in an event loop, or are driven by hand: resumed by `send()` as a task
resumes them, but by nothing else, since what a turn of the loop takes would hide
the difference.
"""

from __future__ import annotations

import asyncio
import functools
import types
from collections.abc import (
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from time import perf_counter_ns as clock
from typing import Any

import copool.aio
from copool._core import bridge
from copool.commands.bench import orm, worker
from copool.commands.bench.cases import Case, Plan, plan_memory
from copool.commands.bench.compat import RemoteWork, plan_processes
from copool.commands.bench.footprint import check_identity, greenlet_file
from copool.commands.bench.model import Extra, Key, Sample, Trial, Work
from copool.commands.bench.peers import AT_A_TIME, AsyncioSubject, Run
from copool.commands.bench.runner import Settings
from copool.commands.bench.subjects import DONE, Counter, empty, judged

EXTRA = Extra("aio", frozenset(("asgiref", "greenback", "greenlet", "sqlalchemy")))

Make = Callable[[], Any]  # of something to await
Start = Callable[[], Coroutine[Any, Any, Any]]
Timed = tuple[int, object]  # the nanoseconds, and the last result
UNSET = object()


# --- the ways -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Way:
    """How a task calls a plain function, and how that waits for an awaitable."""

    call: Callable[[Callable[[], Any]], Awaitable[Any]]
    wait: Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class Subject:
    """Who has a way; it is asked for it in the task that is to go it.

    by_hand says whether that can be driven by hand: other threads need a loop.
    """

    way: Callable[[], Way]
    run: Run = asyncio.run
    by_hand: bool = True


@functools.cache
def _expect_real_greenlet() -> None:
    check_identity("greenlet", greenlet_file())


def _copool() -> Way:
    return Way(copool.aio.run_sync, copool.aio.await_)


def _anywhere() -> Way:
    async def call(function: Callable[[], object]) -> object:
        return function()

    return Way(call, copool.aio.await_)


def _sqlalchemy() -> Way:
    _expect_real_greenlet()
    from sqlalchemy.util import await_only, greenlet_spawn

    return Way(greenlet_spawn, await_only)


def _greenback() -> Way:
    _expect_real_greenlet()
    import greenback

    return Way(greenback.with_portal_run_sync, greenback.await_)


def _asgiref() -> Way:
    from asgiref.sync import async_to_sync, sync_to_async

    async def awaited(awaitable: Awaitable[object]) -> object:
        return await awaitable

    @functools.cache
    def wrapped(function: Callable[[], Any]) -> Callable[[], Awaitable[Any]]:
        return sync_to_async(function)

    return Way(lambda function: wrapped(function)(), async_to_sync(awaited))


def _to_thread() -> Way:
    loop = asyncio.get_running_loop()

    def wait(coroutine: Coroutine[Any, Any, object]) -> object:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    return Way(asyncio.to_thread, wait)


# Greenlets of another library are loaded too, but not used below these tasks.
ANYWHERE = partial(copool.aio.run, foreign_greenlets=True)

SUBJECTS: Mapping[str, Subject] = {
    "copool": Subject(_copool),
    "copool anywhere": Subject(_anywhere, ANYWHERE, by_hand=False),
    "SQLAlchemy": Subject(_sqlalchemy),
    "greenback": Subject(_greenback),
    "asgiref": Subject(_asgiref, by_hand=False),
    "to_thread": Subject(_to_thread, by_hand=False),
}


# --- the loops that are timed -------------------------------------------------


async def awaiting(make: Make, n: int) -> Timed:
    """Await n things in a coroutine."""
    last: object = UNSET
    start = clock()
    for _ in repeat(None, n):
        last = await make()
    return clock() - start, last


def waiting(wait: Callable[[Any], object], make: Make, n: int) -> Timed:
    """Wait for n things in a plain function."""
    last: object = UNSET
    start = clock()
    for _ in repeat(None, n):
        last = wait(make())
    return clock() - start, last


async def calling(way: Way, function: Callable[[], object], n: int) -> Timed:
    """Call a plain function n times."""
    call = way.call
    last: object = await call(empty)  # from now on there is a thread, if needed
    start = clock()
    for _ in repeat(None, n):
        last = await call(function)
    return clock() - start, last


def drive(coroutine: Any, n: int) -> Sample:
    """Resume n times, by hand, what waits n + 1 times in one of the above.

    It must come to its end just then, with DONE as the last result.
    """
    elapsed, last = 0, None
    send = coroutine.send
    try:
        send(None)
        start = clock()
        for _ in repeat(None, n):
            send(None)
        elapsed = clock() - start
        send(None)
    except StopIteration as end:
        # Before the last send() nothing has been timed, and it is too early.
        last = end.value[1] if elapsed else None
    else:
        coroutine.close()
    return judged(elapsed, n, last)


# --- what they wait for -------------------------------------------------------


class Suspends:
    """An awaitable that suspends once; its result is DONE."""

    def __await__(self) -> Generator[None, None, object]:
        """Yield once."""
        yield
        return DONE


@types.coroutine
def suspending() -> Generator[None, None, object]:
    """Suspend once, as a generator that can be awaited as it is; return DONE."""
    yield
    return DONE


async def nothing() -> None:
    """Return None at once."""


async def ready() -> object:
    """Return DONE at once."""
    return DONE


sleep = partial(asyncio.sleep, 0, DONE)


def counting_ready(counter: Counter) -> Make:
    """Return what stands in for `ready` and counts how often it runs."""

    async def ready() -> object:
        return counter()

    return ready


def counting_sleep(counter: Counter) -> Make:
    """Return what stands in for `sleep` and counts the turns of the loop."""
    loop = asyncio.get_running_loop()

    def sleep_and_count() -> Awaitable[object]:
        loop.call_soon_threadsafe(counter)
        return sleep()

    return sleep_and_count


# --- the works ----------------------------------------------------------------


def needing_extra(work: Work) -> Work:
    """Let the work say which package it misses."""

    def guarded(n: int, *, count: bool) -> Sample:
        try:
            return work(n, count=count)
        except ModuleNotFoundError as error:
            raise EXTRA.lacks(error) from None

    return guarded


def call_work(subject: Subject | None, result: object) -> Work:
    """Return: call a function that has this result n times, by a subject or plainly."""

    def work(n: int, *, count: bool) -> Sample:
        counter = Counter() if count else None

        def counting() -> object:
            assert counter
            counter()
            return result

        async def counting_coroutine() -> object:
            return counting()

        async def main() -> Timed:
            if subject is None:
                coroutine = nothing if result is None else ready
                return await awaiting(counting_coroutine if count else coroutine, n)
            function = noop if result is None else empty
            return await calling(subject.way(), counting if count else function, n)

        elapsed, last = asyncio.run(main())
        return judged(elapsed, n, DONE if last is result else None, counter)

    return work


def noop() -> None:
    """Do nothing."""


def wait_work(
    subject: Subject | None, make: Make, counting: Callable[[Counter], Make]
) -> Work:
    """Return: wait for n things in the event loop, by a subject or plainly."""

    def work(n: int, *, count: bool) -> Sample:
        counter = Counter() if count else None

        async def main() -> Sample:
            chosen = counting(counter) if counter else make
            if subject is None:
                elapsed, last = await awaiting(chosen, n)
            else:
                way = subject.way()
                elapsed, last = await way.call(partial(waiting, way.wait, chosen, n))
            # Now: when the loop ends it turns again.
            return judged(elapsed, n, last, counter)

        run = subject.run if subject else asyncio.run
        sample: Sample = run(main())
        return sample

    return work


def suspend_work(subject: Subject | None, make: Make) -> Work:
    """Return: wait for n things driven by hand, by a subject or plainly."""

    def work(n: int, *, count: bool) -> Sample:
        # greenback wants a task.
        async def main() -> Sample:
            if subject is None:
                return drive(awaiting(make, n + 1), n)
            way = subject.way()
            return drive(way.call(partial(waiting, way.wait, make, n + 1)), n)

        return asyncio.run(main())

    return work


# --- tasks --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mode:
    """How coroutines are run so that `await_()` works below, or isn't to.

    in_task says what a task has to await for that, and by_hand what a driver has to
    drive.
    """

    run: Run
    in_task: Callable[[Start], Coroutine[Any, Any, Any]]
    by_hand: Callable[[Start], Coroutine[Any, Any, Any]]


def _as_it_is(start: Start) -> Coroutine[Any, Any, Any]:
    return start()


def _with_portal(start: Start) -> Coroutine[Any, Any, Any]:
    _expect_real_greenlet()
    import greenback

    return greenback.with_portal_run(start)


MODES: Mapping[str, Mode] = {
    "plain": Mode(asyncio.run, _as_it_is, _as_it_is),
    "copool": Mode(ANYWHERE, _as_it_is, lambda start: bridge(start())),
    "greenback": Mode(asyncio.run, _with_portal, _with_portal),
}


def steps_by_hand(mode: Mode) -> Work:
    """Return: n steps of a coroutine, driven by hand."""

    def work(n: int, *, count: bool) -> Sample:
        async def main() -> Sample:
            return drive(mode.by_hand(partial(awaiting, Suspends, n + 1)), n)

        return asyncio.run(main())

    return work


def steps_of_a_task(mode: Mode) -> Work:
    """Return: n steps of a task, which is alone in its loop."""

    def work(n: int, *, count: bool) -> Sample:
        counter = Counter() if count else None

        async def steps() -> Timed:
            return await awaiting(counting_sleep(counter) if counter else sleep, n)

        async def main() -> Sample:
            elapsed, last = await mode.in_task(steps)
            return judged(elapsed, n, last, counter)

        sample: Sample = mode.run(main())
        return sample

    return work


# --- the plans ----------------------------------------------------------------

# The variants.
NOOP, RESULT = "noop", "result"
AWAITABLE, GENERATOR = "awaitable", "generator"
BY_HAND, ONE_TASK, TASKS = "by hand", "1 task", f"{AT_A_TIME} tasks"


# Who does a case: the plain work and that of each subject.
EVERYONE: Mapping[str, Subject | None] = {"plain": None, **SUBJECTS}
# In anywhere mode the function is just called.
CALLING = {n: one for n, one in EVERYONE.items() if not one or one.run is not ANYWHERE}
DRIVEN = {name: one for name, one in EVERYONE.items() if not one or one.by_hand}
# greenback's portals are made for a task by the task.
OF_ALL_TASKS = {name: MODES[name] for name in ("plain", "copool")}


# For each case and each variant of it, the work of each who does it.
WORKS: Mapping[str, Mapping[str, tuple[Callable[[Any], Work], Mapping[str, Any]]]] = {
    "run-sync": {
        NOOP: (partial(call_work, result=None), CALLING),
        RESULT: (partial(call_work, result=DONE), CALLING),
    },
    "await-ready": {
        "": (partial(wait_work, make=ready, counting=counting_ready), EVERYONE)
    },
    "await-suspends": {
        AWAITABLE: (partial(suspend_work, make=Suspends), DRIVEN),
        GENERATOR: (partial(suspend_work, make=suspending), DRIVEN),
    },
    "await-sleep": {
        "": (partial(wait_work, make=sleep, counting=counting_sleep), EVERYONE)
    },
    "task-step": {
        BY_HAND: (steps_by_hand, MODES),
        ONE_TASK: (steps_of_a_task, MODES),
        TASKS: (
            lambda mode: AsyncioSubject(mode.run).yield_there_and_back,
            OF_ALL_TASKS,
        ),
    },
    "task-lifecycle": {
        "": (lambda mode: AsyncioSubject(mode.run).lifecycle, OF_ALL_TASKS)
    },
}


def _plan_works(case: Case, settings: Settings) -> Plan:
    works = {
        Key(case.name, "aio", variant, name): needing_extra(work_of(one))
        for variant, (work_of, who) in WORKS[case.name].items()
        for name, one in who.items()
    }
    return [Trial(works)]


# --- SQLAlchemy's asyncio, in processes of its own -----------------------------


class OrmWork(RemoteWork):
    """A case of `orm` done by a process."""

    def way(self) -> worker.Way:
        """Return how SQLAlchemy gets its greenlet."""
        return orm.WAYS[self.subject]

    def told(self) -> Sequence[str]:
        """Return what is told of the work."""
        return ("-m", orm.__name__, self.case, self.subject, self.variant)


def _plan_orm(
    case: Case, settings: Settings, *, variants: Sequence[str] = ("",)
) -> Plan:
    who = [
        (variant, subject)
        for variant in variants
        for subject, way in orm.WAYS.items()
        # Elsewhere nothing loads itself.
        if way.anywhere or variant != orm.LAZY
    ]
    # Each has two threads on one processor: preempted it is always.
    return plan_processes(case, "orm", OrmWork, who, n=10)


CASES: tuple[Case, ...] = (
    Case("run-sync", "call an empty function below a task", _plan_works),
    Case("await-ready", "wait for an `async def` that returns at once", _plan_works),
    Case("await-suspends", "wait for what suspends, driven by hand", _plan_works),
    Case("await-sleep", "wait for asyncio.sleep(0), one task in the loop", _plan_works),
    Case("task-step", "a step of a task that waits in an `await`", _plan_works),
    Case(
        "task-lifecycle",
        f"create, run and finish a task, {AT_A_TIME} at a time",
        _plan_works,
    ),
    Case(
        "tasks-waiting",
        "each waiting three calls below it",
        partial(plan_memory, what="waiting", extra=EXTRA),
    ),
    Case("session-execute", "an ORM select by aiosqlite", _plan_orm),
    Case("lazy-load", "load a collection of two", _plan_orm),
    Case(
        "request",
        "a page of FastAPI with three collections",
        partial(_plan_orm, variants=(orm.LAZY, orm.SELECTIN, orm.JOINED)),
    ),
)
