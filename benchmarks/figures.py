"""Figures of the pages, measured anew: `make claims` compares them.

    python benchmarks/figures.py                  # the names, with their arguments
    python benchmarks/figures.py crowd 512 64    # one of them

Prints the numbers in the order in which a page has them, times with their unit. Each is
of a process of its own, which is this one: what was measured before would be in it too.
Times are of the processor, the quickest of some, and vary with the machine; counts and
bytes don't.
"""

import ctypes
import gc
import inspect
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import copool

ROOT = Path(__file__).resolve().parents[1]
MANY = 20_000  # so that what all of them share is less than a byte of each
KIB = 1024


# --- memory -----------------------------------------------------------------


def memory() -> tuple[int, int]:
    """Return the bytes of this process that are resident, and of its page tables."""
    rollup = Path("/proc/self/smaps_rollup").read_text()
    status = Path("/proc/self/status").read_text()
    resident, tables = (
        int(re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)[1]) * KIB
        for name, text in [("Rss", rollup), ("VmPTE", status)]
    )
    return resident, tables


def _innermost() -> None:
    while True:
        copool.yield_()


def _middle() -> None:
    _innermost()


def _outermost() -> None:
    _middle()


def _taken(n: int, make: Callable[[], object]) -> tuple[int, int]:
    """Return what one of n takes of memory, and of page tables."""
    kept = [make() for _ in range(100)]
    kept.clear()
    copool.trim()
    gc.collect()
    # The list is there beforehand: it is not theirs.
    kept = [None] * n
    before = memory()
    for i in range(n):
        kept[i] = make()
    return tuple(round((b - a) / n) for a, b in zip(before, memory(), strict=True))


def _suspended() -> copool.Coroutine:
    co = copool.Coroutine(_outermost)
    co.enter()
    return co


def _bound() -> Callable[[], object]:
    enter = copool.Coroutine(_outermost).enter
    enter()
    return enter


def suspended(kept: str) -> Sequence[float]:
    """Of one that is suspended three calls deep: its object is kept, or its enter."""
    return (_taken(MANY, {"object": _suspended, "enter": _bound}[kept])[0],)


def crowd(stack: str, guard: str) -> Sequence[float]:
    """One of 100,000: page and objects, page tables, and both; sizes are in KiB."""
    copool.configure(stack_size=int(stack) * KIB, guard_size=int(guard) * KIB)
    taken = _taken(100_000, _bound)
    return *taken, sum(taken)


# --- stacks -----------------------------------------------------------------


def _stack_pointer() -> int:
    """Return where the C stack ends, by getcontext(), on x86-64."""
    ctypes.CDLL(None).getcontext(_registers)
    return int.from_bytes(_registers[160:168], "little")


_registers = ctypes.create_string_buffer(2048)


class _Asks:
    """Has an attribute that is found by calling a function."""

    def __init__(self, deeper: Callable[[int], object], n: int) -> None:
        self.deeper, self.n = deeper, n

    def __getattr__(self, name: str) -> object:
        return self.deeper(self.n)


class _Compares:
    def __init__(self, deeper: Callable[[int], object], n: int) -> None:
        self.deeper, self.n = deeper, n

    def __lt__(self, other: object) -> bool:
        self.deeper(self.n)
        return False


def _generates(deeper: Callable[[int], object], n: int) -> object:
    def values():
        yield deeper(n)

    return next(values())


PATTERNS: dict[str, Callable[[Callable[[int], object], int], object]] = {
    "python": lambda deeper, n: deeper(n),
    "generator": _generates,
    "getattr": lambda deeper, n: _Asks(deeper, n).x,
    "map": lambda deeper, n: list(map(deeper, [n])),
    "re.sub": lambda deeper, n: re.sub("x", lambda _: str(deeper(n)), "x"),
    "sorted": lambda deeper, n: sorted([n], key=deeper),
    "lt": lambda deeper, n: [_Compares(deeper, n), _Compares(deeper, n)].sort(),
}


def nested(pattern: str) -> Sequence[float]:
    """Bytes of C stack for each level of calls; PATTERNS has the names."""
    call = PATTERNS[pattern]
    once, few, many = 1, 10, 60

    def bottom(depth: int) -> int:
        found = []

        def deeper(n: int) -> int:
            if n:
                call(deeper, n - 1)
            elif not found:
                found.append(_stack_pointer())
            return 0

        copool.Coroutine(deeper).enter(depth)
        return found[0]

    for depth in (once, few, many):  # until nothing is done for the first time
        bottom(depth)
    return (round((bottom(few) - bottom(many)) / (many - few)),)


def least_stack() -> Sequence[float]:
    """Return the least stack size that is accepted, in KiB."""
    try:
        copool.configure(stack_size=1)
    except ValueError as error:
        return (-(-int(str(error).split()[-1]) // KIB),)
    raise AssertionError("a stack of one byte was accepted")


# --- time -------------------------------------------------------------------


def dump(n: str) -> Sequence[str]:
    """Time of the processor for a dump of n that are two to eight frames deep."""

    def wait(more: int) -> None:
        if more:
            wait(more - 1)
        else:
            copool.yield_()

    kept = []
    for i in range(int(n)):
        kept.append(copool.Coroutine(partial(wait, i % 7)))
        kept[-1].enter()

    def once() -> float:
        begin = time.process_time()
        copool.dump(io.StringIO())
        return time.process_time() - begin

    return (f"{min(once() for _ in range(5))} s",)


# --- counts -----------------------------------------------------------------


def simulate(*options: str) -> Sequence[float | str]:
    """Simulate a row: nanoseconds for each, blocks made, contended steps of each.

    The seed is the default, and so the row is the same each time. Needs --policy.
    """
    with tempfile.NamedTemporaryFile("r") as file:
        command = [sys.executable, "-m", "copool", "simulate", *options]
        subprocess.run(
            [*command, "--json", file.name], stdout=subprocess.DEVNULL, check=True
        )
        (row,) = json.load(file)["rows"]
    found = row["outcome"]
    contended = found["contended"] / found["lifecycles"]
    return f"{found['ns_each']} ns", found["made"], contended


def tests(node: str, each: str) -> Sequence[float]:
    """Count the parameters of a test; by threes, say, if there are three of each."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", ""]
    done = subprocess.run(
        [*command, node], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return (sum("::" in line for line in done.stdout.splitlines()) / int(each),)


def libraries() -> Sequence[float]:
    """How many have a row in the table of those that are run."""
    page = (ROOT / "docs/libraries.md").read_text()
    table = re.search(r"<!-- table -->\n(.*?)\n(?!\|)", page, re.DOTALL)[1]
    return (len({line.split("|")[1] for line in table.splitlines()[2:]}),)


FIGURES = [
    suspended,
    crowd,
    nested,
    least_stack,
    dump,
    simulate,
    tests,
    libraries,
]


def main() -> None:
    """Print the one that is asked for, or what there is."""
    by_name = {figure.__name__: figure for figure in FIGURES}
    if len(sys.argv) == 1:
        for name, figure in by_name.items():
            print(name, *inspect.signature(figure).parameters, sep="\t")
            print("\t", figure.__doc__.splitlines()[0], sep="")
        return
    os.chdir(ROOT)
    print(json.dumps(by_name[sys.argv[1]](*sys.argv[2:])))


if __name__ == "__main__":
    main()
