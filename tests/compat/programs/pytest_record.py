"""A plugin of pytest that records what comes of each test: -p pytest_record."""

import pytest
from record import Record

RECORD = Record()


def pytest_runtest_logstart(nodeid):
    RECORD.begin(nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or not report.passed:
        RECORD.end(report.nodeid, report.outcome, report.longreprtext)


def pytest_collectreport(report):
    if report.failed:
        RECORD.end(report.nodeid, "failed", report.longreprtext)


def pytest_unconfigure():
    RECORD.say_provider()
