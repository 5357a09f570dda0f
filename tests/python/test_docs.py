"""The examples in docstrings run; pages and stubs leave nothing out."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import copool
import copool.aio
from copool import _core

ROOT = Path(__file__).parents[2]
MODULES = ["copool", "copool._pool", "copool._tools", "copool._watch", "copool.aio"]


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


def test_the_readme_names_each_option_and_its_variable():
    text = (ROOT / "README.md").read_text()
    options = inspect.signature(copool.configure).parameters
    assert [name for name in options if f"`{name}=`" not in text] == []
    variables = [f"`COPOOL_{name.upper()}`" for name in options]
    assert [name for name in variables if name not in text] == []


@pytest.mark.parametrize(
    ("page", "module"), [("README.md", copool), ("docs/aio.md", copool.aio)]
)
def test_pages_name_all_that_is_public(page, module):
    text = (ROOT / page).read_text()
    names = [name for name in module.__all__ if not name.startswith("__")]
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


def test_the_stub_has_all_that_the_core_has():
    stub = (Path(copool.__file__).parent / "_core.pyi").read_text()
    here = [name for name in vars(_core) if not name.startswith("__")]
    assert [name for name in here if not re.search(rf"\b{name}\b", stub)] == []
