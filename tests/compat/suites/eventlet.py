"""eventlet's own suite, out of its source distribution, with its default hub."""

from harness import Outcomes, Run, pytest_record, source_distribution

TIMEOUT = 900
# What of it is about threads, greenlets and the end of both; the rest starts a process
# for each test, or waits.
QUICK = (
    *("tests/dagpool_test.py", "tests/event_test.py", "tests/greenthread_test.py"),
    *("tests/pools_test.py", "tests/queue_test.py", "tests/semaphore_test.py"),
    *("tests/thread_test.py", "tests/timeout_test.py", "tests/tpool_test.py"),
    "tests/patcher_test.py::test_fork_after_monkey_patch",
    "tests/patcher_test.py::test_fork_in_thread_after_monkey_patch_threading",
)


def run(run: Run) -> Outcomes:
    # With its own settings, which are none, rather than those of a folder above it.
    return pytest_record(
        run,
        "eventlet",
        *(QUICK if run.quick else ("tests",)),
        options=("-c", "pyproject.toml"),
        timeout=TIMEOUT,
        cwd=source_distribution("eventlet"),
    )
