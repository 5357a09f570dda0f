"""What is said in two places about how the project is worked on is the same in both."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not (ROOT / "CONTRIBUTING.md").is_file(), reason="needs a checkout"
)


def extra(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project["optional-dependencies"][name]


def test_commits_are_checked_by_the_versions_of_make_lint():
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    pinned = {
        tool
        for listed in re.findall(r"dependencies: \[(.+)\]", text)
        for tool in listed.split(", ")
    }
    assert pinned == {tool for tool in extra("lint") if re.match("ruff|clang", tool)}


def test_each_tool_of_make_lint_is_asked_at_a_commit():
    recipes = (ROOT / "Makefile").read_text()
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", recipes, re.MULTILINE)[1]
    asked = re.findall(r"\$\(RUN\) (ruff \w+|[\w-]+)", recipe)
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    entries = re.findall(r"entry: (ruff \w+|clang-format|make types)", text)
    assert sorted(entries) == sorted([*asked, "make types"])


def test_the_map_shows_each_room():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rooms = [path for path in (ROOT / "src/binding").iterdir() if path.is_dir()]
    assert rooms
    assert [
        room.name for room in rooms if not re.search(rf"`(· )?{room.name}`", text)
    ] == []


def test_the_targets_that_are_named_are_there():
    targets = (ROOT / "Makefile").read_text()
    for page in ["CONTRIBUTING.md", ".github/pull_request_template.md"]:
        for name in re.findall(r"`make ([\w-]+)", (ROOT / page).read_text()):
            assert re.search(rf"\b{name.removeprefix('test-')}\b", targets), name
