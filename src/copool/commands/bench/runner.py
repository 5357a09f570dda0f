"""Runs trials: calibrates, verifies, warms up, then takes turns."""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from copool.commands.bench.model import (
    ImpossibleError,
    Key,
    Sample,
    Series,
    Trial,
    Work,
)

VERIFY_WITH = 40
ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Settings:
    """How long to measure.

    A round is shorter than a time slice of the scheduler, so that one can be
    had in which nothing else got the processor, even on a busy machine.
    """

    rounds: int = 61
    round_ms: int = 2
    quick: bool = False

    @classmethod
    def of_quick(cls) -> Settings:
        """Return what keeps the whole benchmark under a minute."""
        return cls(rounds=21, round_ms=1, quick=True)


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The series of a trial, and who could not take part, and why."""

    series: dict[Key, Series]
    impossible: dict[Key, str]


@contextmanager
def collector_off() -> Iterator[None]:
    """Collect, then keep the collector out of it; the same for every subject.

    What there is already is set aside, so that collecting costs next to nothing.
    """
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def calibrate(work: Work, round_ns: float) -> int:
    """Return how many operations take about that long.

    A run that seems long enough is repeated, and the best one counts: a disturbed
    one would make the rounds too short.
    """
    n = 1
    while True:
        elapsed = work(n, count=False).nanoseconds
        if round_ns / 8 <= elapsed <= round_ns * 10:
            again = (work(n, count=False).nanoseconds for _ in range(2))
            elapsed = min(elapsed, *again)
        if elapsed >= round_ns / 8 or n >= 1 << 30:
            return max(1, round(n * round_ns / max(elapsed, 1)))
        n *= 4


def preemptions() -> int:
    """Return how often this process has lost a processor against its will."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def run_undisturbed(work: Work, n: int, attempts: int) -> Sample:
    """Run the work until it wasn't preempted, but so many times at most."""
    for _ in range(attempts):
        with collector_off():
            before = preemptions()
            sample = work(n, count=False)
            if preemptions() == before and not sample.preempted:
                break
    return sample


def rounds_of(trial: Trial, settings: Settings) -> int:
    """Return how many timed rounds the trial gets."""
    return min(settings.rounds, trial.rounds_at_most or settings.rounds)


def run_trial(
    trial: Trial, settings: Settings, advance: Callable[[], None]
) -> TrialResult:
    """Measure every work of the trial in turns: A B C, A B C, and so on.

    Each is first verified with every operation counted, then calibrated; one
    round is thrown away. Raises WrongResultError as soon as anything comes
    back wrong, and calls `advance` after each timed run.
    """
    rounds = rounds_of(trial, settings)
    # What is slow to set up is preempted anyway.
    attempts = ATTEMPTS if trial.n is None else 1
    impossible = dict(trial.excluded)
    sizes: dict[Key, int] = {}
    values: dict[Key, list[float]] = {}
    for key, work in trial.works.items():
        try:
            with collector_off():
                if trial.n is None:
                    verify_n = 1 if key.case == "nesting" else VERIFY_WITH
                    work(verify_n, count=True).verified(str(key))
                    sizes[key] = calibrate(work, settings.round_ms * 1e6)
                else:
                    work(1, count=True).verified(str(key))
                    sizes[key] = trial.n
            values[key] = []
        except (ImpossibleError, MemoryError) as error:
            impossible[key] = str(error) or "out of memory"
            for _ in range(rounds):
                advance()
    for number in range(rounds + 1):
        for key, n in sizes.items():
            sample = run_undisturbed(trial.works[key], n, attempts).verified(str(key))
            if number > 0:
                values[key].append(sample.figure(trial.unit))
                advance()
    series = {
        key: Series(key, trial.unit, tuple(values[key]), n) for key, n in sizes.items()
    }
    return TrialResult(series, impossible)
