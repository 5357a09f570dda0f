"""Chains that stand deep in C code while a library works, and what they must hold."""

import functools
import operator
import re
from collections.abc import Callable

from hosts import pause

COUNT = 20
DEPTH = 20


def _sorted(call: Callable[[], object]) -> object:
    found: list[object] = []
    sorted([None], key=lambda _: found.append(call()) or 0)
    return found[0]


def _mapped(call: Callable[[], object]) -> object:
    return next(map(operator.call, [call]))


def _reduced(call: Callable[[], object]) -> object:
    return functools.reduce(lambda *_: call(), [None, None])


def _substituted(call: Callable[[], object]) -> object:
    found: list[object] = []
    re.sub("a", lambda _: found.append(call()) or "", "a")
    return found[0]


# What calls back from C, in turns: each has frames of its own on the stack.
CALLS = (_sorted, _mapped, _reduced, _substituted)


def neighbour(number: int, depth: int = DEPTH) -> list[object]:
    """Go down by C calls, pause at the bottom, and return the locals of each."""
    local = (number * 1000 + depth, f"{number}:{depth}", (number + 0.5) * depth)
    if not depth:
        pause()
        return [local]
    below = CALLS[depth % len(CALLS)](lambda: neighbour(number, depth - 1))
    return [local, *below]


def answer_of(number: int) -> list[object]:
    depths = range(DEPTH, -1, -1)
    return [(number * 1000 + d, f"{number}:{d}", (number + 0.5) * d) for d in depths]
