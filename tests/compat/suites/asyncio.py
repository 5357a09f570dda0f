"""Tests of Python's own asyncio, with its loops plain and in anywhere mode."""

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec

from harness import PROGRAMS, SKIPPED, Outcome, Outcomes, Run, record_of

TIMEOUT = 300
# One of these waits for processes, the others for sockets.
SLOW = {
    "test_events",
    "test_sendfile",
    "test_sock_lowlevel",
    "test_ssl",
    "test_sslproto",
    "test_subprocess",
}
FILES = SLOW | {
    "test_base_events",
    "test_context",
    "test_futures",
    "test_locks",
    "test_pep492",
    "test_queues",
    "test_runners",
    "test_selector_events",
    "test_server",
    "test_streams",
    "test_taskgroups",
    "test_tasks",
    "test_threads",
    "test_timeouts",
    "test_unix_events",
    "test_waitfor",
}
ELSEWHERE = {"test.test_asyncgen", "test.test_coroutines"}
UNTIL_3_13 = {"test.test_contextlib_async"}  # later ones need no loop
SINCE_3_12 = {
    "test.test_asyncio.test_eager_task_factory",
    "test.test_unittest.test_async_case",
    "test.test_unittest.testmock.testasync",
}


def run(run: Run) -> Outcomes:
    if not find_spec("test") or not find_spec("test.test_asyncio"):
        reason = "this Python comes without its own tests: test.test_asyncio"
        print(f"copool: asyncio is skipped: {reason}")
        return {"asyncio": Outcome(SKIPPED, reason)}
    modules = ELSEWHERE | {
        f"test.test_asyncio.{file}"
        for file in (FILES - SLOW if run.quick and not run.only else FILES)
    }
    if sys.version_info >= (3, 12):
        modules |= SINCE_3_12
    if sys.version_info < (3, 14):
        modules |= UNTIL_3_13
    # A process for each file: a crash costs one file. Two at once: they mostly wait.
    with ThreadPoolExecutor(2) as threads:
        found = threads.map(partial(run_module, run), sorted(modules, reverse=True))
        return {test: outcome for of in found for test, outcome in of.items()}


def run_module(run: Run, module: str) -> Outcomes:
    tests = [test for test in run.only if test.startswith(f"{module}.")]
    if run.only and not tests:
        return {}
    return record_of(
        run,
        module,
        PROGRAMS / "asyncio_record.py",
        *(tests or [module]),
        timeout=TIMEOUT,
        COMPAT_PROVIDER=run.provider,
    )
