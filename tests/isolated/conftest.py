"""One process for each leak, overflow and exit."""

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import pytest


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
