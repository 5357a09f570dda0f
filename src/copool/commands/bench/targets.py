"""What copool is to reach, and whether a run of the benchmark shows it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from copool.commands.bench import aio, orm, serve
from copool.commands.bench.cases import ALIVE, cores, threads_variant
from copool.commands.bench.model import Level, Results, Series, difference, ratio

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
    unit: str = "×"
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
    return _of_both(case, level, (than, variant), (subject, variant), ratio)


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

    def scaled(name: str) -> Measure:
        one, many = (name, threads_variant(1)), (name, threads_variant(threads))
        return _of_both("threads", "c", one, many, ratio)

    def measure(results: Results) -> float | None:
        calls = scaled("call")(results)
        if cores() < threads or calls is None or calls < MACHINE_SCALES * threads:
            return None
        return scaled(subject)(results)

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

    def rounded(more: Series, less: Series) -> float:
        return float(f"{difference(more, less) / nanoseconds:.3g}")

    return _of_both(case, level, (subject, variant), (than, variant), rounded)


def _of_both(
    case: str,
    level: Level,
    one: tuple[str, str],
    other: tuple[str, str],
    compare: Callable[[Series, Series], float],
) -> Measure:
    # Each is a subject and a variant; without both there is no figure.
    def measure(results: Results) -> float | None:
        first = results.find(case, level, *one)
        second = results.find(case, level, *other)
        return compare(first, second) if first and second else None

    return measure


# --- the targets ----------------------------------------------------------------


def _compared(
    case: str,
    words: str,
    level: Level,
    subject: str,
    than: str,
    variant: str = "",
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    wish: float | None = None,
) -> Target:
    """Have a subject faster at least so many times, or else slower at most."""
    how = slower if at_least is None else faster
    measure = how(case, level, subject, than, variant)
    text = f"{_name_of(case, variant)}{words}"
    return Target(case, text, measure, at_least=at_least, at_most=at_most, wish=wish)


def _name_of(case: str, variant: str) -> str:
    return f"{case}, {variant}" if variant else case


def _than_greenlet(level: Level, times: Mapping[str, float]) -> Iterator[Target]:
    for case, least in times.items():
        words = ": times faster than greenlet"
        yield _compared(case, words, level, "copool", "greenlet", at_least=least)


def _at_most(case: str, words: str, unit: str, variant: str, most: float) -> Target:
    measure = figure(case, "process", "copool", variant)
    return Target(case, f"{case}: {words}", measure, unit, at_most=most)


def _alive(case: str) -> Target:
    measure = figure(case, "process", "copool", f"{ALIVE:,} alive")
    return Target(
        case, f"{case}: {ALIVE:,} at once finish", measure, "", at_least=ALIVE
    )


def _added_to_step(variant: str) -> Target:
    return Target(
        "task-step",
        f"{_name_of('task-step', variant)}: anywhere mode adds",
        later("task-step", "aio", "copool", "plain", variant),
        " ns",
        at_most=150,
    )


def _lazy_request() -> Target:
    lazy, eager = (orm.ANYWHERE, orm.LAZY), (orm.GREENLET, orm.SELECTIN)
    measure = _of_both("request", "orm", eager, lazy, ratio)
    words = "lazy loads, times faster than greenlet's selectinload"
    return Target("request", f"request: {words}", measure, at_least=1)


A_GENERATORS, PLAIN = ": times a generator's", ": times plain"
JUMP, FIBERS = "Boost.Context's bare jump", "Boost.Context's pooled fibers"
ANYWHERE = ": anywhere mode, times faster than greenlet"
SERVED = ": so many a second, times greenlet's"

TARGETS: tuple[Target, ...] = (
    *_than_greenlet(
        "python", {"lifecycle": 50, "cost": 45, "yield": 7, "deep-yield": 28}
    ),
    *(
        _compared(case, A_GENERATORS, "python", "copool", "generator", at_most=times)
        for case, times in {"cost": 1.3, "yield": 1.4}.items()
    ),
    *(
        _compared("cost", f", C: {a} faster than {b}", "c", a, b, at_least=times)
        for a, b, times in (
            ("release", "mutex", 1.33),
            ("magazine", "mutex", 1),
            ("magazine", "release", 1),
        )
    ),
    *(
        _compared(
            case, f", C: times {words}", "c", "magazine", other, variant, at_most=times
        )
        for case, words, other, variant, times in (
            ("cost", FIBERS, "boost", "", 1),
            ("yield", JUMP, "fcontext", "", 0.65),
            ("cost", JUMP, "fcontext", "", 0.9),
            ("crowd", JUMP, "fcontext", "10,000", 0.8),
            ("mixed", JUMP, "fcontext", "", 0.85),
        )
    ),
    Target(
        "threads",
        "threads, C: two on magazine over one, when plain calls scale",
        scaling("magazine", 2),
        at_least=1.9,
    ),
    _at_most(
        "memory", "resident, suspended three calls deep", " bytes", "resident", 5120
    ),
    _alive("memory"),
    _at_most("quiet", "page faults in a warm lifecycle", "", "page faults", 0),
    _at_most(
        "quiet",
        "system calls in a warm lifecycle (1: some)",
        "",
        "makes system calls",
        0,
    ),
    *_than_greenlet(
        "drop-in",
        {
            "spawn": 30,
            # On 3.11 the real one switches faster.
            "switch": 6 if sys.version_info >= (3, 12) else 5,
            "deep-switch": 20,
            "throw": 1,
            "getcurrent": 1,
        },
    ),
    Target(
        "suspended",
        "suspended: resident bytes, times greenlet's",
        slower("suspended", "drop-in", "copool", "greenlet", "resident"),
        at_most=0.8,
    ),
    *_than_greenlet(
        "drop-in",
        {
            "greenlet-spawn": 4,
            "orm-select": 1,
            "gevent-join": 3.2,
            "gevent-raw": 2,
            "gevent-sleep": 1,
            "import": 1,
        },
    ),
    Target(
        "start-up",
        "start-up: later under `copool run`",
        later(
            "start-up", "drop-in", "copool", "greenlet", "copool run", nanoseconds=1e6
        ),
        " ms",
        at_most=3,
    ),
    *(
        _compared("run-sync", PLAIN, "aio", "copool", "plain", v, at_most=3, wish=2)
        for v in (aio.NOOP, aio.RESULT)
    ),
    *(
        Target(
            "run-sync",
            f"run-sync: times faster than {other}",
            faster("run-sync", "aio", "copool", other, aio.NOOP),
            at_least=times,
        )
        for other, times in {"SQLAlchemy": 20, "to_thread": 50}.items()
    ),
    *(
        _compared(case, PLAIN, "aio", "copool", "plain", variant, at_most=1.5)
        for case, variant in (("await-suspends", aio.AWAITABLE), ("await-sleep", ""))
    ),
    *map(_added_to_step, (aio.BY_HAND, aio.ONE_TASK, aio.TASKS)),
    _alive("tasks-waiting"),
    *(
        _compared(case, ANYWHERE, "orm", orm.ANYWHERE, orm.GREENLET, at_least=times)
        for case, times in {"session-execute": 1.25, "lazy-load": 1}.items()
    ),
    _lazy_request(),
    *(
        _compared(
            "request", ANYWHERE, "orm", orm.ANYWHERE, orm.GREENLET, variant, at_least=1
        )
        for variant in (orm.SELECTIN, orm.JOINED)
    ),
    # These are rates: the more the better.
    *(
        _compared(
            case, SERVED, "serve", orm.GREENLET, orm.IN_PLACE, variant, at_least=times
        )
        for case, variant, times in (
            ("gunicorn", serve.NO_KEEP_ALIVE, 1.5),
            ("celery", "", 1),
        )
    ),
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
