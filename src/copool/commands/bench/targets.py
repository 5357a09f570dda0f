"""What copool is to reach, and whether a run of the benchmark shows it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from copool.commands.bench import aio, orm, serve
from copool.commands.bench.cases import ALIVE, cores, threads_variant
from copool.commands.bench.model import Level, Results, difference, ratio

Measure = Callable[[Results], float | None]

# Below this part of the ideal, the machine was too busy to judge how we scale.
MACHINE_SCALES = 0.9


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for a figure; the figure is None when it wasn't measured.

    What is wished for goes beyond an upper bound, and need not be reached.
    """

    case: str
    text: str
    measure: Measure
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    wish: float | None = None

    @property
    def bound(self) -> str:
        """The bound in writing."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}{self.unit}"
        wish = "" if self.wish is None else f"; wish {self.wish:g}{self.unit}"
        return f"≤ {self.at_most:g}{self.unit}{wish}"

    def reached_by(self, figure: float) -> bool:
        """Tell whether the figure keeps to the bound."""
        if self.at_least is not None:
            return figure >= self.at_least
        return self.at_most is not None and figure <= self.at_most

    def wish_granted_by(self, figure: float) -> bool:
        """Tell whether there is a wish and the figure keeps to that."""
        return self.wish is not None and figure <= self.wish


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target, what was measured, and whether it is reached (None: no figure)."""

    target: Target
    figure: float | None
    reached: bool | None


def faster(
    case: str, level: Level, subject: str, than: str, variant: str = ""
) -> Measure:
    """Return a measure: how many times as long the other one takes."""

    def measure(results: Results) -> float | None:
        one = results.find(case, level, subject, variant)
        other = results.find(case, level, than, variant)
        return ratio(other, one) if one and other else None

    return measure


def slower(
    case: str, level: Level, subject: str, than: str, variant: str = ""
) -> Measure:
    """Return a measure: how many times as long as the other one it takes."""
    return faster(case, level, than, subject, variant)


def figure(case: str, level: Level, subject: str, variant: str = "") -> Measure:
    """Return a measure: the median itself."""

    def measure(results: Results) -> float | None:
        series = results.find(case, level, subject, variant)
        return series.median if series else None

    return measure


def scaling(subject: str, threads: int) -> Measure:
    """Return a measure: the throughput of so many threads over that of one.

    There is none where plain calls don't scale either: then something else had
    the processors.
    """

    def scaled(results: Results, name: str) -> float | None:
        one = results.find("threads", "c", name, threads_variant(1))
        many = results.find("threads", "c", name, threads_variant(threads))
        return ratio(one, many) if one and many else None

    def measure(results: Results) -> float | None:
        calls = scaled(results, "call")
        if cores() < threads or calls is None or calls < MACHINE_SCALES * threads:
            return None
        return scaled(results, subject)

    return measure


def later(
    case: str,
    level: Level,
    subject: str,
    than: str,
    variant: str = "",
    *,
    nanoseconds: float = 1,
) -> Measure:
    """Return a measure: how much longer than the other one it takes.

    It is in units of so many nanoseconds, with three digits.
    """

    def measure(results: Results) -> float | None:
        one = results.find(case, level, subject, variant)
        base = results.find(case, level, than, variant)
        if one is None or base is None:
            return None
        return float(f"{difference(one, base) / nanoseconds:.3g}")

    return measure


def _against_greenlet(case: str, times: float, level: Level = "python") -> Target:
    return Target(
        case,
        f"{case}: times faster than greenlet",
        faster(case, level, "copool", "greenlet"),
        "×",
        at_least=times,
    )


def _against_generator(case: str, times: float) -> Target:
    return Target(
        case,
        f"{case}: times a generator's",
        slower(case, "python", "copool", "generator"),
        "×",
        at_most=times,
    )


def _against_fcontext(case: str, times: float, variant: str = "") -> Target:
    return Target(
        case,
        f"{name_of(case, variant)}, C: times Boost.Context's bare jump",
        slower(case, "c", "magazine", "fcontext", variant),
        "×",
        at_most=times,
    )


def _against_plain(
    case: str, variant: str, times: float, wish: float | None = None
) -> Target:
    return Target(
        case,
        f"{name_of(case, variant)}: times plain",
        slower(case, "aio", "copool", "plain", variant),
        "×",
        at_most=times,
        wish=wish,
    )


def _run_sync_against(other: str, times: float) -> Target:
    return Target(
        "run-sync",
        f"run-sync: times faster than {other}",
        faster("run-sync", "aio", "copool", other, aio.NOOP),
        "×",
        at_least=times,
    )


def _added_to_step(variant: str) -> Target:
    return Target(
        "task-step",
        f"{name_of('task-step', variant)}: anywhere mode adds",
        later("task-step", "aio", "copool", "plain", variant),
        " ns",
        at_most=150,
    )


def _anywhere(case: str, times: float, variant: str = "") -> Target:
    return Target(
        case,
        f"{name_of(case, variant)}: anywhere mode, times faster than greenlet",
        faster(case, "orm", orm.ANYWHERE, orm.GREENLET, variant),
        "×",
        at_least=times,
    )


def _served(case: str, times: float, variant: str = "") -> Target:
    # These are rates: the more the better.
    return Target(
        case,
        f"{name_of(case, variant)}: so many a second, times greenlet's",
        slower(case, "serve", orm.IN_PLACE, orm.GREENLET, variant),
        "×",
        at_least=times,
    )


def _lazy_request(results: Results) -> float | None:
    lazy = results.find("request", "orm", orm.ANYWHERE, orm.LAZY)
    eager = results.find("request", "orm", orm.GREENLET, orm.SELECTIN)
    return ratio(eager, lazy) if lazy and eager else None


def _alive(case: str) -> Target:
    return Target(
        case,
        f"{case}: {ALIVE:,} at once finish",
        figure(case, "process", "copool", f"{ALIVE:,} alive"),
        "",
        at_least=ALIVE,
    )


def name_of(case: str, variant: str) -> str:
    """Return the name of a case's variant."""
    return f"{case}, {variant}" if variant else case


TARGETS: tuple[Target, ...] = (
    _against_greenlet("lifecycle", 50),
    _against_greenlet("cost", 45),
    _against_greenlet("yield", 7),
    _against_greenlet("deep-yield", 28),
    _against_generator("cost", 1.3),
    _against_generator("yield", 1.4),
    Target(
        "cost",
        "cost, C: release faster than mutex",
        faster("cost", "c", "release", "mutex"),
        "×",
        at_least=1.33,
    ),
    Target(
        "cost",
        "cost, C: magazine faster than mutex",
        faster("cost", "c", "magazine", "mutex"),
        "×",
        at_least=1,
    ),
    Target(
        "cost",
        "cost, C: magazine faster than release",
        faster("cost", "c", "magazine", "release"),
        "×",
        at_least=1,
    ),
    Target(
        "cost",
        "cost, C: times Boost.Context's pooled fibers",
        slower("cost", "c", "magazine", "boost"),
        "×",
        at_most=1,
    ),
    _against_fcontext("yield", 0.65),
    _against_fcontext("cost", 0.9),
    _against_fcontext("crowd", 0.8, "10,000"),
    _against_fcontext("mixed", 0.85),
    Target(
        "threads",
        "threads, C: two on magazine over one, when plain calls scale",
        scaling("magazine", 2),
        "×",
        at_least=1.9,
    ),
    Target(
        "memory",
        "memory: resident, suspended three calls deep",
        figure("memory", "process", "copool", "resident"),
        " bytes",
        at_most=5120,
    ),
    _alive("memory"),
    Target(
        "quiet",
        "quiet: page faults in a warm lifecycle",
        figure("quiet", "process", "copool", "page faults"),
        "",
        at_most=0,
    ),
    Target(
        "quiet",
        "quiet: system calls in a warm lifecycle (1: some)",
        figure("quiet", "process", "copool", "makes system calls"),
        "",
        at_most=0,
    ),
    _against_greenlet("spawn", 30, "drop-in"),
    # On 3.11 the real one switches faster.
    _against_greenlet("switch", 6 if sys.version_info >= (3, 12) else 5, "drop-in"),
    _against_greenlet("deep-switch", 20, "drop-in"),
    _against_greenlet("throw", 1, "drop-in"),
    _against_greenlet("getcurrent", 1, "drop-in"),
    Target(
        "suspended",
        "suspended: resident bytes, times greenlet's",
        slower("suspended", "drop-in", "copool", "greenlet", "resident"),
        "×",
        at_most=0.8,
    ),
    _against_greenlet("greenlet-spawn", 4, "drop-in"),
    _against_greenlet("orm-select", 1, "drop-in"),
    _against_greenlet("gevent-join", 3.2, "drop-in"),
    _against_greenlet("gevent-raw", 2, "drop-in"),
    _against_greenlet("gevent-sleep", 1, "drop-in"),
    _against_greenlet("import", 1, "drop-in"),
    Target(
        "start-up",
        "start-up: later under `copool run`",
        later(
            "start-up", "drop-in", "copool", "greenlet", "copool run", nanoseconds=1e6
        ),
        " ms",
        at_most=3,
    ),
    _against_plain("run-sync", aio.NOOP, 3, wish=2),
    _against_plain("run-sync", aio.RESULT, 3, wish=2),
    _run_sync_against("SQLAlchemy", 20),
    _run_sync_against("to_thread", 50),
    _against_plain("await-suspends", aio.AWAITABLE, 1.5),
    _against_plain("await-sleep", "", 1.5),
    _added_to_step(aio.BY_HAND),
    _added_to_step(aio.ONE_TASK),
    _added_to_step(aio.TASKS),
    _alive("tasks-waiting"),
    _anywhere("session-execute", 1.25),
    _anywhere("lazy-load", 1),
    Target(
        "request",
        "request: lazy loads, times faster than greenlet's selectinload",
        _lazy_request,
        "×",
        at_least=1,
    ),
    _anywhere("request", 1, orm.SELECTIN),
    _anywhere("request", 1, orm.JOINED),
    _served("gunicorn", 1.5, serve.NO_KEEP_ALIVE),
    _served("celery", 1),
)


def judge(results: Results, cases: Sequence[str]) -> list[Verdict]:
    """Compare the run with every target of the cases in it."""
    verdicts = []
    for target in TARGETS:
        if target.case in cases:
            value = target.measure(results)
            reached = None if value is None else target.reached_by(value)
            verdicts.append(Verdict(target, value, reached))
    return verdicts
