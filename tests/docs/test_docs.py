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
EXTENSIONS = str(ROOT / "docs" / "extensions")
sys.path.insert(0, EXTENSIONS)
import public  # noqa: E402

EXAMPLES = """
import doctest, sys
sys.path.insert(0, sys.argv[1])
import public
runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
for name, doc in public.examples(sys.argv[2]):
    runner.run(doctest.DocTestParser().get_doctest(doc, {}, name, name, 0))
print(runner.failures, runner.tries)
"""


@pytest.mark.parametrize("module", public.MODULES)
def test_examples(module):
    # In a process of their own: they may choose which greenlet it has.
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLES, EXTENSIONS, module],
        capture_output=True,
        text=True,
        timeout=60,
    )
    failed, attempted = done.stdout.splitlines()[-1].split()
    assert failed == "0", done.stdout
    assert attempted != "0"


@pytest.mark.parametrize("module", public.MODULES)
def test_what_is_public_says_what_it_raises_its_thread_rule_and_an_example(module):
    lacking = [line for name in public.names(module).values() for line in name.lacks()]
    assert lacking == []


@pytest.mark.parametrize(
    ("doc", "lacks"),
    [
        ("", ["a docstring", "a thread rule", "an example", "what it raises"]),
        ("Does it.\n\nRaises KeyError.", ["a thread rule", "an example"]),
        ("Raises nothing, in any thread.\n\n>>> 1\n1", []),
    ],
)
def test_what_lacks_some_of_that_is_found(doc, lacks):
    name = public.Name("f", "function", "()", doc)
    assert name.lacks() == [f"f has not {what}" for what in lacks]


@pytest.mark.parametrize("module", public.MODULES)
def test_the_reference_has_each_public_name(module):
    page = ROOT / "docs" / "reference" / f"{module.split('.')[-1]}.md"
    described = re.findall(rf"^```{{api}} {module}\.(\w+)$", page.read_text(), re.M)
    assert sorted(described) == sorted(public.names(module))


@pytest.mark.parametrize("module", [copool, copool.aio], ids=lambda m: m.__name__)
def test_all_names_are_there(module):
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_the_page_of_await_from_anywhere_names_all_of_it():
    text = (ROOT / "docs" / "aio.md").read_text()
    names = [name for name in copool.aio.__all__ if not name.startswith("__")]
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


def test_the_reference_has_each_command():
    said = subprocess.run(
        [sys.executable, "-m", "copool", "--help"], capture_output=True, text=True
    ).stdout
    commands = re.findall(r"^  (\w+)  ", said.partition("\ncommands:\n")[2], re.M)
    page = (ROOT / "docs/reference/commands.md").read_text()
    assert re.findall(r"^```{command-help} copool (\w+)$", page, re.M) == commands


def test_the_reference_has_each_variable_of_the_environment():
    package = Path(copool.__file__).parent
    texts = [path.read_text() for path in package.rglob("*.py")]
    read = {name for text in texts for name in re.findall(r"\bCOPOOL_[A-Z_]+\b", text)}
    options = inspect.signature(copool.configure).parameters
    read |= {f"COPOOL_{name.upper()}" for name in options}
    page = (ROOT / "docs/reference/environment.md").read_text()
    assert set(re.findall(r"\bCOPOOL_[A-Z_]+\b", page)) == read


def test_the_stub_has_all_that_the_core_has():
    stub = (Path(copool.__file__).parent / "_core.pyi").read_text()
    here = [name for name in vars(_core) if not name.startswith("__")]
    assert [name for name in here if not re.search(rf"\b{name}\b", stub)] == []
