"""How a program follows from a seed.

The model runs along, so that most operations can do something where they come up.
"""

import random
from typing import Any

from model import Chain, Model, Unclear
from program import CALLS, Program

# How often each comes up.
WEIGHTS = {
    "make": 14,
    "go": 30,
    "yield": 10,
    "await": 8,
    "up": 6,
    "call": 8,
    "return": 7,
    "raise": 3,
    "throw": 4,
    "close": 4,
    "hold": 5,
    "release": 2,
    "drop": 6,
    "set": 3,
    "get": 3,
    "handled": 3,
    "state": 4,
    "depth": 1,
    "collect": 2,
    "trim": 1,
    "configure": 1,
    "trace": 1,
    "thread": 2,
    "fork": 0.2,
    "toss": 1,
    "empty": 1,
}
THRESHOLDS = [None, None, (1, 1, 1), (3, 1, 1), (20, 3, 3), (0, 0, 0)]


class Author(Model):
    """Invents the operations of a thread while they are done."""

    def __init__(self, chance: random.Random, length: int, alone: bool) -> None:
        super().__init__([], alone)
        self.chance = chance
        self.thread.limit = length
        # Each has likes of its own, so that some go deep.
        self.weights = {
            name: weight * chance.choice((0.2, 1, 1, 3))
            for name, weight in WEIGHTS.items()
        }

    def next(self) -> list[Any]:
        self.operations.append(self.invent())
        return super().next()

    def invent(self) -> list[Any]:
        weights = dict(self.weights)
        current = self.thread.current
        chains = [current]
        while chains[-1].caller:
            chains.append(chains[-1].caller)
        if current.kind != "C":
            weights["yield"] *= 0.05
        if not any(chain.kind in "BD" for chain in chains):
            weights["await"] *= 0.05
        if self.thread.greenlet.kind == "M":
            weights["up"] *= 0.05
        if current.kind == "M" and len(current.frames) == 1:
            weights["return"] = 0
        if len(chains) + len(current.frames) > 8:
            weights["return"] *= 4
        name = self.chance.choices(list(weights), list(weights.values()))[0]
        a, b = self.chance.randrange(len(CALLS)), self.chance.randrange(64)
        if name in ("go", "throw", "close", "drop", "hold", "toss", "state"):
            a = self.choose(name, a)
        return [name, a, b]

    def choose(self, name: str, a: int) -> int:
        """Most often the slot of something that will go."""
        moves = name in ("go", "throw", "close")
        useful = [
            i
            for i, thing in enumerate(self.slots)
            if thing and (not moves or self.will_go(thing, name))
        ]
        if useful and self.chance.random() < 0.9:
            return self.chance.choice(useful)
        return a

    def will_go(self, thing: Chain, name: str) -> bool:
        if thing.finished:
            return False
        return thing.suspended() or (not thing.active and name == "go")


def from_seed(seed: int, plant: str = "") -> Program:
    chance = random.Random(seed)
    count = chance.choice((1, 1, 1, 2, 4))
    length = chance.choice((20, 60, 200))
    authors = [Author(chance, length, count == 1) for _ in range(count)]
    for author in authors:
        try:
            author.run()
        except Unclear:
            del author.operations[-1]
    return Program(
        threads=[author.operations for author in authors],
        threshold=chance.choice(THRESHOLDS),
        main=chance.random() < 0.5,
        seed=seed,
        plant=plant,
    )
