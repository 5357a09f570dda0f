"""Every command of docs/debugging.md says what the page says."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.isolated

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "debugging.md"
CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What commands need that is not everywhere.
NEEDS = {
    "gdb": lambda: shutil.which("gdb"),
    "gcore": lambda: shutil.which("gcore"),
    "crawl": lambda: has_module("gevent"),
    "ulimit": lambda: CORE_PATTERN.read_text() == "core\n",
    "memray": lambda: has_module("memray"),
    "py-spy": lambda: shutil.which("py-spy"),
    "asyncio": lambda: sys.version_info >= (3, 14),
    "profiling": lambda: sys.version_info >= (3, 15),
}


def has_module(name):
    import importlib.util

    return importlib.util.find_spec(name) is not None


def blocks():
    for number, match in enumerate(BLOCK.finditer(PAGE.read_text()), start=1):
        lines = match[1].splitlines()
        first = next(line for line in lines if line.startswith("$ "))
        yield pytest.param(lines, id=f"{number}: {first[2:60]}")


def split(lines):
    """Its commands, as a script; and what it prints."""
    commands, output = [], []
    for line in lines:
        if line.startswith("$ "):
            commands.append(line[2:])
        elif line.startswith("> "):
            commands[-1] += "\n" + line[2:]
        else:
            output.append(line)
    return "\n".join(commands), output


def shape(line):
    """A line without what differs from run to run: numbers, widths, paths."""
    line = re.sub(r"[\w./-]*/([\w-]+\.py)", r"\1", line)
    line = re.sub(r"0x[0-9a-f]+", "#", line)
    line = re.sub(r"[\d.,:…]*\d[\d.,:…]*", "#", line)
    return re.sub(r"[\s─━]+", " ", line).strip()


def missing(wanted, found):
    """The first line of those wanted that is not found, or not as often.

    In any order: what is as large as another comes before or after it.
    """
    left = Counter(map(shape, found))
    for line in wanted:
        if shape(line) in ("", "…", "[...]"):
            continue
        left[shape(line)] -= 1
        if left[shape(line)] < 0:
            return line
    return None


@pytest.mark.parametrize("lines", list(blocks()))
def test_it_says_what_the_page_says(lines, tmp_path):
    script, wanted = split(lines)
    words = set(re.findall(r"[\w-]+", script))
    for tool, is_there in NEEDS.items():
        if tool in words and not is_there():
            pytest.skip(f"{tool} is not there, or not for this version")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for name, text in PROGRAM.findall(PAGE.read_text()):
        (tmp_path / name).write_text(f"# {name}\n{text}")
    # A shell of its own, with all that it starts, to be ended together.
    shell = subprocess.Popen(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=os.environ
        | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        shell.wait(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):  # nothing is left of it
            os.killpg(shell.pid, signal.SIGKILL)
        output, _ = shell.communicate()
    assert shell.returncode == 0, output
    assert missing(wanted, output.splitlines()) is None, output


def test_the_page_is_not_empty():
    assert len(list(blocks())) > 10


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        (["a 12 b", "c"], ["a 7   b", "x", "c"], None),
        (["a", "b"], ["b", "a"], None),
        (["a", "a"], ["a", "b"], "a"),
        (["f (/tmp/x/app.py:3)"], ["f (app.py:9)"], None),
        (["…", "", "a"], ["a"], None),
        (["a b"], ["a c"], "a b"),
    ],
)
def test_what_counts_as_the_same(wanted, found, expected):
    assert missing(wanted, found) == expected
