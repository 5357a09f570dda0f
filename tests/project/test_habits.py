"""What is said in two places about how the project is worked on is the same in both."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

ROOT = next(p for p in Path(__file__).parents if (p / "pyproject.toml").is_file())

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


@pytest.fixture(scope="module")
def release():
    spec = importlib.util.spec_from_file_location("release", ROOT / ".ci/release.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_release_has_its_version_once(release):
    build = "project(\n  version: '1.2.3',\n"
    assert release.version_of(build, {"dynamic": ["version"]}) == "1.2.3"
    for text, project in [
        ("  meson_version: '>=1.3',\n", {"dynamic": ["version"]}),
        (build, {"version": "1.2.3"}),
    ]:
        with pytest.raises(SystemExit, match=r"^release: "):
            release.version_of(text, project)


def test_a_release_is_told_of_in_the_changelog(release):
    dated = "## [1.2.3] - 2026-12-01\n\n- Something\n"
    assert release.entry(dated, "1.2.3", final=True) == "[1.2.3] - 2026-12-01"
    coming = "# Changelog\n\n## [Unreleased]\n\n- Something\n"
    assert release.entry(coming, "1.2.3", final=False) == "[Unreleased]"
    for changelog, version, final in [
        (coming, "1.2.3", True),
        (dated, "1.2.4", True),
        (dated, "1.2.4", False),
        (dated.replace("-12-01", ""), "1.2.3", True),
        (dated.replace("- Something", ""), "1.2.3", True),
        ("## [Unreleased]\n\n" + dated.replace("2.3", "2.2"), "1.2.3", False),
    ]:
        with pytest.raises(SystemExit, match=r"^release: CHANGELOG\.md "):
            release.entry(changelog, version, final=final)


def test_a_release_has_a_wheel_for_each_version_and_machine(release):
    classifiers = ["Programming Language :: Python :: 3", "Typing :: Typed"]
    classifiers += [f"Programming Language :: Python :: 3.{n}" for n in (11, 15)]
    assert release.promised(classifiers, ["x86_64"]) == {
        "cp311-manylinux_x86_64",
        "cp315-manylinux_x86_64",
        "cp311-musllinux_x86_64",
        "cp315-musllinux_x86_64",
    }
