"""What a call on the thread's own stack costs, beside a switch there and back.

    python benchmarks/thread_stack.py [ROUNDS]

in an environment with copool. Each round does all three things in turn; printed are
medians over the rounds, and the median of the ratios.
"""

import statistics
import sys
import time
from collections.abc import Callable
from itertools import repeat

import copool

CALLS = 20_000


def empty() -> None:
    """Do nothing, as what is called."""


def plain() -> float:
    begin = time.perf_counter()
    for _ in repeat(None, CALLS):
        empty()
    return time.perf_counter() - begin


def on_thread_stack() -> float:
    call = copool.on_thread_stack
    begin = time.perf_counter()
    for _ in repeat(None, CALLS):
        call(empty)
    return time.perf_counter() - begin


def switches() -> float:
    def body() -> None:
        yield_ = copool.yield_
        for _ in repeat(None, CALLS + 1):
            yield_()

    co = copool.Coroutine(body)
    enter = co.enter
    enter()
    begin = time.perf_counter()
    for _ in repeat(None, CALLS):
        enter()
    taken = time.perf_counter() - begin
    enter()
    if not co.done:
        raise SystemExit("a switch was lost")
    return taken


def inside(measure: Callable[[], float]) -> float:
    return copool.Coroutine(measure).enter()


def main() -> None:
    rounds = int(sys.argv[1]) if sys.argv[1:] else 200
    taken = [
        (inside(plain), inside(on_thread_stack), switches()) for _ in range(rounds + 1)
    ][1:]
    call, hosted, switch = (
        statistics.median(column) / CALLS * 1e9 for column in zip(*taken, strict=True)
    )
    ratio = statistics.median((h - c) / s for c, h, s in taken)
    print(f"plain call                 {call:6.1f} ns")
    print(f"call on the thread's stack {hosted:6.1f} ns")
    print(f"switch there and back      {switch:6.1f} ns")
    print(f"the second less the first, to the third: {ratio:.2f}")


if __name__ == "__main__":
    main()
