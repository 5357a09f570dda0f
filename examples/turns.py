#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Two coroutines take turns with who enters them: what a profiler should say is known.

The first does 60 % of the work and keeps 60 % of the memory, the second and main()
20 % each. Run it with

    python examples/turns.py             # just so, under a tool of your choice
    python examples/turns.py --profile   # under copool.profile()
"""

import sys

import copool

TURNS, UNIT = 200, 2_000
kept: list[bytearray] = []


def work(units: int) -> None:
    total = 0
    for number in range(units * UNIT):
        total += number
    kept.append(bytearray(units * 5_000))


def parse() -> None:
    work(3)
    copool.yield_()


def write() -> None:
    work(1)
    copool.yield_()


def parser() -> None:
    for _ in range(TURNS):
        parse()


def writer() -> None:
    for _ in range(TURNS):
        write()


def turn(first: copool.Coroutine, second: copool.Coroutine) -> None:
    first.enter()
    work(1)
    second.enter()


def main() -> None:
    first, second = copool.Coroutine(parser), copool.Coroutine(writer)
    for _ in range(TURNS):
        turn(first, second)
    first.enter()
    second.enter()


if __name__ == "__main__":
    if "--profile" in sys.argv:
        with copool.profile() as profiler:
            main()
        profiler.print_stats()
    else:
        main()
