"""The table of findings has each script once, with what the script itself says."""

import re
from pathlib import Path

import pytest

FINDINGS = Path(__file__).parents[2] / "findings"
ROW = re.compile(r"^\| \[(\w+)\]\((\S+)\) \| (.+?) \| (.+) \| (.+) \|$", re.MULTILINE)

pytestmark = pytest.mark.skipif(
    not FINDINGS.is_dir(), reason="needs the findings, which only a checkout has"
)


def rows():
    return ROW.findall((FINDINGS / "README.md").read_text())


def comment_of(script):
    """The comment that a script begins with, in one line."""
    lines = script.read_text().splitlines()[1:]
    end = next(at for at, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.removeprefix("#").strip() for line in lines[:end])


def test_each_script_has_one_line_and_each_line_its_script():
    assert [name for name, *_ in rows()] == sorted(
        p.stem for p in FINDINGS.glob("*.sh")
    )
    assert [target for _, target, *_ in rows()] == [f"{name}.sh" for name, *_ in rows()]


def test_no_line_of_the_table_is_overlooked():
    text = (FINDINGS / "README.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == len(rows()) + 2  # the head and the rule below it


def test_each_script_says_what_one_would_guess_and_what_is():
    for script in FINDINGS.glob("*.sh"):
        comment = comment_of(script)
        assert re.search(r"\. +Guess: .+ Seen: ", comment), script.name
        assert script.stat().st_mode & 0o111, f"{script.name} can't be run"


def test_the_versions_of_the_table_are_those_of_the_script():
    for name, _, versions, *_ in rows():
        comment = comment_of(FINDINGS / f"{name}.sh")
        for version in re.findall(r"\d+(?:\.\d+)+(?:-\d+)?", versions):
            assert version in comment, f"{name}: {version}"
