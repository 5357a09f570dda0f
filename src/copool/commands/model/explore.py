"""Every interleaving of a few threads that use a pool."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import dataclass
from types import GeneratorType
from typing import Any, Literal

from copool.commands.model.policies import (
    Block,
    Chain,
    Local,
    Op,
    Place,
    Policy,
    ReleasePolicy,
    Step,
    Steps,
    Violation,
)

Action = Literal["get", "put", "trim", "exit"]
Program = Sequence[Action]


@dataclass(frozen=True, slots=True)
class Exploration:
    """What came out of a walk in which everything held."""

    states: int
    steps: int
    ends: int
    """How many different states the threads may leave behind."""
    most_skew: int
    """By how much the counted idle blocks and the true ones differed at most."""


def explore(make: Callable[[], Policy], programs: Sequence[Program]) -> Exploration:
    """Go through all interleavings of one thread for each program.

    Raises Violation, with the threads in the order of their steps, if a block is
    handed out twice or lost, if threads wait for each other for good, or if a
    count is out of its bounds. A `put` finishes the thread's oldest coroutine.
    """
    seen: set[Hashable] = set()
    ends: set[Hashable] = set()
    steps = most_skew = 0
    todo: list[tuple[int, ...]] = [()]
    while todo:
        schedule = todo.pop()
        try:
            world = _World(make(), programs)
            for index in schedule:
                world.step(index)
            while True:
                state = world.state()
                if state in seen:
                    break
                seen.add(state)
                most_skew = max(most_skew, world.skew())
                enabled = world.enabled()
                if not enabled:
                    world.check_end()
                    ends.add(state)
                    break
                todo.extend((*schedule, index) for index in enabled[1:])
                schedule = (*schedule, enabled[0])
                world.step(enabled[0])
                steps += 1
        except Violation as violation:
            raise Violation(f"{violation}, after steps of {schedule}") from None
    return Exploration(len(seen), steps, len(ends), most_skew)


class _World:
    """A pool and threads in the middle of their programs."""

    def __init__(self, pool: Policy, programs: Sequence[Program]) -> None:
        self.pool = pool
        self.locals = [Local(index) for index in range(len(programs))]
        self.threads = [
            _run(pool, me, program)
            for me, program in zip(self.locals, programs, strict=True)
        ]
        self.next: list[Step | None] = [next(each, None) for each in self.threads]

    def enabled(self) -> list[int]:
        """Return which threads can do their next step."""
        return [
            index
            for index, step in enumerate(self.next)
            if step is not None and (step.op is not Op.LOCK or self.pool.lock is None)
        ]

    def step(self, index: int) -> None:
        """Have a thread do its next step."""
        self.next[index] = next(self.threads[index], None)

    def skew(self) -> int:
        """Return by how much the release policy's size is wrong."""
        pool = self.pool
        if not isinstance(pool, ReleasePolicy):
            return 0
        skew = pool.release_pool_size - pool.walk_shared()
        if pool.release_pool_size > 2 * pool.batch - 1 + len(self.threads):
            raise Violation(f"a size of {pool.release_pool_size}")
        return abs(skew)

    def check_end(self) -> None:
        """Raise Violation if the threads cannot go on, or a block is lost."""
        if any(step is not None for step in self.next):
            raise Violation("threads wait for good")
        pool = self.pool
        idle = pool.walk_shared() + sum(_kept(me) for me in self.locals)
        marked = sum(block.place is Place.IDLE for block in pool.blocks)
        if idle != marked or pool.out != pool.live + idle:
            raise Violation(f"{marked - idle} blocks lost")

    def state(self) -> Hashable:
        """Return all that decides what can still happen."""
        return (
            _encode(vars(self.pool)),
            tuple(map(_encode_block, self.pool.blocks)),
            tuple(_encode(_slots(me)) for me in self.locals),
            tuple(map(_encode_frames, self.threads)),
        )


def _run(pool: Policy, me: Local, program: Program) -> Steps[None]:
    held: list[Block] = []
    at = 0  # not a `for`: the place in one is not seen from outside
    while at < len(program):
        action = program[at]
        if action == "get":
            block = yield from pool.get(me)
            if block is not None:
                held.append(block)
        elif action == "put":
            if held:
                yield from pool.put(me, held.pop(0))
        elif action == "trim":
            yield from pool.trim(me)
        else:
            yield from pool.drain(me)
        at += 1


def _kept(me: Local) -> int:
    n, block = me.loaded.length + me.previous.length, me.alloc_pool
    while block is not None:
        n, block = n + 1, block.next
    return n


def _slots(thing: Local | Block) -> dict[str, object]:
    return {name: getattr(thing, name) for name in thing.__slots__}


def _encode_block(block: Block) -> Hashable:
    return _encode(_slots(block))


def _encode_frames(generator: Generator[Any, Any, Any]) -> Hashable:
    """Return where a generator and those that it waits for stand."""
    frames: list[Hashable] = []
    at: object = generator
    while isinstance(at, GeneratorType) and at.gi_frame is not None:
        frames.append((at.gi_frame.f_lasti, _encode(dict(at.gi_frame.f_locals))))
        at = at.gi_yieldfrom
    return tuple(frames)


# Counts that only grow say nothing about what can happen.
_COUNTS = ("contended", "peak", "reused", "created", "finished", "blocks")


def _encode(value: object) -> Hashable:
    match value:
        case None | bool() | int() | str() | Place():
            return value
        case Block():
            return "block", value.index
        case Local():
            return "thread", value.index
        case Chain():
            return _encode(value.head), value.length
        case Policy():
            return value.name
        case list() | tuple():
            return tuple(map(_encode, value))
        case dict():
            return tuple(
                (key, _encode(each))
                for key, each in value.items()
                if key not in _COUNTS
            )
    raise TypeError(f"no state can be made of {value!r}")
