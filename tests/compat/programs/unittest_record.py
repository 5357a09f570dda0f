"""Runs unittest's tests: unittest_record MODULE..., or names of single tests."""

import sys
import unittest

from record import Record, provider

RECORD = Record()


class RecordedResult(unittest.TextTestResult):
    """Also writes what comes of each test to the record."""

    def startTest(self, test):
        super().startTest(test)
        self._outcome = ("passed", "")
        RECORD.begin(test.id())

    def stopTest(self, test):
        super().stopTest(test)
        RECORD.end(test.id(), *self._outcome)

    def _failed(self, test, detail):
        self._outcome = ("failed", detail)
        if not isinstance(test, unittest.TestCase):  # setUpClass and the like
            RECORD.end(test.id(), "failed", detail)

    def addError(self, test, err):
        super().addError(test, err)
        self._failed(test, self.errors[-1][1])

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._failed(test, self.failures[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._failed(test, self._exc_info_to_string(err, test))

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._failed(test, "unexpected success")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._outcome = ("skipped", reason)


def main(provider=provider):
    tests = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:])
    unittest.TextTestRunner(verbosity=2, resultclass=RecordedResult).run(tests)
    RECORD.say_provider(provider())


if __name__ == "__main__":
    main()
