"""SQLAlchemy's tests of asyncio and concurrency, out of its source distribution.

And a program of ours in which plain functions wait for it, below copool.aio.
"""

from dataclasses import replace

from harness import (
    PROGRAMS,
    Outcomes,
    Run,
    finish,
    pytest_record,
    source_distribution,
    tail,
    verified,
)

TIMEOUT = 600
TESTS = ("test/ext/asyncio", "test/base/test_concurrency.py")
# How await_() is made to work, how the program is started, the greenlet in the end.
BELOW = (
    ("anywhere", "greenlet", "copool"),
    ("anywhere", "copool", "copool"),
    ("run_sync", "greenlet", "greenlet"),
    ("run_sync", "copool", "copool"),
)


def run(run: Run) -> Outcomes:
    tests = frozenset(test for test in run.only if not test.startswith("below"))
    outcomes: Outcomes = {}
    if tests or not run.only:
        outcomes = suite(replace(run, only=tests))
    if run.provider == "copool":
        for mode, started_on, greenlet in BELOW:
            test = f"below {mode}, started on {started_on}, it waits on {greenlet}"
            with verified(outcomes, test):
                program(replace(run, provider=started_on), mode, greenlet)
    return outcomes


def program(run: Run, mode: str, greenlet: str) -> None:
    log = run.directory / f"below_{mode}_{run.provider}.log"
    status = finish(
        run.command(PROGRAMS / "sqlalchemy_below.py", mode, greenlet),
        log=log,
        timeout=TIMEOUT,
        cwd=run.directory,
        env=run.environment(PYTHONWARNINGS="error"),
    )
    assert (status, log.read_text()) == (0, ""), tail(log)


def suite(run: Run, *options: str, tests: tuple[str, ...] = TESTS) -> Outcomes:
    return pytest_record(
        run,
        "sqlalchemy",
        *tests,
        options=("--db", "aiosqlite_file", *options),
        timeout=TIMEOUT,
        cwd=source_distribution("sqlalchemy"),
    )
