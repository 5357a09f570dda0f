"""Requests of which four in five are never answered: for docs/debugging.md.

What is suspended for more than a second at the end is written.
"""

import sys
import time

import copool


def read() -> object:
    return copool.yield_()


def handle() -> None:
    while read() is not None:
        pass


def accept(number: int) -> copool.Coroutine:
    co = copool.Coroutine(handle, name=f"request-{number}")
    co.enter()
    return co


copool.note(makers=True, times=True)
requests = [accept(number) for number in range(500)]
for request in requests[::5]:
    request.enter()  # with None, which ends it
time.sleep(1.1)
copool.dump(sys.stdout, older_than=1)
