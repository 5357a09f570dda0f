"""Memory and system calls: measured in processes of their own.

`python -m copool.commands.bench.footprint memory SUBJECT N` makes N coroutines, each
suspended three Python calls deep, and prints as JSON what that added to the
resident set and to the page tables of the process, then lets all of them
finish and counts them. `… waiting SUBJECT N` does so with N tasks of one loop,
which wait for a future three calls below. `… quiet SUBJECT N` creates, runs and
finishes N of them after a warm-up, and prints how many page faults that took;
then it does so again with every system call but read() and write() forbidden on
pain of death, which a process that makes none survives.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

from copool import _core
from copool.commands.bench.model import (
    BenchError,
    Extra,
    ImpossibleError,
    WrongResultError,
)
from copool.commands.bench.peers import Run, bare_yield

EXTRA = Extra("bench", frozenset(("greenlet",)))
MOST_THREADS = 500
_PR_SET_SECCOMP, _SECCOMP_MODE_STRICT = 22, 1


def in_a_process(
    *arguments: str, launcher: Sequence[str] = (), extra: Extra = EXTRA
) -> Mapping[str, Any]:
    """Run this module with the arguments in a fresh process.

    The launcher is what stands before `-m` on its command line, and extra what
    has the packages that may be missing.
    """
    done = subprocess.run(
        [
            sys.executable,
            *launcher,
            "-m",
            "copool.commands.bench.footprint",
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    if not lines:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise BenchError(f"measuring {' '.join(arguments)} failed: {reason}")
    figures: dict[str, Any] = {}
    for line in lines:
        figures.update(json.loads(line))
    if "impossible" in figures:
        raise ImpossibleError(figures["impossible"])
    if "missing" in figures:
        name = figures["missing"]
        raise extra.lacks(ModuleNotFoundError(f"No module named {name!r}", name=name))
    return figures


def expect_all(figures: Mapping[str, Any], n: int, subject: str) -> None:
    """Raise WrongResultError unless all n coroutines finished in the end."""
    if figures["finished"] != n:
        raise WrongResultError(
            f"memory by {subject}: {figures['finished']} of {n} finished"
        )


# --- memory ---------------------------------------------------------------


def status_bytes() -> tuple[int, int]:
    """Return the resident bytes of this process and those of its page tables."""
    with open("/proc/self/smaps_rollup") as rollup:
        resident = next(line for line in rollup if line.startswith("Rss:"))
    with open("/proc/self/status") as status:
        tables = next(line for line in status if line.startswith("VmPTE:"))
    return int(resident.split()[1]) * 1024, int(tables.split()[1]) * 1024


def file_at(address: int, maps: str) -> str:
    """Return which file is mapped at an address, given `/proc/…/maps`.

    >>> file_at(0x2010, "2000-3000 rw-p 00000000 08:01 42    /usr/lib/some.so")
    '/usr/lib/some.so'
    """
    for line in maps.splitlines():
        first, _, end = line.split(maxsplit=1)[0].partition("-")
        if int(first, 16) <= address < int(end, 16):
            return line.split(maxsplit=5)[5] if len(line.split()) > 5 else ""
    return ""


def greenlet_file() -> str:
    """Return the file of the extension module that the type greenlet lies in.

    The type is a static one, so that its address tells, whatever the modules
    say of themselves.
    """
    import greenlet

    return file_at(id(greenlet.greenlet), Path("/proc/self/maps").read_text())


def check_identity(subject: str, file: str) -> None:
    """Raise BenchError unless that is the file of the subject's greenlet."""
    ours = Path(file).is_file() and Path(file).samefile(_core.__file__)
    if subject == "copool" and not ours:
        raise BenchError(
            "`copool run` did not put copool in greenlet's place: a process got the"
            f" greenlet of {file or 'no file'}"
        )
    if subject == "greenlet" and (ours or not file):
        raise BenchError(
            "a process that was to run with the real greenlet got the one of"
            f" {file or 'no file'}: start `copool bench` without `copool run`"
        )


Suspend = Callable[[], object]


def three_deep(suspend: Suspend) -> Callable[[], object]:
    """Return a function that calls suspend from three Python calls down."""

    def inner() -> None:
        suspend()

    def middle() -> None:
        inner()

    def outer() -> int:
        middle()
        return 1

    return outer


def _memory_copool(n: int) -> Mapping[str, int]:
    import copool

    body = three_deep(copool.yield_)

    def make() -> Callable[[], object]:
        enter = copool.Coroutine(body).enter
        enter()
        return enter

    return measure(make, n)


def _memory_greenlet(n: int) -> Mapping[str, int]:
    from greenlet import getcurrent, greenlet

    body = three_deep(getcurrent().switch)

    def make() -> Callable[[], object]:
        switch: Callable[[], object] = greenlet(body).switch
        switch()
        return switch

    return measure(make, n)


def _memory_generator(n: int) -> Mapping[str, int]:
    def inner() -> Generator[None, None, None]:
        yield

    def middle() -> Generator[None, None, None]:
        yield from inner()

    def outer() -> Generator[None, None, None]:
        yield from middle()

    def make() -> Callable[[], object]:
        generator = outer()
        next(generator)
        return lambda: next(generator, 1)

    return measure(make, n)


def _memory_asyncio(n: int) -> Mapping[str, int]:
    async def inner() -> None:
        await bare_yield()

    return measure_tasks(lambda gate: three_awaits_deep(inner), n)


def _memory_thread(n: int) -> Mapping[str, int]:
    gates: list[threading.Lock] = []

    def make() -> Callable[[], object]:
        gate = threading.Lock()
        gate.acquire()
        there = threading.Event()

        def suspend() -> None:
            there.set()
            gate.acquire()

        body = three_deep(suspend)
        thread = threading.Thread(target=body)
        thread.start()
        there.wait()
        gates.append(gate)

        def finish() -> int:
            gate.release()
            thread.join()
            return 1

        return finish

    return measure(make, n)


def measure(make: Callable[[], Callable[[], object]], n: int) -> Mapping[str, int]:
    """Make n and read off what was added; finish them and count."""
    finishers: list[Callable[[], object] | None] = [None] * n
    make()()  # what is allocated once is there now
    before = status_bytes()
    for index in range(n):
        finishers[index] = make()
    after = status_bytes()
    finished = sum(finish() == 1 for finish in finishers if finish)
    return _difference(before, after, finished)


async def three_awaits_deep(inner: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Await inner from three coroutines down, itself included."""

    async def middle() -> None:
        await inner()

    await middle()
    return 1


Gate = asyncio.Future[None]


def measure_tasks(
    body: Callable[[Gate], Coroutine[Any, Any, Any]], n: int, run: Run = asyncio.run
) -> Mapping[str, int]:
    """Do the same with n tasks, which the gate lets go on when it is done."""

    async def main() -> Mapping[str, int]:
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[Any] | None] = [None] * n
        gate = loop.create_future()
        gate.set_result(None)
        await loop.create_task(body(gate))
        gate = loop.create_future()
        before = status_bytes()
        for index in range(n):
            tasks[index] = loop.create_task(body(gate))
        await bare_yield()
        after = status_bytes()
        suspended = [task for task in tasks if task and not task.done()]
        gate.set_result(None)
        finished = sum([await task == 1 for task in suspended])
        return _difference(before, after, finished)

    figures: Mapping[str, int] = run(main())
    return figures


def _waiting_plain(n: int) -> Mapping[str, int]:
    async def inner(gate: Gate) -> None:
        await gate

    return measure_tasks(lambda gate: three_awaits_deep(partial(inner, gate)), n)


def _waiting_copool(n: int) -> Mapping[str, int]:
    import copool.aio

    async def body(gate: Gate) -> object:
        return three_deep(partial(copool.aio.await_, gate))()

    return measure_tasks(body, n, copool.aio.run)


def _waiting_sqlalchemy(n: int) -> Mapping[str, int]:
    # Where it is missing, SQLAlchemy would tell so without its name.
    import greenlet  # noqa: F401
    from sqlalchemy.util import await_only, greenlet_spawn

    return measure_tasks(
        lambda gate: greenlet_spawn(three_deep(partial(await_only, gate))), n
    )


def _waiting_greenback(n: int) -> Mapping[str, int]:
    import greenback

    def body(gate: Gate) -> Coroutine[Any, Any, object]:
        return greenback.with_portal_run_sync(
            three_deep(partial(greenback.await_, gate))
        )

    return measure_tasks(body, n)


def _difference(
    before: tuple[int, int], after: tuple[int, int], finished: int
) -> Mapping[str, int]:
    return {
        "resident": after[0] - before[0],
        "tables": after[1] - before[1],
        "finished": finished,
    }


# What is measured, by whom.
MEMORY: Mapping[str, Mapping[str, Callable[[int], Mapping[str, int]]]] = {
    "memory": {
        "copool": _memory_copool,
        "greenlet": _memory_greenlet,
        "generator": _memory_generator,
        "asyncio": _memory_asyncio,
        "thread": _memory_thread,
    },
    "waiting": {
        "plain": _waiting_plain,
        "copool": _waiting_copool,
        "SQLAlchemy": _waiting_sqlalchemy,
        "greenback": _waiting_greenback,
    },
}


# --- quiet ----------------------------------------------------------------


def maker_of(subject: str) -> Callable[[], object]:
    """Return what creates, runs and finishes one."""

    def empty() -> None:
        pass

    if subject == "copool":
        import copool

        make = copool.Coroutine
        return lambda: make(empty).enter()
    if subject == "greenlet":
        from greenlet import greenlet

        return lambda: greenlet(empty).switch()
    raise ImpossibleError(f"not measured for {subject}")


def quiet(subject: str, n: int) -> None:
    """Print the page faults that n of them take, then whether they are silent."""
    import gc
    import resource

    run = maker_of(subject)
    gc.disable()

    def many() -> None:
        for _ in repeat(None, n):
            run()

    many()
    before = resource.getrusage(resource.RUSAGE_SELF)
    many()
    after = resource.getrusage(resource.RUSAGE_SELF)
    faults = after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt
    emit({"faults": faults})
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_STRICT, 0, 0, 0) != 0:
        emit({"strict": False})
        return
    many()
    os.write(1, b'{"silent": true}\n')


def emit(figures: Mapping[str, object]) -> None:
    """Print a line now: the process may be killed before its buffers are."""
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> None:
    """Entry point of the process."""
    what, subject, number = arguments
    try:
        if what in MEMORY:
            emit(MEMORY[what][subject](int(number)))
            if "greenlet" in sys.modules:
                emit({"greenlet": greenlet_file()})
        else:
            quiet(subject, int(number))
    except ImpossibleError as error:
        emit({"impossible": str(error)})
    except ModuleNotFoundError as error:
        emit({"missing": error.name})


if __name__ == "__main__":
    main(sys.argv[1:])
