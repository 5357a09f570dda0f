"""The `copool` command passes on what it is given, or says what to do."""

import subprocess
import sys
from importlib.metadata import version
from types import ModuleType

import pytest

from copool import __main__ as command


def fake(monkeypatch, name, main):
    module = ModuleType(f"copool.commands.{name}.cli")
    module.main = main
    monkeypatch.setitem(sys.modules, module.__name__, module)


def run(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["bench", "demo", "gdb", "simulate"])
def test_arguments_are_passed_on_as_they_are(name, monkeypatch):
    passed = []
    fake(monkeypatch, name, lambda argv: passed.append(argv) or 7)
    assert command.main([name, "--quick", "--help", "--", "x"]) == 7
    assert passed == [["--quick", "--help", "--", "x"]]


def test_an_interrupted_command_ends_as_the_shell_expects(monkeypatch):
    def interrupted(argv):
        raise KeyboardInterrupt

    fake(monkeypatch, "demo", interrupted)
    assert command.main(["demo"]) == 130


def test_version_is_that_of_the_package():
    result = run("-m", "copool", "--version")
    assert (result.returncode, result.stdout) == (0, f"copool {version('copool')}\n")


def test_help_names_the_commands():
    result = run("-m", "copool", "--help")
    words = result.stdout.split()
    expected = ("run", "ps", "dump", "gdb", "demo", "bench", "simulate", "--version")
    assert [word for word in expected if word not in words] == []


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["--no-such-option"]])
def test_wrong_usage_is_told_on_standard_error(arguments):
    result = run("-m", "copool", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert "usage: copool" in result.stderr


@pytest.mark.parametrize("missing", ["rich", "greenlet"])
def test_a_missing_extra_is_named_in_one_sentence(missing):
    result = run(
        "-c",
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from copool.__main__ import main; sys.exit(main(['demo', '--quick']))",
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"copool demo needs {missing}, which is not installed:"
        " pip install 'copool[demo]'\n"
    )


def test_an_import_error_of_our_own_is_not_hidden():
    result = run(
        "-c",
        "import sys; sys.modules['copool.commands.demo.merge'] = None\n"
        "from copool.__main__ import main; sys.exit(main(['demo', '--quick']))",
    )
    assert result.returncode == 1
    assert "ModuleNotFoundError" in result.stderr
    assert "pip install" not in result.stderr


def test_importing_copool_imports_no_extra():
    result = run(
        "-c",
        "import sys, copool, copool.__main__\n"
        "extras = {'greenlet', 'matplotlib', 'numpy', 'rich'}\n"
        "print(sorted(extras & set(sys.modules)))",
    )
    assert result.stdout == "[]\n"
