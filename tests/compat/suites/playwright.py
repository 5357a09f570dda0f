"""Playwright's asynchronous API in plain functions, with Debian's Chromium."""

from harness import HERE, PROGRAMS, Outcomes, Run, pytest_record

TIMEOUT = 300
TESTS = PROGRAMS / "playwright_plainly.py"


def run(run: Run) -> Outcomes:
    root = HERE.parents[1]
    return pytest_record(run, "playwright", TESTS, timeout=TIMEOUT, cwd=root)
