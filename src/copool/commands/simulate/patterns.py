"""Who makes coroutines when, and who finishes them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from copool.commands.model.policies import Block, Local, Policy
from copool.commands.simulate.costs import Costs
from copool.commands.simulate.engine import (
    Mailbox,
    Outcome,
    Pause,
    Program,
    Receive,
    Send,
    Simulation,
    Thread,
)


@dataclass(frozen=True, slots=True)
class Load:
    """How much there is to do."""

    threads: int
    lifecycles: int
    """Of each thread; in hand-off, of each maker."""
    alive: int
    """Coroutines of one thread that are alive at once."""
    pause: float
    """Nanoseconds between two bursts."""
    seed: int = 1


def steady(simulation: Simulation, load: Load) -> None:
    """Each thread makes one, and finishes its oldest when it has enough."""

    def program(thread: Thread) -> Program:
        held: list[Block] = []
        for _ in range(load.lifecycles):
            held.append((yield from simulation.create(thread)))
            if len(held) >= load.alive:
                yield from simulation.finish(thread, held.pop(0))
        while held:
            yield from simulation.finish(thread, held.pop(0))

    _start(simulation, load, program)


def burst(simulation: Simulation, load: Load) -> None:
    """Each thread makes a crowd, finishes it, and pauses."""

    def program(thread: Thread) -> Program:
        left = load.lifecycles
        while left:
            held = []
            for _ in range(min(left, load.alive)):
                held.append((yield from simulation.create(thread)))
            left -= len(held)
            while held:
                yield from simulation.finish(thread, held.pop())
            yield Pause(load.pause)

    _start(simulation, load, program)


def handoff(simulation: Simulation, load: Load) -> None:
    """Every other thread makes them, and its neighbour finishes them."""
    for start in _starts(load, max(1, load.threads // 2)):
        box = Mailbox(load.alive)
        maker = simulation.add(Local(len(simulation.threads)), start)
        maker.program = _make(simulation, maker, box, load.lifecycles)
        finisher = simulation.add(Local(len(simulation.threads)), start)
        finisher.program = _finish(simulation, finisher, box, load.lifecycles)


def churn(simulation: Simulation, load: Load) -> None:
    """Each thread ends after one crowd, and another one begins."""

    def program(thread: Thread) -> Program:
        left = load.lifecycles
        while left:
            yield Pause(simulation.costs.thread)
            held = []
            for _ in range(min(left, load.alive)):
                held.append((yield from simulation.create(thread)))
            left -= len(held)
            while held:
                yield from simulation.finish(thread, held.pop())
            yield from simulation.pool.drain(thread.local)
            thread.local = Local(thread.local.index)

    _start(simulation, load, program)


PATTERNS: dict[str, Callable[[Simulation, Load], None]] = {
    "steady": steady,
    "burst": burst,
    "handoff": handoff,
    "churn": churn,
}


def simulate(pool: Policy, costs: Costs, pattern: str, load: Load) -> Outcome:
    """Run a pattern on a pool."""
    simulation = Simulation(pool, costs)
    PATTERNS[pattern](simulation, load)
    return simulation.run()


def _starts(load: Load, n: int) -> Iterator[float]:
    """Threads begin at random within a microsecond, the same ones each time."""
    chance = random.Random(load.seed)
    return (chance.uniform(0, 1000) for _ in range(n))


def _start(
    simulation: Simulation, load: Load, program: Callable[[Thread], Program]
) -> None:
    for start in _starts(load, load.threads):
        thread = simulation.add(Local(len(simulation.threads)), start)
        thread.program = program(thread)


def _make(simulation: Simulation, thread: Thread, box: Mailbox, n: int) -> Program:
    for _ in range(n):
        block = yield from simulation.create(thread)
        yield Send(box, block)


def _finish(simulation: Simulation, thread: Thread, box: Mailbox, n: int) -> Program:
    for _ in range(n):
        block = yield Receive(box)
        assert block is not None
        yield from simulation.finish(thread, block)
