"""A plugin of pytest that records what comes of each test: -p pytest_record.

With pytest-xdist the workers tell on which greenlet they ran, as a test for each.
"""

import os

import pytest
from record import Record, provider

IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
RECORD = None if IS_WORKER else Record()


def pytest_runtest_logstart(nodeid):
    if not IS_WORKER:
        RECORD.begin(nodeid)


def pytest_runtest_logreport(report):
    if not IS_WORKER and (report.when == "call" or not report.passed):
        RECORD.end(report.nodeid, report.outcome, report.longreprtext)


def pytest_collectreport(report):
    if not IS_WORKER and report.failed:
        RECORD.end(report.nodeid, "failed", report.longreprtext)


def pytest_sessionfinish(session):
    if IS_WORKER:
        session.config.workeroutput["provider"] = provider()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    ran_on = node.workeroutput["provider"]
    status = "passed" if ran_on == provider() else "failed"
    RECORD.end(f"worker {node.gateway.id}", status, f"ran on {ran_on}")


def pytest_unconfigure():
    if not IS_WORKER:
        RECORD.say_provider(provider())
