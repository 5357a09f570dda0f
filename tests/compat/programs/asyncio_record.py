"""Runs unittest's tests of asyncio: asyncio_record MODULE..., or names of single tests.

When the environment names "anywhere" as the provider, loops are in anywhere mode as
soon as they make a task, also after they were given a task factory; else plain ones.
"""

import asyncio
import os
import signal
import sys
from asyncio import BaseEventLoop

import copool
from copool.aio import _loop

bridges = 0


def install_everywhere():
    """Install on each loop before each task that it makes.

    Not when the loop is made: some tests then look for the factory that it has.
    """
    create_task, drive = BaseEventLoop.create_task, _loop.bridge

    def create_task_anywhere(self, coro, **options):
        copool.aio.install(self)
        return create_task(self, coro, **options)

    def count(coroutine):
        global bridges
        bridges += 1
        return drive(coroutine)

    BaseEventLoop.create_task = create_task_anywhere
    _loop.bridge = count


def make_tasks_by_hand_anywhere():
    """Do as the factory does where test_tasks calls the class of a task."""
    from test.test_asyncio.test_tasks import BaseTaskTests

    def new_task(self, loop, coro, name="TestTask", **options):
        if asyncio.iscoroutine(coro):
            coro = _loop.bridge(coro)
        return self.__class__.Task(coro, loop=loop, name=name, **options)

    BaseTaskTests.new_task = new_task


def provider():
    """Whether await_() works below a task of a new loop, and was there any other."""
    made = bridges

    async def main():
        copool.aio.await_(asyncio.sleep(0))

    try:
        asyncio.run(main())
    except copool.CoroutineError:
        return "plain"
    return "anywhere" if made else "anywhere, but no test has made a task"


if __name__ == "__main__":  # and not in the processes that tests start
    import unittest_record

    # A shell has what it runs in the background ignore it, and then tests that
    # interrupt themselves wait for ever.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.environ["COMPAT_PROVIDER"] == "anywhere":
        install_everywhere()
        if any(name.startswith("test.test_asyncio.test_tasks") for name in sys.argv):
            make_tasks_by_hand_anywhere()
    unittest_record.main(provider)
