"""What is looked at before a release, in this order; the first that fails ends it.

1. The version: meson.build has it and nobody else, and it is new.
2. The changelog: what is released is told, below `Unreleased` until there is a date.
3. pyproject.toml is valid, classifiers included.
4. cibuildwheel would build a wheel for each version that the classifiers promise, for
   both machines and both C libraries.
5. The sdist, a wheel from it, repaired, installed in an empty environment, and the
   tests away from the tree: .ci/wheel, with this interpreter. The other wheels are
   built by cibuildwheel, which needs containers.
6. The index would show both: `twine check --strict`. They and what is installed have
   the version.

With --final it is the release itself: the changelog has its date and the tree is
clean. Usage:

    .ci/release.py FOLDER [--final] [options of pytest]
"""

import itertools
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
TOOLS = [
    "cibuildwheel==4.3.5",
    "twine==7.0.0",
    "trove-classifiers==2026.9.21.13",
    "validate-pyproject==0.27",
]
LIBCS = ["manylinux", "musllinux"]


def say(line: str) -> None:
    """Tell of a step that holds."""
    print("release:", line, flush=True)


def fail(line: str) -> NoReturn:
    """Tell what does not hold, and end."""
    sys.exit(f"release: {line}")


def output(*command: str | Path) -> str:
    """Return what a command prints; if it fails, fail with that."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        fail(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def version_of(build: str, project: dict[str, Any]) -> str:
    """Return the version of meson.build, which nobody repeats."""
    found = re.search(r"^  version: '(\d+\.\d+\.\d+)',$", build, re.MULTILINE)
    if not found:
        fail("meson.build has no version of three numbers")
    if "version" in project or project.get("dynamic") != ["version"]:
        fail("pyproject.toml has a version of its own; meson.build's is the one")
    return found[1]


def entry(changelog: str, version: str, *, final: bool) -> str:
    """Return the heading under which the changelog tells of the version."""
    parts = re.split(r"^## (.+)\n", changelog, flags=re.MULTILINE)
    entries = dict(zip(parts[1::2], parts[2::2], strict=True))
    dated = re.compile(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d")
    heading = next((h for h in entries if dated.fullmatch(h)), None)
    if heading is None and not final:
        heading = next((h for h in entries if h == "[Unreleased]"), None)
    if heading is None:
        fail(f"CHANGELOG.md has no '## [{version}] - <date>'")
    if not re.search(r"^- ", entries[heading], re.MULTILINE):
        fail(f"CHANGELOG.md tells nothing below '{heading}'")
    return heading


def promised(classifiers: list[str], archs: list[str]) -> set[str]:
    """Return the wheels that there have to be, as cibuildwheel calls them."""
    pattern = re.compile(r"Programming Language :: Python :: 3\.(\d+)")
    versions = [m[1] for c in classifiers if (m := pattern.fullmatch(c))]
    every = itertools.product(versions, LIBCS, archs)
    return {f"cp3{minor}-{libc}_{arch}" for minor, libc, arch in every}


def main() -> None:
    """Go through the list."""
    folder, *options = sys.argv[1:]
    final = "--final" in options
    options = [option for option in options if option != "--final"]
    made = Path(folder).resolve()
    shutil.rmtree(made, ignore_errors=True)
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = pyproject["project"]

    version = version_of((ROOT / "meson.build").read_text(), project)
    changed = output("git", "status", "--porcelain").strip()
    if final and changed:
        fail(f"the tree has changes, which an sdist leaves out:\n{changed}")
    if output("git", "tag", "--list", f"v{version}").strip():
        fail(f"v{version} is a tag already: raise the version in meson.build")
    say(f"the version is {version}")
    heading = entry((ROOT / "CHANGELOG.md").read_text(), version, final=final)
    say(f"the changelog tells of it below '{heading}'")

    subprocess.run([sys.executable, "-m", "venv", made / "tools"], check=True)
    tools = made / "tools/bin"
    pip: list[str | Path] = [
        tools / "python",
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
    ]
    output(*pip, "install", *TOOLS)
    output(tools / "validate-pyproject", "pyproject.toml")
    say("pyproject.toml is valid")

    listed = output(
        tools / "cibuildwheel", "--print-build-identifiers", "--platform", "linux"
    )
    wanted = promised(
        project["classifiers"], pyproject["tool"]["cibuildwheel"]["archs"]
    )
    if set(listed.split()) != wanted:
        odd = sorted(set(listed.split()) ^ wanted)
        fail(f"cibuildwheel's wheels and the classifiers differ in {', '.join(odd)}")
    say(f"cibuildwheel would build {len(wanted)} wheels, as the classifiers promise")

    if changed:
        say("the sdist is of the last commit, without the changes in the tree")
    wheel = made / "wheel"
    command: list[str | Path] = [ROOT / ".ci/wheel", sys.executable, wheel, *options]
    if subprocess.run(command).returncode:
        fail("the package as a user gets it fails its tests")

    files = [*wheel.glob("built/*.tar.gz"), *wheel.glob("repaired/*.whl")]
    output(tools / "twine", "check", "--strict", *files)
    say(f"twine finds nothing in {' and '.join(file.name for file in files)}")
    if wrong := [f.name for f in files if f"copool-{version}" not in f.name]:
        fail(f"not of version {version}: {', '.join(wrong)}")
    shown = "import copool; print(copool.__version__)"
    installed = output(wheel / "empty/bin/python", "-c", shown).strip()
    if installed != version:
        fail(f"what is installed says that it is {installed}")
    say(f"{version} can be released" + final * f": git tag v{version}")


if __name__ == "__main__":
    main()
