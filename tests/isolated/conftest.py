"""One process for each leak, overflow and exit."""

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
