"""The rooms of the C binding: which may include which, and how large they are."""

import re
import sysconfig
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BINDING = ROOT / "src" / "binding"
MOST_LINES = 700
MOST_OF_A_FUNCTION = 60

# Whom the files of a room may include, beside each other; the core comes below all.
# docs/design.md has the picture.
ARROWS = {
    "raw": "",
    "cpython": "raw",
    "python": "cpython",
    "process": "cpython python",
    "strand": "raw cpython python process",
    "tell": "cpython process strand",
    "face": "cpython python process strand",
    "coroutine": "cpython python process strand face",
    "greenlet": "cpython python process strand tell face",
    "bridge": "cpython python process strand tell face",
    "look": "raw cpython python process strand coroutine greenlet bridge",
    "module": "cpython process strand tell coroutine greenlet bridge look",
}

INCLUDE = re.compile(r'^#\s*include "([^"]+)"', re.MULTILINE)
SOURCES = sorted(path for path in BINDING.rglob("*") if path.suffix in (".c", ".h"))

pytestmark = pytest.mark.skipif(not SOURCES, reason="there are no sources here")


def included(path: Path) -> list[str]:
    """Return the files of the binding that this one includes, as room/file.h."""
    names = INCLUDE.findall(path.read_text())
    return [name for name in names if (BINDING / name).is_file()]


def name(path: Path) -> str:
    return str(path.relative_to(BINDING))


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return the members of a circle, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_every_file_is_in_a_room_that_is_known():
    rooms = {path.parent.name for path in SOURCES}
    assert rooms == set(ARROWS)
    assert all(path.parent.parent == BINDING for path in SOURCES)


def test_files_are_included_with_their_room():
    headers = {path.name for path in SOURCES if path.suffix == ".h"}
    core = {path.name for path in (ROOT / "src" / "core").glob("*.h")}
    assert not [
        (name(path), bare)
        for path in SOURCES
        for bare in INCLUDE.findall(path.read_text())
        if "/" not in bare and bare in headers and bare not in core
    ]


def test_no_header_is_called_like_one_of_pythons():
    """Which of the two is included would depend on the order of folders."""
    pythons = Path(sysconfig.get_path("include"))
    assert not [
        name(path)
        for path in SOURCES
        if path.suffix == ".h" and (pythons / name(path)).exists()
    ]


def test_includes_follow_the_arrows():
    astray = [
        f"{name(path)} includes {other}"
        for path in SOURCES
        for other in included(path)
        if (room := other.split("/")[0]) != path.parent.name
        and room not in ARROWS[path.parent.name].split()
    ]
    assert astray == []


def test_every_arrow_is_needed():
    used = {
        (path.parent.name, other.split("/")[0])
        for path in SOURCES
        for other in included(path)
    }
    assert not [
        f"{room} -> {below}"
        for room, rooms in ARROWS.items()
        for below in rooms.split()
        if (room, below) not in used
    ]


def test_no_circle_of_rooms():
    assert not circle({room: set(rooms.split()) for room, rooms in ARROWS.items()})


def test_no_circle_of_files():
    """A header and the file that has what it declares are one."""
    graph: dict[str, set[str]] = {}
    for path in SOURCES:
        stem = name(path.with_suffix(""))
        others = {other.removesuffix(".h") for other in included(path)}
        graph.setdefault(stem, set()).update(others - {stem})
    assert circle(graph) == []


def test_files_are_short():
    long = {name(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {path: n for path, n in long.items() if n > MOST_LINES} == {}


def functions(text: str) -> dict[str, int]:
    """Return how many lines each function has, from its type to its last brace.

    By the layout that clang-format sees to: its name and its braces are in the
    first column.
    """
    lines, found = text.splitlines(), {}
    for i, line in enumerate(lines):
        if line != "{":
            continue
        first = i
        while first and lines[first - 1] and not lines[first - 1].endswith("*/"):
            first -= 1
        header = "\n".join(lines[first:i])
        called = re.search(r"^(\w+)\(", header, re.MULTILINE)
        found[called[1] if called else header] = lines.index("}", i) + 1 - first
    return found


def test_the_lines_of_functions_are_counted():
    text = "/* Why. */\nstatic int\nf(int a,\n  int b)\n{\n    return a;\n}\n\nint x;\n"
    assert functions(text) == {"f": 6}
    assert functions(text + "\nvoid\ng(void)\n{\n    if (1) {\n    }\n}\n")["g"] == 6


def test_functions_are_short():
    assert not {
        f"{name(path)}: {function}": n
        for path in SOURCES
        for function, n in functions(path.read_text()).items()
        if n > MOST_OF_A_FUNCTION
    }


# Fields of objects and thread states whose layout is a version's own, and what asks
# for the version.
INSIDE = re.compile(
    r'"internal/|PY_VERSION_HEX|Py_BUILD_CORE|_PyInterpreterFrame\b|_PyStackRef\b'
    r"|_Py_DebugOffsets|PyGenObject\b|PyCoroObject\b|PyGC_Head\b|PyContext\s*\*\)"
)


def test_one_room_looks_inside_cpython():
    assert not [
        f"{name(path)}: {found[0]}"
        for path in SOURCES
        if path.parent.name != "cpython"
        and (
            found := INSIDE.search(
                re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
            )
        )
    ]
