"""The table of cases: who does what, and how it is compared."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

from copool.commands.bench import footprint
from copool.commands.bench.clevel import OTHERS, POLICIES, CWork
from copool.commands.bench.model import (
    Extra,
    ImpossibleError,
    Key,
    Measurement,
    Sample,
    Trial,
    Work,
)
from copool.commands.bench.peers import AsyncioSubject, ThreadSubject
from copool.commands.bench.runner import Settings
from copool.commands.bench.subjects import (
    CopoolSubject,
    GeneratorSubject,
    GreenletSubject,
    function_call,
)

Plan = list[Trial | Measurement]

# A coroutine that is alive takes less than this, whoever's it is (threads are
# limited otherwise); a crowd may take half of what is free.
BYTES_EACH = 10_000
ALIVE = 100_000


@dataclass(frozen=True, slots=True)
class Case:
    """A case: its name, what an operation of it is, and how to plan it."""

    name: str
    title: str
    plan: Callable[[Case, Settings], Plan]


class WideWork:
    """A crowd's work, with its number of coroutines."""

    def __init__(self, crowd: Callable[..., Sample], width: int) -> None:
        self.crowd = crowd
        self.width = width

    def __call__(self, n: int, *, count: bool) -> Sample:
        """Go n times round."""
        return self.crowd(n, count=count, width=self.width)


class MissingSubject:
    """Stands for a subject that is not installed."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __getattr__(self, method: str) -> Work:
        if method.startswith("__"):
            raise AttributeError(method)

        def refuse(n: int, *, count: bool, width: int = 0) -> Sample:
            raise ImpossibleError(self.why)

        return refuse


@cache
def python_subjects() -> Mapping[str, object]:
    """Make the subjects of the Python level by name, copool first."""
    subjects: dict[str, object] = {"copool": CopoolSubject("magazine")}
    subjects["copool-release"] = CopoolSubject("release")
    subjects["copool-mutex"] = CopoolSubject("mutex")
    subjects["copool-none"] = CopoolSubject("none")
    try:
        import greenlet
    except ImportError:
        subjects["greenlet"] = MissingSubject(str(footprint.EXTRA.without("greenlet")))
    else:
        subjects["greenlet"] = GreenletSubject(greenlet.greenlet, greenlet.getcurrent)
    subjects["generator"] = GeneratorSubject()
    subjects["asyncio"] = AsyncioSubject()
    subjects["thread"] = ThreadSubject()
    return subjects


def python_trial(
    case: str, method: str, *, policies: bool = False, width: int | None = None
) -> Trial:
    """Plan what every subject of the Python level that has the method does.

    The pool matters only where coroutines are made: `policies` puts in the
    policies that are not the default one.
    """
    works: dict[Key, Work] = {}
    for name, subject in python_subjects().items():
        if name.startswith("copool-") and not policies:
            continue
        work = getattr(subject, method, None)
        if work is not None:
            variant = "" if width is None else f"{width:,}"
            works[Key(case, "python", variant, name)] = (
                work if width is None else WideWork(work, width)
            )
    return Trial(works)


def c_trial(case: str, subjects: Iterable[str], *, width: int | None = None) -> Trial:
    """Plan what these subjects of the C level do."""
    variant = "" if width is None else f"{width:,}"
    return Trial(
        {
            Key(case, "c", variant, name): CWork(case, name, width=width or 0)
            for name in subjects
        }
    )


# --- the plan of each case ------------------------------------------------

EVERY_POLICY = (*reversed(POLICIES),)
SWITCHING = ("magazine", *OTHERS)


def _plan_levels(
    case: Case,
    settings: Settings,
    *,
    method: str = "",
    policies: bool = False,
    c: Sequence[str] = (),
) -> Plan:
    """Plan a method of the subjects of Python, and subjects of the C level."""
    plan: Plan = []
    if method:
        plan.append(python_trial(case.name, method, policies=policies))
    if c:
        plan.append(c_trial(case.name, c))
    return plan


def _plan_function_call(case: Case, settings: Settings) -> Plan:
    call = Key(case.name, "python", "", "call")
    return [Trial({call: function_call}), c_trial(case.name, ("call",))]


def _plan_nesting(case: Case, settings: Settings) -> Plan:
    # A round is at least 1000 of each: fewer rounds.
    most_rounds = 5 if settings.quick else 15
    python = python_trial(case.name, "nesting", policies=True)
    c = c_trial(case.name, (*EVERY_POLICY, "boost"))
    trials = [replace(trial, rounds_at_most=most_rounds) for trial in (python, c)]
    return [without_threads(trial) if settings.quick else trial for trial in trials]


def without_threads(trial: Trial) -> Trial:
    """Exclude the subject that would take most of the time."""
    left_out = {
        key: "left out by --quick" for key in trial.works if key.subject == "thread"
    }
    works = {key: work for key, work in trial.works.items() if key not in left_out}
    return replace(trial, works=works, excluded=left_out)


def _plan_crowd(case: Case, settings: Settings) -> Plan:
    plan: Plan = []
    most_rounds = 7 if settings.quick else 15
    for width in crowd_widths(settings):
        python = python_trial(case.name, "crowd", width=width)
        if settings.quick and width > 10:
            python = without_threads(python)
        for trial in (python, c_trial(case.name, SWITCHING, width=width)):
            plan.append(
                replace(
                    trial,
                    rounds_at_most=max(3, min(most_rounds, 50_000 // width)),
                    n=None if width < 1000 else max(2, 5_000 // width),
                )
            )
    return plan


def crowd_widths(settings: Settings) -> Iterator[int]:
    """Yield 10, 100, 1000, … as far as half of the free memory goes."""
    most = 10_000 if settings.quick else 1_000_000
    width = 10
    while width <= most and width * BYTES_EACH < available_memory() / 2:
        yield width
        width *= 10


def available_memory() -> int:
    """Return what Linux thinks can be allocated without swapping, in bytes."""
    with open("/proc/meminfo") as meminfo:
        for line in meminfo:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 1 << 30


def _plan_threads(case: Case, settings: Settings) -> Plan:
    works: dict[Key, Work] = {}
    for count in thread_counts():
        for subject in ("call", *EVERY_POLICY):
            key = Key(case.name, "c", threads_variant(count), subject)
            works[key] = CWork("threads", subject, width=count)
    return [Trial(works)]


def threads_variant(count: int) -> str:
    """Name the variant with that many threads."""
    return "1 thread" if count == 1 else f"{count} threads"


def cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0))


def thread_counts() -> list[int]:
    """Return 1, 2, 4, … and the number of processors, which ends it."""
    counts = {1, cores()}
    count = 2
    while count < cores():
        counts.add(count)
        count *= 2
    return sorted(counts)


def plan_memory(
    case: Case, settings: Settings, *, what: str, extra: Extra = footprint.EXTRA
) -> Plan:
    """Plan what footprint measures under that name, and a crowd of copool's."""
    n = 4_000 if settings.quick else 20_000
    plan: Plan = [
        memory_of(case.name, what, subject, n, extra)
        for subject in footprint.MEMORY[what]
    ]
    key = Key(case.name, "process", f"{ALIVE:,} alive", "copool")

    def take() -> Mapping[Key, float]:
        figures = footprint.in_a_process(what, "copool", str(ALIVE))
        return {key: float(figures["finished"])}

    plan.append(Measurement((key,), take, "finished"))
    return plan


def memory_of(case: str, what: str, subject: str, n: int, extra: Extra) -> Measurement:
    """Plan to measure what one suspended coroutine of the subject takes."""
    if subject == "thread":
        n = min(n, footprint.MOST_THREADS)
    resident = Key(case, "process", "resident", subject)
    tables = Key(case, "process", "page tables", subject)

    def take() -> Mapping[Key, float]:
        figures = footprint.in_a_process(what, subject, str(n), extra=extra)
        if "greenlet" in figures:
            footprint.check_identity("greenlet", figures["greenlet"])
        footprint.expect_all(figures, n, subject)
        return {resident: figures["resident"] / n, tables: figures["tables"] / n}

    return Measurement((resident, tables), take, "bytes")


def _plan_quiet(case: Case, settings: Settings) -> Plan:
    return [quiet_of(case.name, subject) for subject in ("copool", "greenlet")]


def quiet_of(case: str, subject: str) -> Measurement:
    """Plan to measure what the kernel has to do for a warm lifecycle."""
    n = 10_000
    faults = Key(case, "process", "page faults", subject)
    calls = Key(case, "process", "makes system calls", subject)

    def take() -> Mapping[Key, float]:
        figures = footprint.in_a_process("quiet", subject, str(n))
        found = {faults: figures["faults"] / n}
        if figures.get("strict", True):
            found[calls] = 0.0 if figures.get("silent") else 1.0
        return found

    return Measurement((faults, calls), take, "per op")


MAP_16K = Case(
    "map-16k",
    "map 16 KiB, write to the first page, unmap: what greenlet does for each",
    partial(_plan_levels, c=("call",)),
)

CASES: tuple[Case, ...] = (
    Case("function-call", "call an empty function: the baseline", _plan_function_call),
    MAP_16K,
    Case(
        "lifecycle",
        "create, run and finish an empty function",
        partial(
            _plan_levels, method="lifecycle", policies=True, c=(*EVERY_POLICY, *OTHERS)
        ),
    ),
    Case(
        "cost",
        "create, enter, yield, enter, finish: the patch's figure",
        partial(_plan_levels, method="cost", policies=True, c=(*EVERY_POLICY, *OTHERS)),
    ),
    Case(
        "yield",
        "switch there and back",
        partial(_plan_levels, method="yield_there_and_back", c=SWITCHING),
    ),
    Case(
        "inexact",
        "the same, after one side's arithmetic was inexact and the other's not",
        partial(_plan_levels, c=SWITCHING),
    ),
    Case(
        "deep-yield",
        "the same, from ten C frames down",
        partial(_plan_levels, method="deep_yield"),
    ),
    Case(
        "nesting",
        "1000 coroutines, each created and entered by the one before",
        _plan_nesting,
    ),
    Case("crowd", "switch there and back, in turn over many alive", _plan_crowd),
    Case(
        "mixed",
        "switch there and back, eight different bodies in random order",
        partial(_plan_levels, c=SWITCHING),
    ),
    Case(
        "handoff",
        "made in one thread, finished in another",
        partial(_plan_levels, c=EVERY_POLICY),
    ),
    Case("threads", "lifecycles in several threads at once", _plan_threads),
    Case(
        "memory",
        "suspended three Python calls deep, for each",
        partial(plan_memory, what="memory"),
    ),
    Case("quiet", "what the kernel does for a warm lifecycle", _plan_quiet),
)
