"""Random programs do the same on greenlet and on copool: the first of `make dropin`."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

DROPIN = Path(__file__).parents[1] / "dropin"

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("greenlet"), reason="greenlet is not there"
)


def dropin(*options):
    return subprocess.run(
        [sys.executable, DROPIN, *options], capture_output=True, text=True, timeout=300
    )


def test_programs_agree():
    done = dropin("--count", "300")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "300 programs agree" in done.stdout


def test_a_planted_difference_is_found_and_made_small():
    done = dropin("--seed", "1", "--plant", "trace")
    assert done.returncode == 1, done.stdout
    assert re.search(r"made from seed \d+ that differs so", done.stdout)
    assert re.search(r'copool: +\["\w+", "planted"\]', done.stdout)
    statements = re.findall(r"^ +(?!pass)\S", done.stdout, re.MULTILINE)
    assert 2 <= len(statements) <= 6
    assert "settrace(tracer)" in done.stdout


def test_a_seed_gives_one_program(monkeypatch):
    monkeypatch.syspath_prepend(str(DROPIN))
    monkeypatch.delitem(sys.modules, "author", raising=False)
    import author

    assert author.from_seed(7) == author.from_seed(7)
    assert author.from_seed(7) != author.from_seed(8)
    monkeypatch.delitem(sys.modules, "author")
