"""examples/million.py measures all that it shows, and draws it."""

import platform
import re
import subprocess
import sys
from pathlib import Path

import million as example
import pytest

pytestmark = pytest.mark.alone

PROGRAM = Path(example.__file__)


def test_it_measures_all_and_saves_a_picture(tmp_path):
    picture = tmp_path / "million.png"
    done = subprocess.run(
        [sys.executable, PROGRAM, "2000", "--plot", picture],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = re.findall(r"(\d[\d,]*) │ (\w+) +│ +([\d,]+) │ +([\d,]+)", done.stdout)
    assert [row[:2] for row in rows] == [
        (n, subject)
        for n in ("1,000", "2,000")
        for subject in ("copool", "greenlet", "generators")
    ]
    version = platform.python_version()
    assert f"CPython {version}, copool with stacks of" in done.stdout
    assert all(int(number.replace(",", "")) > 0 for row in rows for number in row[2:])
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_each_is_counted_while_it_is_made():
    made = []
    cost = example.run("copool", 1000, made.append)
    assert (cost.subject, cost.n) == ("copool", 1000)
    assert made == sorted(made)
    assert made[-1] == 1000
    assert len(made) > 10


def test_one_that_fails_is_told_about_and_ends_its_line(monkeypatch):
    monkeypatch.setitem(example.SUBJECTS, "nobody", None)
    assert "KeyError: 'nobody'" in example.run("nobody", 1000, print)


def test_one_that_is_too_slow_is_stopped(monkeypatch):
    monkeypatch.setattr(example, "TOO_SLOW", 0.5)
    reason = example.run("copool", 100_000_000, lambda made: None)
    assert reason == "took more than 0.5 seconds"


@pytest.mark.parametrize("most", [1000, 20_000])
def test_sizes_are_powers_of_ten_up_to_the_most(most):
    sizes = example.sizes(most)
    assert sizes[0] == 1000
    assert sizes[-1] == most
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["0"], "'0' is no whole number from 1 on"),
        (["--", "-5"], "'-5' is no whole number from 1 on"),
        (["many"], "'many' is no whole number from 1 on"),
        (["--plot", "picture"], "picture must end in .pdf or .png or .svg"),
        (["--plot", "/no/such/place.png"], "/no/such/place.png cannot be a file"),
    ],
)
def test_what_cannot_be_is_refused_before_measuring(
    arguments, why, monkeypatch, capsys
):
    monkeypatch.setattr(example, "measure_all", pytest.fail)
    monkeypatch.setattr(sys, "argv", ["million.py", *arguments])
    with pytest.raises(SystemExit):
        example.main()
    assert why in capsys.readouterr().err


def test_a_picture_needs_matplotlib_before_measuring(monkeypatch, capsys):
    monkeypatch.setattr(example, "find_spec", lambda name: None)
    monkeypatch.setattr(example, "measure_all", pytest.fail)
    monkeypatch.setattr(sys, "argv", ["million.py", "--plot", "x.png"])
    with pytest.raises(SystemExit):
        example.main()
    assert "a picture needs matplotlib" in capsys.readouterr().err
