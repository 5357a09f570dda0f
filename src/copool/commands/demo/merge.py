"""The consumer: merges walkers round-robin, and sums up the names."""

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import length_hint

from copool.commands.demo.source import Tree
from copool.commands.demo.walkers import Step


class Merge:
    """Takes one name of each walker in turn.

    At most `crowd` walkers are alive. When one ends, the walker of the next tree
    takes its place, at the end of the queue.
    """

    def __init__(
        self, trees: Sequence[Tree], start: Callable[[Tree], Step], crowd: int
    ) -> None:
        self.names: list[str] = []
        self._start = start
        self._waiting = iter(trees)
        self._alive = deque(map(start, islice(self._waiting, crowd)))

    @property
    def left(self) -> int:
        """How many walkers have not ended, those not started included."""
        return len(self._alive) + length_hint(self._waiting)

    def advance(self, count: int) -> bool:
        """Take up to count names more; return whether there may be others."""
        alive, names = self._alive, self.names
        end = len(names) + count
        while alive and len(names) < end:
            step = alive.popleft()
            name = step()
            if name is not None:
                names.append(name)
                alive.append(step)
            else:
                alive.extend(map(self._start, islice(self._waiting, 1)))
        return bool(alive)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the names come to. Equal only when each came in the same order."""

    names: int
    distinct: int
    most_frequent: list[tuple[str, int]]
    digest: str


def answer(names: Sequence[str]) -> Answer:
    """Sum up a merged stream of names."""
    count = Counter(names)
    digest = hashlib.sha256("\n".join(names).encode())
    return Answer(
        names=len(names),
        distinct=len(count),
        most_frequent=count.most_common(5),
        digest=digest.hexdigest()[:16],
    )
