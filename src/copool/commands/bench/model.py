"""What is measured, and the arithmetic of comparing it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Literal, Protocol

Level = Literal["python", "c", "process", "drop-in", "aio", "orm", "serve"]

# What is timed is told by one of these.
TIME, RATE = "ns/op", "a second"


class BenchError(Exception):
    """The benchmark cannot go on; the message says why."""


class WrongResultError(BenchError):
    """A subject came to a wrong result, so that its time means nothing."""


class ImpossibleError(Exception):
    """A subject cannot do a case; the message says why, for the table."""


@dataclass(frozen=True, slots=True)
class Extra:
    """One of the extras of copool, and what it installs, by the names to import."""

    name: str
    packages: frozenset[str]

    def lacks(self, error: ModuleNotFoundError) -> ImpossibleError:
        """Return what to tell of a package that isn't there; raise any other error."""
        if error.name not in self.packages:
            raise error
        return self.without(error.name)

    def without(self, package: str) -> ImpossibleError:
        """Return what to tell where the package isn't installed.

        >>> Extra("compat", frozenset()).without("gevent")
        ImpossibleError("gevent is not installed (pip install 'copool[compat]')")
        """
        return ImpossibleError(
            f"{package} is not installed (pip install 'copool[{self.name}]')"
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """One timed run: how long it took and how much verifiably came back.

    preempted tells of another process that did the work that it was disturbed.
    """

    nanoseconds: int
    operations: int
    came_back: int
    preempted: bool = False

    def verified(self, what: str) -> Sample:
        """Return itself, or raise WrongResultError when steps are missing.

        >>> Sample(1000, 10, 10).verified("it").nanoseconds
        1000
        """
        if self.came_back != self.operations:
            raise WrongResultError(
                f"{what}: {self.came_back} of {self.operations} operations came"
                " back; report this with the output of `copool bench --list`"
            )
        return self

    def figure(self, unit: str) -> float:
        """Return how long an operation took, or how many there were a second.

        >>> Sample(1000, 10, 10).figure(TIME), Sample(1000, 10, 10).figure(RATE)
        (100.0, 10000000.0)
        """
        if unit == RATE:
            return self.operations * 1e9 / self.nanoseconds
        return self.nanoseconds / self.operations


class Work(Protocol):
    """Does a case n times and times that itself.

    With count=True every single operation is counted, which costs time; else
    what came back is concluded from how the loop ended.
    """

    def __call__(self, n: int, *, count: bool) -> Sample:
        """Do it n times."""
        ...


@dataclass(frozen=True, slots=True)
class Key:
    """Names one series: who did what."""

    case: str
    level: Level
    variant: str
    subject: str

    def __str__(self) -> str:
        variant = f" ({self.variant})" if self.variant else ""
        return f"{self.case}{variant} by {self.subject}"


@dataclass(frozen=True, slots=True)
class Trial:
    """Works that are interleaved, since they are to be compared.

    rounds_at_most and n are for works which are slow to set up. close() is called
    at the end, for works which leave something to clean up.
    """

    works: Mapping[Key, Work]
    rounds_at_most: int | None = None
    n: int | None = None
    excluded: Mapping[Key, str] = field(default_factory=dict)
    close: Callable[[], object] = lambda: None
    unit: str = TIME


@dataclass(frozen=True, slots=True)
class Measurement:
    """Figures that are read off rather than timed, such as bytes."""

    keys: Sequence[Key]
    take: Callable[[], Mapping[Key, float]]
    unit: str
    rounds: int = 1


@dataclass(frozen=True, slots=True)
class Series:
    """The figures of one subject: one for each round."""

    key: Key
    unit: str
    values: tuple[float, ...]
    n: int = 1

    @property
    def median(self) -> float:
        """Half of the rounds were above, half below."""
        return median(self.values)

    @property
    def p10(self) -> float:
        """One round in ten was below."""
        return self._decile(0)

    @property
    def p90(self) -> float:
        """One round in ten was above."""
        return self._decile(8)

    def _decile(self, index: int) -> float:
        if len(self.values) == 1:
            return self.values[0]
        return quantiles(self.values, n=10, method="inclusive")[index]


def ratio(above: Series, below: Series) -> float:
    """Return the median of the ratios of each round.

    Both were measured in turns, so what disturbs the machine for longer than a
    round disturbs both, and their ratio hardly at all.

    >>> a = Series(Key("cost", "c", "", "a"), "ns", (10.0, 90.0, 12.0))
    >>> b = Series(Key("cost", "c", "", "b"), "ns", (5.0, 30.0, 6.0))
    >>> ratio(a, b)
    2.0
    """
    return median(a / b for a, b in _rounds(above, below))


def difference(more: Series, less: Series) -> float:
    """Return the median of the differences of each round.

    >>> a = Series(Key("start-up", "process", "", "a"), "ns", (13.0, 90.0, 12.0))
    >>> b = Series(Key("start-up", "process", "", "b"), "ns", (10.0, 87.0, 11.0))
    >>> difference(a, b)
    3.0
    """
    return median(a - b for a, b in _rounds(more, less))


def _rounds(one: Series, other: Series) -> Iterator[tuple[float, float]]:
    if len(one.values) != len(other.values):
        raise BenchError(f"{one.key} and {other.key} were not measured in turns")
    return zip(one.values, other.values, strict=True)


@dataclass(frozen=True, slots=True)
class Results:
    """All that a run of the benchmark found out."""

    machine: Mapping[str, str]
    settings: Mapping[str, int]
    series: Mapping[Key, Series]
    impossible: Mapping[Key, str]
    notes: Sequence[str]

    def find(
        self, case: str, level: Level, subject: str, variant: str = ""
    ) -> Series | None:
        """Return the series with this name, or None when it wasn't measured."""
        return self.series.get(Key(case, level, variant, subject))
