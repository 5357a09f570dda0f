"""The stress finds what is wrong, makes it small and says how to see it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

STRESS = Path(__file__).parents[1] / "stress"


def stress(*options, **more):
    return subprocess.run(
        [sys.executable, STRESS, *options],
        capture_output=True,
        text=True,
        timeout=300,
        **more,
    )


def test_programs_agree_with_the_model():
    done = stress("--seed", "1", "--count", "80")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "80 programs agree" in done.stdout


# A wrong answer, a crash and a leak, each only in a certain place.
@pytest.mark.parametrize(
    ("plant", "failure", "needed"),
    [
        ("answer", "'go', 0] instead of", {"call", "go"}),
        ("crash", "exit status -6", {"make", "drop"}),
        ("leak", "alive", {"make", "close"}),
    ],
)
def test_a_planted_defect_is_found_and_made_small(plant, failure, needed):
    done = stress("--seed", "5", "--seconds", "100", "--plant", plant)
    assert done.returncode == 1, done.stdout
    assert re.search(r"seed \d+ fails", done.stdout)
    assert failure in done.stdout
    command, text = re.search(
        r"(\S+ tests/stress) --replay - <<'END'\n(.*)\nEND", done.stdout
    ).groups()
    program = json.loads(text)
    names = [name for operations in program["threads"] for name, a, b in operations]
    assert needed <= set(names)
    assert len(names) <= 8
    again = stress("--replay", "-", input=text)
    assert again.returncode == 1
    assert failure in again.stdout
    assert Path(command.split()[0]) == Path(sys.executable)


def test_a_seed_gives_one_program(monkeypatch):
    monkeypatch.syspath_prepend(str(STRESS))
    monkeypatch.delitem(sys.modules, "author", raising=False)  # another one's
    import author

    assert author.from_seed(7) == author.from_seed(7)
    assert author.from_seed(7).threads != author.from_seed(8).threads
