"""The process that does a case of ``copool bench --compat``.

`python -m copool.commands.bench.worker CASE` is started twice, once as it is and once
through `copool run`. It prints a line of JSON that says in which file the greenlet that
it got lies, or why it cannot do the case. Then it reads orders, a line with a number of
operations each, carries each out and prints the sample.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import repeat
from time import perf_counter_ns as clock

from copool.commands.bench.footprint import emit, greenlet_file
from copool.commands.bench.model import Extra, Sample, Work
from copool.commands.bench.peers import AT_A_TIME
from copool.commands.bench.runner import collector_off, preemptions
from copool.commands.bench.subjects import (
    Counter,
    GreenletSubject,
    countable,
    empty,
    judged,
)

EXTRA = Extra("compat", frozenset(("aiosqlite", "gevent", "greenlet", "sqlalchemy")))


@dataclass(frozen=True, slots=True)
class Way:
    """How a subject's process is started, and whose greenlet it then has."""

    launcher: Sequence[str]
    greenlet: str
    anywhere: bool = False


# --- the cases: what is needed is imported and made, then the work returned ---

Prepare = Callable[[ExitStack], Work]


def _by_greenlet(method: str) -> Prepare:
    def prepare(at_end: ExitStack) -> Work:
        import greenlet

        subject = GreenletSubject(greenlet.greenlet, greenlet.getcurrent)
        work: Work = getattr(subject, method)
        return work

    return prepare


def _greenlet_spawn(at_end: ExitStack) -> Work:
    from sqlalchemy.util import greenlet_spawn

    runner = at_end.enter_context(asyncio.Runner())

    def work(n: int, *, count: bool) -> Sample:
        body, counter = countable(empty, count=count)

        async def main() -> Sample:
            last: object = None
            start = clock()
            for _ in repeat(None, n):
                last = await greenlet_spawn(body)
            return judged(clock() - start, n, last, counter)

        return runner.run(main())

    return work


def _orm_select(at_end: ExitStack) -> Work:
    from sqlalchemy import Column, Integer, String, Table, select
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
    from sqlalchemy.orm import registry

    # Two threads wait for one another. It takes twice as long when the kernel
    # runs them on two processors, and for long stretches it does, or it doesn't.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    mapping = registry()
    key, text = Column("key", Integer, primary_key=True), Column("text", String)
    words = Table("words", mapping.metadata, key, text)

    class Word:
        text: str

    mapping.map_imperatively(Word, words)
    query = select(Word).where(key == 7)
    folder = at_end.enter_context(tempfile.TemporaryDirectory())
    engine = create_async_engine(f"sqlite+aiosqlite:///{folder}/words.sqlite")
    runner = at_end.enter_context(asyncio.Runner())
    at_end.callback(lambda: runner.run(engine.dispose()))

    async def fill() -> None:
        rows = [{"key": number, "text": f"word {number}"} for number in range(10)]
        async with engine.begin() as connection:
            await connection.run_sync(mapping.metadata.create_all)
            await connection.execute(words.insert(), rows)

    runner.run(fill())

    def work(n: int, *, count: bool) -> Sample:
        async def main() -> Sample:
            found = 0
            async with AsyncSession(engine) as session:
                await session.scalar(query)  # connects
                start = clock()
                for _ in repeat(None, n):
                    word = await session.scalar(query)
                    found += word is not None and word.text == "word 7"
                return Sample(clock() - start, n, found)

        return runner.run(main())

    return work


def _gevent_join(at_end: ExitStack) -> Work:
    import gevent

    def joins(n: int, count: bool) -> Sample:
        body, counter = countable(empty, count=count)
        spawn = gevent.spawn
        start = clock()
        for _ in repeat(None, n):
            job = spawn(body)
            job.join()
        return judged(clock() - start, n, job.value, counter)

    def work(n: int, *, count: bool) -> Sample:
        # In a greenlet, as in a server. A spawn looks at the calls that lead to
        # it, up to ten, and below the main program those of `copool run` are.
        sample: Sample = gevent.spawn(joins, n, count).get()
        return sample

    return work


def _gevent_raw(at_end: ExitStack) -> Work:
    import gevent

    def work(n: int, *, count: bool) -> Sample:
        ran = 0

        def body() -> None:
            nonlocal ran
            ran += 1

        spawn, sleep = gevent.spawn_raw, gevent.sleep
        left = n
        start = clock()
        while left:
            batch = min(left, AT_A_TIME)
            left -= batch
            for _ in repeat(None, batch):
                spawn(body)
            sleep(0)
        return Sample(clock() - start, n, ran)

    return work


def _gevent_sleep(at_end: ExitStack) -> Work:
    import gevent

    def work(n: int, *, count: bool) -> Sample:
        counter = Counter()
        sleep, run_soon = gevent.sleep, gevent.get_hub().loop.run_callback

        def sleeper() -> Sample:
            start = clock()
            for _ in repeat(None, n):
                sleep(0)
            return Sample(clock() - start, n, n)

        def counting_sleeper() -> Sample:
            # The hub runs what was asked of it before: counts the visits to it.
            for _ in repeat(None, n):
                run_soon(counter)
                sleep(0)
            return Sample(0, n, counter.count)

        sample: Sample = gevent.spawn(counting_sleeper if count else sleeper).get()
        return sample

    return work


WORKS: Mapping[str, Prepare] = {
    "spawn": _by_greenlet("lifecycle"),
    "switch": _by_greenlet("yield_there_and_back"),
    "deep-switch": _by_greenlet("deep_yield"),
    "throw": _by_greenlet("throw"),
    "getcurrent": _by_greenlet("getcurrent"),
    "greenlet-spawn": _greenlet_spawn,
    "orm-select": _orm_select,
    "gevent-join": _gevent_join,
    "gevent-raw": _gevent_raw,
    "gevent-sleep": _gevent_sleep,
}


def obey(prepare: Prepare, extra: Extra) -> None:
    """Prepare the work, say what can be said of it, and do it as often as ordered."""
    with ExitStack() as at_end:
        try:
            file = greenlet_file()
            work = prepare(at_end)
        except ModuleNotFoundError as error:
            emit({"impossible": str(extra.lacks(error))})
            return
        emit({"greenlet": file})
        for line in sys.stdin:
            order = json.loads(line)
            with collector_off():
                before = preemptions()
                sample = work(order["n"], count=order["count"])
                preempted = preemptions() != before
            emit(asdict(replace(sample, preempted=preempted)))


def main(arguments: list[str]) -> None:
    """Entry point of the process."""
    (case,) = arguments
    obey(WORKS[case], EXTRA)


if __name__ == "__main__":
    main(sys.argv[1:])
