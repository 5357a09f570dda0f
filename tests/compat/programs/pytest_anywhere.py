"""A plugin of pytest by which SQLAlchemy's tests run in anywhere mode.

Records, as a test of its own, that they have called and waited without greenlets.
"""

import contextlib
from unittest import mock

from pytest_record import RECORD

import copool.aio

# Of thousands, if nothing is left out. A few tests run loops of their own.
LEAST_WAITS, MOST_GREENLETS = 500, 30

spawned = 0


def adapter():
    """What SQLAlchemy's functions call on copool."""
    from sqlalchemy.util import concurrency

    return concurrency.__copool__


def pytest_sessionstart():
    """Once SQLAlchemy's own plugin has made the loop that its tests share."""
    from sqlalchemy.testing import asyncio, cancellation

    copool.aio.install(asyncio._async_util.runner.get_loop())
    cancellation.await_points = await_points
    spawn = adapter().before["greenlet_spawn"]

    def counted(*args, **kwargs):
        global spawned
        spawned += 1
        return spawn(*args, **kwargs)

    adapter().before["greenlet_spawn"] = counted


@contextlib.contextmanager
def await_points(cancel_at=()):
    """Like that of SQLAlchemy, which watches greenlets switch: here is nothing."""
    from sqlalchemy.testing import cancellation

    points = cancellation.AwaitPoints(cancel_at)
    await_ = adapter().await_

    def instrumented(awaitable):
        return await_(cancellation._InstrumentedAwaitable(awaitable, points))

    with mock.patch.object(adapter(), "await_", instrumented):
        yield points


def pytest_sessionfinish():
    waits = adapter().waits.number
    good = waits >= LEAST_WAITS and spawned <= MOST_GREENLETS
    detail = f"{waits} waits, {spawned} greenlets"
    RECORD.end("waits without greenlets", "passed" if good else "failed", detail)
