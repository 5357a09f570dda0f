#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Counts the instructions that an operation takes, with valgrind's callgrind.

Unlike times these do not vary with the machine's load, so that a change for the
worse is seen at once. Run it with the Python that copool is installed for:

    python benchmarks/instructions/count.py            # print them
    python benchmarks/instructions/count.py --check    # compare with those kept
    python benchmarks/instructions/count.py --update   # keep them

Every case is run with two numbers of operations; the difference of the
instructions divided by the difference of the numbers is what one takes, free of
what happens once. One process does all cases: callgrind writes its counts down
and starts anew whenever a certain function is called.

An object that happens to be the last of its pool costs Python's allocator more
at every operation, which hangs on all that was allocated before, the length of a
path included. So each case is done several times, a few blocks of each size
further on, and the least counts.

The figures depend on the compiler, the C library and the Python, so they are
kept for each such combination, in expected.json beside this file. Where there
are none for the combination at hand, --check says so and passes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar, copy_context
from pathlib import Path
from types import MappingProxyType

EXPECTED = Path(__file__).with_name("expected.json")
FEW, MANY = 1000, 3000
CROWD = 500  # so that each has been away for more switches than outlook.h states
TOLERANCE = 0.01
SLACK = 2.0  # instructions, for the cases that take few
TIMES = 3
SIZES = range(48, 512 + 1, 16)  # of the blocks that Python's allocator hands out
BLOCKS = 5  # more than an operation has alive of one size; a pool has 31 or more

Run = Callable[[int], object]


def runs() -> Iterator[tuple[str, Run]]:
    """Yield every case with what does it n times."""
    from copool import Coroutine as inside
    from copool._core import _greenlet_names, bridge, run_sync
    from copool.commands.bench.aio import (
        SUBJECTS,
        Suspends,
        awaiting,
        calling,
        drive,
        waiting,
    )
    from copool.commands.bench.clevel import POLICIES, CWork
    from copool.commands.bench.subjects import CopoolSubject, GreenletSubject, empty

    for policy in POLICIES:
        for case in ("lifecycle", "cost", "yield"):
            work = CWork(case, policy)
            yield f"C {case} {policy}", lambda n, work=work: work(n, count=False)
    subject = CopoolSubject("magazine")
    for name, method in (
        ("lifecycle", subject.lifecycle),
        ("cost", subject.cost),
        ("yield", subject.yield_there_and_back),
        ("deep-yield", subject.deep_yield),
    ):
        yield f"Python {name}", lambda n, method=method: method(n, count=False)
    yield "Python lifecycle, variables", lambda n: with_variables(subject.lifecycle, n)
    yield "Python cost, variables", lambda n: with_variables(subject.cost, n)
    yield "Python on_thread_stack", lambda n: inside(calls_on_thread_stack).enter(n)
    names = _greenlet_names()
    greenlets = GreenletSubject(names["greenlet"], names["getcurrent"])
    for name, method in (
        ("lifecycle", greenlets.lifecycle),
        ("cost", greenlets.cost),
        ("yield", greenlets.yield_there_and_back),
        ("deep-yield", greenlets.deep_yield),
    ):
        yield f"greenlet {name}", lambda n, method=method: method(n, count=False)
    way = SUBJECTS["copool"].way()
    yield "bridge run_sync", lambda n: finish(calling(way, empty, n))
    yield (
        "bridge await_",
        lambda n: drive(run_sync(waiting, way.wait, Suspends, n + 1), n),
    )
    yield "bridge step", lambda n: drive(bridge(awaiting(Suspends, n + 1)), n)
    # The last one: a crowd takes blocks that the others would reuse.
    yield "Python yield, in a crowd", in_a_crowd()


def with_variables(method: Callable[..., object], n: int) -> None:
    """Do n of it where context variables have values, which are then copied."""

    def run() -> None:
        for name in "abc":
            ContextVar(name).set(name)
        method(n, count=False)

    copy_context().run(run)


def in_a_crowd() -> Run:
    """Return what enters many in turn, which have memory asked for ahead of time."""
    from copool import Coroutine as inside
    from copool import yield_

    def body() -> None:
        while True:
            yield_()

    def enter(n: int) -> None:
        for _ in range(n // len(crowd)):
            for coroutine in crowd:
                coroutine.enter()

    crowd = [inside(body) for _ in range(CROWD)]
    enter(4 * CROWD)  # from then on it is known who comes after whom
    return enter


def calls_on_thread_stack(n: int) -> None:
    """Call an empty function on the thread's own stack n times."""
    from copool import on_thread_stack
    from copool.commands.bench.subjects import empty

    for _ in range(n):
        on_thread_stack(empty)


def finish(coroutine: Coroutine[object, object, object]) -> None:
    """Run what never suspends."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it suspended")


def run_inside(cases: Iterable[tuple[str, Run]], times: int = TIMES) -> None:
    """Do every case; to be run under callgrind. 3 * times dumps come of each."""
    from copool.commands.bench.clevel import mark
    from copool.commands.bench.runner import collector_off

    occupied = []
    for _, run in cases:
        with collector_off():
            run(FEW)
            for _ in range(times):
                occupied += [
                    bytes(size - sys.getsizeof(b"")) for size in [*SIZES] * BLOCKS
                ]
                mark()
                run(FEW)
                mark()
                run(MANY)
                mark()


def combination() -> str:
    """Name what the figures depend on."""
    from copool.commands.bench.clevel import compiler

    return ", ".join(
        (
            platform.machine(),
            compiler().split(" 20")[0],
            " ".join(platform.libc_ver()),
            f"{platform.python_implementation()} {platform.python_version()}",
        )
    )


def total_of(dump: Path) -> int:
    """Return the instructions in a dump of callgrind."""
    match = re.search(r"^(?:totals|summary): (\d+)", dump.read_text(), re.MULTILINE)
    if match is None:
        sys.exit(f"{dump.name} has no total in it: not what callgrind writes?")
    return int(match[1])


def dumps_of(
    folder: str,
    *command: str,
    options: Sequence[str] = (),
    environment: Mapping[str, str] = MappingProxyType({}),
) -> list[Path]:
    """Run Python with that under callgrind; return what it has written, in order."""
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed (Debian: apt install valgrind)")
    out = Path(folder, "dump")
    done = subprocess.run(
        [
            "valgrind",
            "--tool=callgrind",
            f"--callgrind-out-file={out}",
            "--dump-before=corebench_dump",
            *options,
            sys.executable,
            *command,
        ],
        env=os.environ | {"PYTHONHASHSEED": "0"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"the run under callgrind failed:\n{done.stderr[-2000:]}")
    return sorted(out.parent.glob("dump.*"), key=lambda path: int(path.suffix[1:]))


def count() -> dict[str, float]:
    """Return the instructions per operation of every case."""
    with tempfile.TemporaryDirectory() as folder:
        dumps = dumps_of(folder, __file__, "--inside")
        names = [name for name, _ in runs()]
        each = 3 * TIMES
        if len(dumps) < each * len(names):
            sys.exit(f"{len(dumps)} dumps instead of {each * len(names)}")
        found = {}
        for index, name in enumerate(names):
            totals = [*map(total_of, dumps[each * index : each * (index + 1)])]
            least = min(
                many - few for few, many in zip(totals[1::3], totals[2::3], strict=True)
            )
            found[name] = round(least / (MANY - FEW), 1)
        return found


def is_near(found: float, kept: float) -> bool:
    return abs(found - kept) <= max(TOLERANCE * kept, SLACK)


def compare(found: dict[str, float], kept: dict[str, float]) -> int:
    """Print both, and return 1 when any has moved."""
    moved = 0
    print(f"{'instructions per operation':<28} {'found':>9} {'kept':>9}")
    for name in found | kept:
        here, there = found.get(name), kept.get(name)
        is_well = here is not None and there is not None and is_near(here, there)
        moved += not is_well
        columns = ["-" if n is None else f"{n:,.1f}" for n in (here, there)]
        verdict = "" if is_well else "  MOVED"
        print(f"{name:<28} {columns[0]:>9} {columns[1]:>9}{verdict}")
    if moved:
        print(
            f"{moved} moved by more than {TOLERANCE:.0%}. If that is meant, run"
            f" `{Path(sys.executable).name} {__file__} --update` and commit the file."
        )
    return 1 if moved else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="compare with those kept")
    what.add_argument("--update", action="store_true", help="keep what is found")
    what.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        run_inside(runs())
        return 0
    kept = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    key = combination()
    print(f"with {key}:")
    if options.check and key not in kept:
        print(
            f"NOTE: no figures are kept for this combination in {EXPECTED.name}, so"
            " there is nothing to compare with. Those found:"
        )
    found = count()
    if options.check and key in kept:
        return compare(found, kept[key])
    for name, instructions in found.items():
        print(f"{name:<28} {instructions:>9,.1f}")
    if options.update:
        kept[key] = found
        EXPECTED.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
        print(f"kept in {EXPECTED.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
