"""A library on top of others that are asynchronous, as its users write: LIBRARY MODE.

MODE is how its plain functions get to wait: "anywhere", in each task; "bridged", below
bridge() and run_sync() on a loop as it is; or "not". Where a check does not say that it
passes, it has to fail since these can't wait, or it would prove nothing.
"""

import asyncio
import importlib
import inspect
import sys
import traceback

import copool.aio
import copool.greenlet

LIBRARY, MODE = sys.argv[1:]
if MODE == "anywhere":
    copool.greenlet.install()  # SQLAlchemy imports greenlet at once

CAN_WAIT = ("anywhere", "bridged")
REFUSED = "await_() where no task can wait for it"


def passes(*modes):
    """The modes in which a check passes, where these are not the two that can wait."""
    return lambda check: vars(check).update(modes=modes) or check


def application(app):
    """An ASGI application, whose requests may wait."""

    async def bridged(scope, receive, send):
        await copool.aio.bridge(app(scope, receive, send))

    return bridged if MODE == "bridged" else app


async def call(fn, *args):
    """What a plain function returns, which may wait."""
    if MODE != "bridged":
        return fn(*args)
    return await copool.aio.run_sync(fn, *args)


def checks_in(module):
    return [
        function
        for name, function in vars(module).items()
        if inspect.iscoroutinefunction(function)
        and function.__module__ == module.__name__
        and not name.startswith("_")
    ]


async def fails(check):
    try:
        await check()
    except Exception as error:
        told = "".join(traceback.format_exception(error))
        assert REFUSED in told, told
    else:
        raise AssertionError(f"{check.__name__} has nothing to wait for")


async def main():
    checks = checks_in(importlib.import_module(f"neighbours.{LIBRARY}"))
    assert checks
    for check in checks:
        before = asyncio.all_tasks()
        async with asyncio.timeout(60):
            passing = MODE in getattr(check, "modes", CAN_WAIT)
            await (check() if passing else fails(check))
        assert asyncio.all_tasks() == before, check.__name__


if __name__ == "__main__":
    sys.modules["neighbour"] = sys.modules["__main__"]
    (copool.aio.run if MODE == "anywhere" else asyncio.run)(main())
