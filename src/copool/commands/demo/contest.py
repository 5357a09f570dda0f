"""Runs walkers against each other, and holds their answers together."""

import gc
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from copool.commands.demo.merge import Answer, Merge, answer
from copool.commands.demo.source import Tree
from copool.commands.demo.walkers import Walker

# Names taken between two calls of a hook.
_SLICE = 25_000
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Mismatch(Exception):
    """Two kinds of walkers did not give the same names in the same order."""


@dataclass(slots=True)
class Score:
    """What one kind of walker needed.

    `seconds` has an item for each round; `memory` is how many resident bytes
    the process grew by until the whole crowd was alive, in the first round.
    """

    walker: str
    seconds: list[float] = field(default_factory=list)
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Contest:
    """One job and how the kinds of walkers did at it."""

    trees: int
    crowd: int
    answer: Answer
    scores: list[Score]


@dataclass(frozen=True, slots=True)
class Hooks:
    """What to call between times, while the clock stands still."""

    # Often, with the walker's name and how many trees have been walked.
    tick: Callable[[str, int], None] = lambda walker, done: None
    # With the walker's name, when its crowd is complete.
    crowded: Callable[[str], None] = lambda walker: None


def hold(
    walkers: Sequence[Walker],
    trees: Sequence[Tree],
    *,
    crowd: int,
    rounds: int = 1,
    hooks: Hooks | None = None,
) -> Contest:
    """Let each kind of walker do the whole job, round by round.

    Raises Mismatch when one gives another answer than the first.
    """
    if rounds < 1 or not walkers:
        raise ValueError("a contest needs a walker and a round")
    crowd = min(crowd, len(trees))
    scores = [Score(walker.name) for walker in walkers]
    turns = list(zip(walkers, scores, strict=True))
    agreed: Answer | None = None
    for _ in range(rounds):
        for walker, score in turns:
            names = _run(walker, trees, crowd, score, hooks or Hooks())
            found = answer(names)
            agreed = agreed or found
            if found != agreed:
                raise Mismatch(
                    f"{walker.name} gave {found.names:,} names with the digest"
                    f" {found.digest}, but {walkers[0].name} gave {agreed.names:,}"
                    f" with the digest {agreed.digest}"
                )
        turns = turns[1:] + turns[:1]
    assert agreed
    return Contest(len(trees), crowd, agreed, scores)


def _run(
    walker: Walker, trees: Sequence[Tree], crowd: int, score: Score, hooks: Hooks
) -> list[str]:
    gc.collect()
    before = _resident()
    start = perf_counter()
    merge = Merge(trees, walker.start, crowd)
    more = merge.advance(crowd)
    seconds = perf_counter() - start
    if not score.seconds:
        score.memory = _resident() - before
    hooks.crowded(walker.name)
    while more:
        hooks.tick(walker.name, len(trees) - merge.left)
        start = perf_counter()
        more = merge.advance(_SLICE)
        seconds += perf_counter() - start
    hooks.tick(walker.name, len(trees))
    score.seconds.append(seconds)
    return merge.names


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * _PAGE
