"""Memory and system calls may be refused at any point: it is said, and all goes on.

refusals.py has the programs and what is expected of them, refuse.c what refuses.
`make refusals` tries every point of those that have hundreds of them, too.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import refusals

HERE = Path(__file__).parent
COMPILER = shutil.which(os.environ.get("CC", "cc"))

pytestmark = [
    pytest.mark.isolated,
    pytest.mark.skipif(not COMPILER, reason="needs a C compiler"),
    pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc"),
]

STEPS = {"pool": 7}
"""The distance of points, where it is not 1."""


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("refuse") / "refuse.so"
    source = HERE / "refuse.c"
    subprocess.run(
        [COMPILER, "-O2", "-shared", "-fPIC", "-Wall", "-Werror", source, "-o", path],
        check=True,
    )
    return path


def run(library, script, *args):
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", HERE / script, library, *args],
        capture_output=True,
        text=True,
        env=os.environ | {"LD_PRELOAD": str(library)},
        timeout=600,
        check=False,
    )
    lines = done.stdout.splitlines() or [""]
    assert (done.returncode, lines[-1]) == (0, "end"), (
        f"at point {lines[-1]}, status {done.returncode}:\n{done.stderr}"
    )
    return int(lines[-2])


@pytest.mark.parametrize("mode", ["once", "on"])
@pytest.mark.parametrize("program", [p.__name__ for p in refusals.PROGRAMS])
def test_program_fails_cleanly_and_works_afterwards(library, program, mode):
    step = 1 if os.environ.get("COPOOL_EVERY_REFUSAL") else STEPS.get(program, 1)
    assert run(library, "refusals.py", program, mode, str(step)) > 3


@pytest.mark.skipif(
    sys.version_info[:2] == (3, 13),
    reason="CPython 3.13.0 frees what is in a type's dictionary if that can't grow "
    "while the type is made ready",
)
@pytest.mark.parametrize("mode", ["once", "on"])
def test_import_fails_cleanly_and_works_afterwards(library, mode):
    """Each point in a process of its own, since a module is made only once."""
    every = os.environ.get("COPOOL_EVERY_REFUSAL")
    n, refused = 1, 1
    while refused:
        refused = run(library, "refused_import.py", mode, str(n))
        n += 1 if every else 29
    assert n > 150
