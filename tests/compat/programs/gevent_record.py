"""gevent's own test runner, recording what comes of each file.

A file that fails gets the second chance that the runner offers: many depend on time.
One that was killed by a signal does not: that is never a matter of time.
"""

import re
import sys
from contextlib import suppress
from pathlib import Path

from gevent.testing import testrunner
from record import Record, provider

RECORD = Record()
HERE = Path(__file__).parent


class RecordedResults(testrunner.ResultCollector):
    """Also writes what comes of each file to the record."""

    def __iadd__(self, result):
        first = self.reran.get(result.name)
        killed = first is not None and isinstance(first.code, int) and first.code < 0
        record(first if killed else result)
        return super().__iadd__(result)


def record(result):
    file = Path(re.sub(r"^.* -u (-m ?)?", "", result.name)).name
    output = result.output or ""
    failed = re.findall(r"^\s*(?:FAIL|ERROR): (.+)$", output, re.MULTILINE)
    # One failing test doesn't hide the others of a file.
    for test in failed if result.code == 1 else ():
        RECORD.end(f"{file}: {test}", "failed", output[-3000:])
    count = result.run_count - result.skipped_count
    if not result and not (failed and result.code == 1):
        RECORD.end(file, "failed", f"status {result.code}\n{output[-3000:]}")
    elif result.run_count and not count:
        RECORD.end(file, "skipped", "each test in it")
    else:
        RECORD.end(file, "passed", count=max(count, 1))


class Tests(testrunner.Discovery):
    """Those of gevent, and whether they run on the greenlet that is meant."""

    def __iter__(self):
        yield [sys.executable, "-u", str(HERE / "record.py")], {}
        yield from super().__iter__()


testrunner.ResultCollector = RecordedResults
testrunner.Discovery = Tests
with suppress(SystemExit):  # how it says that files failed
    testrunner.main()
RECORD.say_provider(provider())
