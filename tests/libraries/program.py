"""Runs the checks of one library in one host: a process of its own.

Arguments: the name of a module in works, a host, the file to write the record to.
What runs in the host does so before it runs in the main flow, which gives the answer
that is right, so that also the library's first call is in the host.
"""

import importlib
import itertools
import json
import math
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from importlib import metadata
from pathlib import Path
from types import ModuleType

from hosts import HOSTS, Chain, Host, Missing, pause, run_in
from judge import CHECKS, OK, RAISED, WRONG
from neighbours import COUNT, answer_of, neighbour

CHAINS = 3
# The orders in which the chains are resumed, in turns: none of them is that in which
# calls would have to be nested.
ORDERS = ((0, 1, 2), (1, 2, 0), (0, 2, 1), (2, 0, 1))


class Record:
    def __init__(self, path: Path):
        self._path = path

    def write(self, **entry: object) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")


def same(ours: object, right: object) -> bool:
    """Whether two answers are the same, floats but for rounding; NaN never is."""
    if type(ours) is not type(right):
        return False
    if isinstance(right, float):
        return math.isclose(ours, right, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(right, dict):
        return ours.keys() == right.keys() and all(
            same(ours[key], right[key]) for key in right
        )
    if isinstance(right, list | tuple):
        return len(ours) == len(right) and all(map(same, ours, right))
    if type(right).__module__ == "numpy" and right.dtype.kind in "fc":
        if ours.shape != right.shape:
            return False
        largest = max(1, abs(right).max(initial=0))
        return bool(abs(ours - right).max(initial=0) <= 1e-9 * largest)
    equal = ours == right
    return bool(equal.all()) if hasattr(equal, "all") else bool(equal)


def resume_to_end(chain: Chain) -> None:
    while not chain.done:
        chain.resume()


def alone(host: Host, fn: Callable[[], object]) -> object:
    chain = host.Chain(fn)
    resume_to_end(chain)
    return chain.value


def taking_turns(host: Host, fns: Sequence[Callable[[], object]]) -> list[object]:
    """Run the functions in chains that stop in their callbacks, in changing order."""
    chains = [host.Chain(fn) for fn in fns]
    turns = [0] * len(chains)
    for order in itertools.cycle(ORDERS):
        for number in order:
            if not chains[number].done:
                chains[number].resume()
                turns[number] += 1
        if all(chain.done for chain in chains):
            break
    if min(turns) < 2:
        raise AssertionError(f"a chain did not stop in its callback: {turns} turns")
    return [chain.value for chain in chains]


def among_neighbours(
    host: Host, fn: Callable[[], object]
) -> tuple[object, list[object]]:
    """Run the function when others are suspended deep, before and behind its stack."""

    def begin_and_call() -> object:
        pause()
        return fn()

    work = host.Chain(begin_and_call)
    around = [host.Chain(partial(neighbour, number)) for number in range(COUNT)]
    for chain in (*around[: COUNT // 2], work, *around[COUNT // 2 :]):
        chain.resume()
    resume_to_end(work)
    for chain in (*around[::2], *around[::-2]):
        resume_to_end(chain)
    return work.value, [chain.value for chain in around]


def raised(call: Callable[[], object]) -> tuple[str, str]:
    """The type and the message of what it raises, but for addresses."""
    try:
        call()
    except Exception as error:
        message = re.sub(r"0x[0-9a-f]{4,}", "0x...", str(error))
        return type(error).__qualname__, message
    raise AssertionError("nothing was raised")


class Library:
    """The checks of one library, as far as it has them, in one host."""

    def __init__(self, work: ModuleType, host: Host, record: Record):
        self._work, self._host, self._record = work, host, record

    def checks(self) -> list[str]:
        """Those that it has; with the heavy work goes a check of its neighbours."""
        functions = {"neighbours": "heavy"}
        return [c for c in CHECKS if hasattr(self._work, functions.get(c, c))]

    def run(self, check: str) -> None:
        """Write what comes of a check; neighbours are a part of the heavy one."""
        self._record.write(check=check, outcome=None)
        try:
            ours, right = getattr(self, f"_{check}")()
        except Exception:
            self._write(check, RAISED, traceback.format_exc(limit=-2))
            return
        if right is None:
            self._write(check, WRONG, "there is no answer in the main flow")
        elif same(ours, right):
            self._write(check, OK)
        else:
            detail = f"{ours!r:.300}\nand in the main flow\n{right!r:.300}"
            self._write(check, WRONG, detail)

    def _write(self, check: str, outcome: str, detail: str = "") -> None:
        self._record.write(check=check, outcome=outcome, detail=detail)

    def _in_host(self, run: Callable[..., object], what: object) -> object:
        return run_in(self._host, partial(run, self._host, what))

    def _small(self) -> tuple[object, object]:
        return self._in_host(alone, self._work.small), self._work.small()

    def _heavy(self) -> tuple[object, object]:
        return self._in_host(alone, self._work.heavy), self._right_heavy

    def _callback(self) -> tuple[object, object]:
        fns = [partial(self._work.callback, number) for number in range(CHAINS)]
        return self._in_host(taking_turns, fns), [fn() for fn in fns]

    def _exception(self) -> tuple[object, object]:
        """That it comes through, and that the library works afterwards."""
        conduct = partial(alone, self._host, self._work.exception)
        ours = raised(lambda: run_in(self._host, conduct))
        then = self._in_host(alone, self._work.small)
        return (ours, then), (raised(self._work.exception), self._work.small())

    def _neighbours(self) -> tuple[object, object]:
        ours = self._in_host(among_neighbours, self._work.heavy)
        return ours, (self._right_heavy, [answer_of(n) for n in range(COUNT)])

    @cached_property
    def _right_heavy(self) -> object:
        return self._work.heavy()


def version_of(work: ModuleType) -> str:
    """That of the distribution, or of the C library behind a standard module."""
    return getattr(work, "VERSION", None) or metadata.version(work.DISTRIBUTION)


def main() -> None:
    name, host_name, path = sys.argv[1:]
    record = Record(Path(path))
    host = HOSTS[host_name]()
    try:
        work = importlib.import_module(f"works.{name}")
    except Missing as missing:
        record.write(skipped=str(missing))
        return
    library = Library(work, host, record)
    record.write(
        name=getattr(work, "NAME", None) or work.DISTRIBUTION,
        version=version_of(work),
        checks=library.checks(),
        thread_stack=getattr(work, "ON_THREAD_STACK", False),
    )
    for check in library.checks():
        library.run(check)
    record.write(ended=True)


if __name__ == "__main__":
    main()
