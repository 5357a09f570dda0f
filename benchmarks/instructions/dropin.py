#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Says whose instructions gevent's programs run, with greenlet and with copool.

It counts as count.py does, but by function: a function's instructions are its own,
without those of its callees. Where stacks are switched callgrind takes some for
their callers', about 200 of an operation. Run it with the Python that
copool[compat] is installed for:

    python benchmarks/instructions/dropin.py                  # a table
    python benchmarks/instructions/dropin.py --functions 15   # and what switches
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

from count import FEW, MANY, Run, combination, dumps_of, run_inside

# Not by `copool run`, whose frames gevent would look at with each spawn.
ENVIRONMENTS = {"greenlet": {}, "copool": {"COPOOL_GREENLET": "1"}}
OPTIONS = ("--collect-systime=yes", "--compress-strings=no", "--compress-pos=no")
PARTS = ("eval loop", "other CPython", "gevent", "libev", "C library", "switching")
CALLS = "system calls"
TOGETHER = 100
DEEP = 10

Spent = Counter[tuple[str, str]]  # by part and function


def programs() -> Iterator[tuple[str, Run]]:
    """Yield every program with what does n operations of it."""
    import gevent

    def untracked(n: int) -> None:
        gevent.config.track_greenlet_tree = False
        run(lambda: spawn(n))
        gevent.config.track_greenlet_tree = True

    yield "spawn(noop).join()", lambda n: run(lambda: spawn(n))
    yield f"the same, {DEEP} calls deep", lambda n: run(lambda: spawn(n, DEEP))
    yield "the same, track_greenlet_tree off", untracked
    yield f"spawn(noop), {TOGETHER} to a joinall()", lambda n: run(lambda: crowd(n))
    yield "sleep(0), two in turn", lambda n: run(*[lambda: sleep(n // 2)] * 2)
    yield "Event there and back", hand_over_events
    yield "Queue there and back", hand_over_items


def run(*bodies: Callable[[], object]) -> None:
    """Run each in a greenlet to the end."""
    import gevent

    gevent.joinall([gevent.spawn(body) for body in bodies], raise_error=True)


def spawn(n: int, depth: int = 0) -> None:
    """Spawn n greenlets, and join each at once."""
    import gevent

    from copool.commands.bench.subjects import empty

    if depth:
        spawn(n, depth - 1)
        return
    for _ in repeat(None, n):
        gevent.spawn(empty).join()


def crowd(n: int) -> None:
    """Spawn n greenlets, and join so many together."""
    import gevent

    from copool.commands.bench.subjects import empty

    for _ in repeat(None, n // TOGETHER):
        gevent.joinall([gevent.spawn(empty) for _ in repeat(None, TOGETHER)])


def sleep(n: int) -> None:
    """Let the others run n times."""
    import gevent

    for _ in repeat(None, n):
        gevent.sleep(0)


def hand_over_events(n: int) -> None:
    """Let two greenlets wait for one another's event, n times each."""
    from gevent.event import Event

    ping, pong = Event(), Event()

    def first() -> None:
        for _ in repeat(None, n):
            ping.set()
            pong.wait()
            pong.clear()

    def second() -> None:
        for _ in repeat(None, n):
            ping.wait()
            ping.clear()
            pong.set()

    run(first, second)


def hand_over_items(n: int) -> None:
    """Let two greenlets get an item from one another's queue, n times each."""
    from gevent.queue import Queue

    ping, pong = Queue(), Queue()

    def first() -> None:
        for number in range(n):
            ping.put(number)
            assert pong.get() == number

    def second() -> None:
        for _ in repeat(None, n):
            pong.put(ping.get())

    run(first, second)


def part_of(file: str, function: str) -> str:
    """Return the one of PARTS that a function of a file belongs to."""
    if file.startswith(("libpython", "python")):
        is_loop = function == "_PyEval_EvalFrameDefault"
        return "eval loop" if is_loop else "other CPython"
    if file.startswith(("_core.", "_greenlet.")):
        return "switching"
    if file.startswith("corecext."):
        is_binding = function.startswith(("_", "gevent", "PyGevent"))
        return "gevent" if is_binding else "libev"
    return "gevent" if file.startswith("_gevent") else "C library"


def spent(dump: Path) -> Spent:
    """Return the instructions of each function, and the system calls it makes."""
    found = Spent()
    file = name = ""
    is_callees = False
    for line in dump.read_text().splitlines():
        key, _, value = line.partition("=")
        if key == "ob":
            file = Path(value).name
        elif key == "fn":
            name = value.partition("'")[0]
        elif line[:1].isdigit() and not is_callees:
            _, own, *calls = map(int, line.split())
            found[part_of(file, name), name] += own
            # Without valgrind that is none.
            if calls and not name.startswith("clock_gettime"):
                found[CALLS, name] += calls[0]
        is_callees = key == "calls"
    return found


def count(subject: str) -> list[dict[tuple[str, str], float]]:
    """Return what an operation of each program takes."""
    with tempfile.TemporaryDirectory() as folder:
        inside = (folder, __file__, "--inside", subject)
        environment = ENVIRONMENTS[subject]
        dumps = dumps_of(*inside, options=OPTIONS, environment=environment)
        counts = [spent(dump) for dump in dumps]
    return [
        {key: (many[key] - few[key]) / (MANY - FEW) for key in few | many}
        for few, many in zip(counts[1::3], counts[2::3], strict=False)
    ]


def report(
    name: str, subject: str, found: dict[tuple[str, str], float], most: int
) -> None:
    """Print a line of the table, then so many functions that switch."""
    parts = dict.fromkeys((*PARTS, CALLS), 0.0)
    for (part, _), own in found.items():
        parts[part] += own
    whole = sum(found.values()) - parts[CALLS]
    figures = (f"{n:,.0f}" for n in (whole, *parts.values()))
    print("", name, subject, *figures, "", sep=" | ")
    ours = [key for key in found if key[0] == "switching"]
    for key in sorted(ours, key=found.__getitem__, reverse=True)[:most]:
        print(f"{found[key]:>11,.1f}  {key[1]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--functions", type=int, default=0, metavar="N")
    parser.add_argument("--inside", choices=ENVIRONMENTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        from copool.commands.bench.footprint import check_identity, greenlet_file

        check_identity(options.inside, greenlet_file())
        run_inside(programs(), times=1)
        return 0
    print(f"with {combination()}:")
    found = {subject: count(subject) for subject in ENVIRONMENTS}
    print("", "an operation", "with", "all", *PARTS, CALLS, "", sep=" | ")
    for index, (name, _) in enumerate(programs()):
        for subject, results in found.items():
            report(name, subject, results[index], options.functions)
    return 0


if __name__ == "__main__":
    sys.exit(main())
