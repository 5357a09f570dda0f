"""Runs a module of CPython's own tests inside of a coroutine: inside HOST MODULE CUT...

Nothing of it is left outside: the module is imported there, its tests are found there
and its fixtures are set up there. In the main flow copool isn't even imported. What
comes of each test goes to the file that STDLIB_RECORD names, in a way that a crash
loses nothing. A test whose name matches a CUT isn't run.
"""

import faulthandler
import importlib
import json
import os
import random
import signal
import sys
import unittest
from collections import Counter
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial

import test.support as support


class Record:
    """Lines of JSON, opened for each of them: tests close what files they find."""

    def __init__(self):
        # Not for child processes: they are part of some test.
        self._path = os.environ.pop("STDLIB_RECORD")
        self._process = os.getpid()

    def write(self, **entry):
        if os.getpid() == self._process:
            with open(self._path, "a") as file:
                file.write(json.dumps(entry) + "\n")


class RecordedResult(unittest.TextTestResult):
    """Also writes what comes of each test to the record."""

    record: Record

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._times = Counter()
        self._name = None  # of the test that is running

    def startTest(self, test):
        super().startTest(test)
        self._outcome = "passed", ""
        self._name = self._name_of(test)
        self.record.write(test=self._name, status=None)

    def stopTest(self, test):
        super().stopTest(test)
        if self._name:
            status, detail = self._outcome
            self.record.write(test=self._name, status=status, detail=detail)
            self._name = None

    def _name_of(self, test):
        """Not all have a name of their own."""
        name = test.id()
        self._times[name] += 1
        return name if self._times[name] == 1 else f"{name}#{self._times[name]}"

    def _say(self, test, status, detail=""):
        if self._name:
            self._outcome = status, detail
        else:  # setUpClass and the like; a skipped one on 3.12.1 doesn't start
            self.record.write(test=self._name_of(test), status=status, detail=detail)

    def addError(self, test, err):
        super().addError(test, err)
        self._say(test, "error", self.errors[-1][1])

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._say(test, "failed", self.failures[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            failed = issubclass(err[0], test.failureException)
            detail = self._exc_info_to_string(err, subtest)
            self._say(test, "failed" if failed else "error", detail)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        # Of a test that skips one of its parts, the rest says what came of it.
        if not isinstance(test, unittest.case._SubTest):
            self._say(test, "skipped", reason)

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self._say(test, "expected failure")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._say(test, "unexpected success")


def tests_in(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests_in(test)
        else:
            yield test


def run_tests(module, cut, record):
    try:
        loaded = importlib.import_module(module)
        found = unittest.defaultTestLoader.loadTestsFromModule(loaded)
    except unittest.SkipTest as skipped:
        record.write(test=module, status="skipped", detail=str(skipped))
        return
    suite = unittest.TestSuite(
        test
        for test in tests_in(found)
        if not any(fnmatchcase(test.id(), pattern) for pattern in cut)
    )
    del found
    RecordedResult.record = record
    unittest.TextTestRunner(verbosity=2, resultclass=RecordedResult).run(suite)


# Each runs the function where its name says, and returns whether that is where it was.


def main(run):
    run()
    return "copool" not in sys.modules


def coroutine(run):
    import copool

    def inside():
        run()
        return copool.in_coroutine()

    return copool.Coroutine(inside).enter()


def greenlet(run):
    import copool.greenlet

    # Tests look at the environment of the processes that they start.
    copool.greenlet.install(children=False)
    from greenlet import getcurrent, greenlet

    outermost = getcurrent()

    def inside():
        run()
        return getcurrent() is inner and inner.parent is outermost

    inner = greenlet(inside)
    return inner.switch()


def task(run):
    import asyncio

    import copool.aio

    def inside():
        with no_loop_to_be_seen():
            run()
        copool.aio.await_(asyncio.sleep(0))  # fails anywhere else
        return True

    async def below():
        return inside()

    return copool.aio.run(below())


@contextmanager
def no_loop_to_be_seen():
    """Take back for a while what a loop does to its thread.

    Tests start loops of their own, which is refused below another one, and look at the
    handler of SIGINT.
    """
    import asyncio

    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    hooks = sys.get_asyncgen_hooks()
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.set_asyncgen_hooks(None, None)
    asyncio.tasks._leave_task(loop, task)
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(loop)
    asyncio.tasks._enter_task(loop, task)
    sys.set_asyncgen_hooks(*hooks)
    signal.signal(signal.SIGINT, handler)


HOSTS = {host.__name__: host for host in (main, coroutine, greenlet, task)}


def start(host, module, *cut):
    record = Record()
    del sys.path[0]  # this folder
    # As regrtest has it.
    support.use_resources = {}
    support.verbose = 0
    random.seed(0)
    if HOSTS[host](partial(run_tests, module, cut, record)):
        record.write(host=host)


if __name__ == "__main__":  # and not in the processes that tests start
    faulthandler.enable()
    start(*sys.argv[1:])
