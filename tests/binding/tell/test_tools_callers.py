"""Tools that show where a thread is show who entered what runs there."""

import json
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.isolated

RUNS = """
import copool

def leaf(_):
    print("ready", flush=True)
    input()

def top():
    copool.yield_()
    sorted([1], key=leaf)

def drive(co):
    co.enter()

co = copool.Coroutine(top)
co.enter()
drive(co)
"""
AWAITS = """
import copool.aio

def plain():
    print("ready", flush=True)
    input()

async def main():
    plain()

copool.aio.run(main())
"""


def shown_by_py_spy(program):
    """The functions that `py-spy dump` shows, innermost first."""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout.readline() == "ready\n"
        done = subprocess.run(
            ["py-spy", "dump", "--json", "--pid", str(child.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        child.communicate("\n")
    if "Permission denied" in done.stderr:
        pytest.skip("no process may look into another")
    threads = json.loads(done.stdout)
    return [frame["name"] for frame in threads[0]["frames"]]


def test_py_spy():
    assert shown_by_py_spy(RUNS) == [
        "leaf",
        "top",
        "enter",
        "drive",
        "<module>",
    ]


def test_py_spy_in_a_task():
    frames = shown_by_py_spy(AWAITS)
    assert frames[:3] == ["plain", "main", "enter"]
    assert any(name.endswith("run_forever") for name in frames)
    assert frames[-1] == "<module>"


HANGS = """
import time
import copool

def hangs():
    time.sleep(60)

def test_that_hangs():
    copool.Coroutine(hangs).enter()
"""


@pytest.mark.parametrize("method", ["thread", "signal"])
def test_pytest_timeout_names_the_test(tmp_path, method):
    path = tmp_path / "test_inner.py"
    path.write_text(HANGS)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "--timeout=1",
            f"--timeout-method={method}",
            path,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    shown = done.stdout + done.stderr
    assert re.search(r"^.*(def|in) test_that_hangs", shown, re.MULTILINE)
    assert "time.sleep(60)" in shown
