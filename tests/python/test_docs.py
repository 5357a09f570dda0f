"""The examples in docstrings run."""

import subprocess
import sys

import pytest

import copool
import copool.aio

MODULES = ["copool", "copool._pool", "copool.aio"]


@pytest.mark.parametrize("module", MODULES)
def test_examples(module):
    # In a process of their own: they may choose which greenlet it has.
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import doctest, {module}; print(*doctest.testmod({module}))",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    failed, attempted = done.stdout.splitlines()[-1].split()
    assert failed == "0", done.stdout
    assert attempted != "0"


@pytest.mark.parametrize("module", [copool, copool.aio], ids=lambda m: m.__name__)
def test_all_names_are_there(module):
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
