"""A crowd of coroutines beside greenlets and generators, all of it measured."""

import re
import subprocess
import sys
from pathlib import Path

import million as example
import pytest

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
