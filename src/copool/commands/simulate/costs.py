"""What a step costs: the model of time that the simulation stands on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Costs:
    """Nanoseconds. The defaults come from the C benchmark; docs/design.md says how.

    Every thread has a processor of its own. A cache line is in one of them at a
    time to be written, in any number to be read; who needs it from another one
    waits for those that came before, and then for the transfer. A lock is free
    for all when it is left: a thread that sleeps until then has to wake first,
    and may find it taken again.
    """

    local: float
    """A coroutine from create to finish, without all of what follows."""
    atomic: float
    """An atomic read-modify-write of a line that is here."""
    lock: float
    """Taking and leaving a lock that is here and free."""
    line: float
    """A cache line, or a block that another thread used last, from there."""
    wake: float
    """From leaving a lock until a thread that slept for it runs; half of it is
    spent by the one that leaves it."""
    arena: float
    """A block from the arena and back, with its page faults."""
    map: float
    """Mapping a block alone, and unmapping it. One thread at a time."""
    thread: float
    """Starting a thread and its end."""


DEFAULT = Costs(
    local=29.7,
    atomic=2.5,
    lock=12.6,
    line=30,
    wake=2000,
    arena=4100,
    map=13800,
    thread=53000,
)
