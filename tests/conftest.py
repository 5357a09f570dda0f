"""What all tests share: the pool must be whole after each of them."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from dataclasses import dataclass

import pytest

import copool
from copool import _core

# What a shell runs in the background is born with this ignored, and hands that on to
# the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption(
        "--collect-always",
        action="store_true",
        help="run the garbage collector at every allocation that may run it",
    )


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # a process that takes a part of the tests
        config.pluginmanager.register(Times())


# They begin first, so that at the end no process has long to go on by itself.
LONGEST = {
    "test_aio_sqlalchemy",
    "test_bench_aio",
    "test_debugging_page",
    "test_dropin",
    "test_dump_on",
    "test_example_fastapi",
    "test_exit",
    "test_gdb",
    "test_outside",
    "test_refusals",
    "test_stress",
}


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in LONGEST)


def pytest_collection_finish():
    """What all modules have made stays: tests that collect garbage don't look there."""
    gc.collect()
    gc.freeze()


class Times:
    """Where the time goes, by file; `--durations` says it by test."""

    def __init__(self):
        self.seconds = Counter()

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid.partition("::")[0]] += report.duration

    def pytest_terminal_summary(self, terminalreporter):
        shown = self.seconds.most_common(10)
        if len(self.seconds) <= len(shown):
            return
        terminalreporter.section(f"slowest {len(shown)} of {len(self.seconds)} files")
        for file, seconds in [("all of them", self.seconds.total()), *shown]:
            terminalreporter.write_line(f"{seconds:6.1f} s  {file}")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """What is there before a test is left alone: to visit it takes too long."""
    if not pyfuncitem.config.getoption("--collect-always"):
        return (yield)
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(1, 1, 1)
    try:
        return (yield)
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def live_blocks() -> int:
    stats = copool.stats()
    return stats.live + stats.live_retired


@pytest.fixture(autouse=True)
def pool_stays_whole():
    """No test leaves a started coroutine behind or a count that is wrong."""
    copool.trim()  # what is parked counts as live too
    before = live_blocks()
    yield
    copool.trim()
    if live_blocks() > before:
        gc.collect()
    assert live_blocks() <= before
    assert _core.check()


@pytest.fixture
def settings():
    """The pool's settings, which are put back after the test."""
    before = _core.options()
    yield before
    copool.configure(**before)


@pytest.fixture
def collected_by_hand():
    """For tests that tell when garbage is found."""
    gc.disable()
    yield
    gc.enable()


@dataclass
class Finished:
    code: int
    lines: list[str]
    errors: str


@pytest.fixture
def python():
    """Runs a script in a fresh interpreter."""

    def run(script, *, options=(), before=(), env=None, timeout=100):
        done = subprocess.run(
            [*before, sys.executable, *options, "-c", textwrap.dedent(script)],
            capture_output=True,
            text=True,
            env=env,
            timeout=timeout,
        )
        return Finished(done.returncode, done.stdout.splitlines(), done.stderr)

    return run


@pytest.fixture
def lines_missed(python, tmp_path):
    """The lines that coverage says were not run, of modules that are given as text.

    The first of them is the program.
    """
    pytest.importorskip("coverage")

    def find(**modules):
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
        done = python(
            f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import coverage
cov = coverage.Coverage(data_file=None, config_file=False, include=["{tmp_path}/*"])
cov.set_option("run:core", "ctrace")
cov.start()
import {next(iter(modules))}
cov.stop()
for name in {list(modules)}:
    print(*cov.analysis2(f"{tmp_path}/{{name}}.py")[3])
"""
        )
        assert (done.code, done.errors) == (0, "")
        return {
            name: [int(number) for number in line.split()]
            for name, line in zip(modules, done.lines, strict=True)
        }

    return find


def has_guard_install():
    return tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 13)


def memory_free():
    with open("/proc/meminfo") as file:
        line = next(line for line in file if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024


@pytest.fixture
def needs():
    """Skips a test of so many coroutines where there can't be as many."""

    def check(coroutines):
        if not has_guard_install():
            pytest.skip("guards take mappings before Linux 6.13")
        if memory_free() < coroutines * 9000:
            pytest.skip("not enough memory free")

    return check


@pytest.fixture
def unraisable(monkeypatch):
    """What is raised where nobody can catch it."""
    found = []
    monkeypatch.setattr(sys, "unraisablehook", lambda u: found.append(u.exc_value))
    yield found
    found.clear()


@pytest.fixture
def suspended():
    """Makes a coroutine that is suspended, and calls a function when it is unwound."""

    def make(when_unwound, *args):
        def body():
            try:
                copool.yield_()
            finally:
                when_unwound(*args)

        co = copool.Coroutine(body)
        co.enter()
        return co

    return make
