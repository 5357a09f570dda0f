"""The cases of ``copool bench --compat``: the real greenlet beside the drop-in.

There is one module greenlet in a process. So each case has two processes of the
same code, one started as plain python, the other one through `copool run`, and
they take turns as other subjects do. Each says from which file its greenlet
comes; it is an error if that is not the expected one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from itertools import repeat
from pathlib import Path
from time import perf_counter_ns as clock
from typing import Any

from copool.commands.bench import footprint, worker
from copool.commands.bench.cases import MAP_16K, Case, Plan
from copool.commands.bench.model import (
    TIME,
    BenchError,
    ImpossibleError,
    Key,
    Level,
    Measurement,
    Sample,
    Trial,
    Work,
)
from copool.commands.bench.runner import Settings
from copool.commands.bench.worker import EXTRA, Way

# What stands between the interpreter and what it is to run, for each subject.
LAUNCHERS: Mapping[str, Sequence[str]] = {
    "greenlet": (),
    "copool": ("-m", "copool", "run"),
}

# So many timed runs are had of each process.
ORDERS_EACH = 10


# --- processes that take turns ----------------------------------------------


class RemoteWork:
    """A case done by a process, which is started when first asked to do it.

    Where things happen to lie in a process makes it some percent faster or slower,
    so that from time to time it is replaced by a fresh one.
    """

    def __init__(self, case: str, subject: str, variant: str = "") -> None:
        self.case, self.subject, self.variant = case, subject, variant
        self.process: subprocess.Popen[str] | None = None
        self.orders = 0

    def __call__(self, n: int, *, count: bool) -> Sample:
        """Have it done n times."""
        process = self.process
        if process is None or self.orders >= ORDERS_EACH:
            self.close()
            process, self.orders = self._start(), 0
            self._ask(process, n, count=False)  # to warm up
        self.orders += 1
        return self._ask(process, n, count=count)

    def close(self) -> None:
        """Let the process end by itself, or else kill it."""
        if self.process is None:
            return
        try:
            self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        self.process = None

    def command(self) -> Sequence[str]:
        """Return what the interpreter that does the work is told."""
        return (*self.way().launcher, *self.told())

    def way(self) -> Way:
        """Return how the process is started, and whose greenlet it must have."""
        return Way(LAUNCHERS[self.subject], self.subject)

    def told(self) -> Sequence[str]:
        """Return what is told of the work, whatever the way."""
        return ("-m", worker.__name__, self.case)

    def _start(self) -> subprocess.Popen[str]:
        process = self._spawn()
        self.process = process
        greeting = self._answer(process)
        if "impossible" in greeting:
            raise ImpossibleError(greeting["impossible"])
        footprint.check_identity(self.way().greenlet, greeting["greenlet"])
        return process

    def _spawn(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *self.command()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _ask(self, process: subprocess.Popen[str], n: int, *, count: bool) -> Sample:
        assert process.stdin
        # One that has died is noticed by its missing answer.
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps({"n": n, "count": count}) + "\n")
            process.stdin.flush()
        return Sample(**self._answer(process))

    def _answer(self, process: subprocess.Popen[str]) -> Mapping[str, Any]:
        assert process.stdout
        line = process.stdout.readline()
        if not line:
            raise BenchError(f"{self.case} by {self.subject}: {self._last(process)}")
        answer: Mapping[str, Any] = json.loads(line)
        return answer

    def _last(self, process: subprocess.Popen[str]) -> str:
        """Return what a process has said that no longer answers."""
        return last_line(process.communicate()[1])


def last_line(errors: str) -> str:
    """Return what a process that failed said last."""
    return (errors.strip().splitlines() or ["it ended without a word"])[-1]


def plan_processes(
    case: Case,
    level: Level,
    kind: Callable[[str, str, str], RemoteWork],
    who: Iterable[tuple[str, str]],
    *,
    n: int | None = None,
    unit: str = TIME,
) -> Plan:
    """Plan works of a kind that take turns, for each variant and subject."""
    works = {
        Key(case.name, level, variant, subject): kind(case.name, subject, variant)
        for variant, subject in who
    }

    def close() -> None:
        with ExitStack() as at_end:
            for work in works.values():
                at_end.callback(work.close)

    return [Trial(works, n=n, close=close, unit=unit)]


def _plan_turns(case: Case, settings: Settings, *, n: int | None = None) -> Plan:
    who = (("", subject) for subject in LAUNCHERS)
    return plan_processes(case, "drop-in", RemoteWork, who, n=n)


# --- processes that are short -----------------------------------------------


def run_script(name: str, subject: str, command: Sequence[str]) -> str:
    """Run a script of this folder by a command; return what it prints."""
    script = str(Path(__file__).with_name(name))
    try:
        done = subprocess.run(
            [*command, script], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise ImpossibleError(f"{command[0]} is not installed") from None
    if done.returncode == 0:
        return done.stdout
    words = last_line(done.stderr)
    if subject == "greenlet" and words.endswith("No module named 'greenlet'"):
        raise EXTRA.without("greenlet")
    raise BenchError(f"{name} by {subject}: {words}")


def import_greenlet(
    n: int, *, count: bool, subject: str, command: Sequence[str]
) -> Sample:
    """Have n processes import greenlet, and time that themselves."""
    nanoseconds = 0
    for _ in repeat(None, n):
        printed = run_script("script_import.py", subject, command)
        first, _, maps = printed.partition("\n")
        elapsed, address = map(int, first.split())
        footprint.check_identity(subject, footprint.file_at(address, maps))
        nanoseconds += elapsed
    return Sample(nanoseconds, n, n)


def start_up(n: int, *, count: bool, subject: str, command: Sequence[str]) -> Sample:
    """Start n interpreters, one after the other, and wait for the end of each."""
    if count:
        # The script imports nothing: what it would get is looked at first.
        with suppress(ImpossibleError):
            import_greenlet(1, count=True, subject=subject, command=command)
    came_back = 0
    start = clock()
    for _ in repeat(None, n):
        came_back += run_script("script_empty.py", subject, command) == "done\n"
    return Sample(clock() - start, n, came_back)


def _process_works(
    case: str, work: Callable[..., Sample], copool: Sequence[str], variant: str = ""
) -> dict[Key, Work]:
    plain = (sys.executable, *LAUNCHERS["greenlet"])
    return {
        Key(case, "drop-in", variant, subject): partial(
            work, subject=subject, command=command
        )
        for subject, command in (("greenlet", plain), ("copool", copool))
    }


def _plan_import(case: Case, settings: Settings) -> Plan:
    copool = (sys.executable, *LAUNCHERS["copool"])
    return [Trial(_process_works(case.name, import_greenlet, copool), n=1)]


def _plan_start_up(case: Case, settings: Settings) -> Plan:
    commands = {
        "copool run": (f"{sysconfig.get_path('scripts')}/copool", "run"),
        "python -m copool run": (sys.executable, *LAUNCHERS["copool"]),
    }
    works: dict[Key, Work] = {}
    for variant, command in commands.items():
        works |= _process_works(case.name, start_up, command, variant)
    return [Trial(works, n=1)]


def _plan_suspended(case: Case, settings: Settings) -> Plan:
    n = 4_000 if settings.quick else 20_000
    keys = {
        (subject, figure): Key(case.name, "drop-in", variant, subject)
        for figure, variant in (("resident", "resident"), ("tables", "page tables"))
        for subject in LAUNCHERS
    }

    def take() -> Mapping[Key, float]:
        found = {}
        for subject, launcher in LAUNCHERS.items():
            figures = footprint.in_a_process(
                "memory", "greenlet", str(n), launcher=launcher, extra=EXTRA
            )
            footprint.check_identity(subject, figures["greenlet"])
            footprint.expect_all(figures, n, subject)
            for figure in ("resident", "tables"):
                found[keys[subject, figure]] = figures[figure] / n
        return found

    rounds = min(settings.rounds, 3 if settings.quick else 7)
    return [Measurement(tuple(keys.values()), take, "bytes", rounds)]


CASES: tuple[Case, ...] = (
    MAP_16K,
    Case("spawn", "create, run and finish", _plan_turns),
    Case("switch", "switch there and back", _plan_turns),
    Case("deep-switch", "the same, ten C frames down", _plan_turns),
    Case("throw", "create, suspend, throw", _plan_turns),
    Case("getcurrent", "getcurrent()", _plan_turns),
    Case("suspended", "a suspended one", _plan_suspended),
    Case("greenlet-spawn", "await greenlet_spawn(noop)", _plan_turns),
    # It has two threads on one processor: preempted it is always.
    Case("orm-select", "async ORM select, aiosqlite", partial(_plan_turns, n=10)),
    Case("gevent-join", "gevent.spawn(noop).join()", _plan_turns),
    Case("gevent-raw", "spawn_raw(noop), and run it", _plan_turns),
    Case("gevent-sleep", "gevent.sleep(0)", _plan_turns),
    Case("import", "import greenlet", _plan_import),
    Case("start-up", "empty script", _plan_start_up),
)
