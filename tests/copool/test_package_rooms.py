"""What a program imports knows nothing of what a person runs; imports make no circle.

copool, copool.greenlet ← copool.aio    what programs import
    ↑
commands/options ← commands/bench, demo, gdb, outside; model ← simulate
"""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import copool

PACKAGE = Path(copool.__file__).parent

# The rooms, and which others the modules of each may import.
ALLOWED = {
    "copool": {"copool.greenlet"},
    "copool.greenlet": {"copool"},
    "copool.aio": {"copool", "copool.greenlet"},
    "copool.commands": set(),
    "copool.commands.bench": {"copool", "copool.aio", "copool.commands"},
    "copool.commands.demo": {"copool", "copool.commands"},
    "copool.commands.gdb": {"copool"},
    "copool.commands.model": set(),
    "copool.commands.outside": {"copool.commands"},
    "copool.commands.simulate": {"copool.commands", "copool.commands.model"},
}


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    name_of(path): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))
}


def imported_by(module):
    """The modules of copool that a module names in imports, wherever these stand."""
    package = (PACKAGE.parent / module.replace(".", "/")).is_dir()
    found = set()
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")[: -node.level or None] if node.level else []
            if node.level and package:
                parts = module.split(".")[: 1 - node.level or None]
            base = ".".join([*parts, *([node.module] if node.module else [])])
            found |= {
                name if (name := f"{base}.{alias.name}") in MODULES else base
                for alias in node.names
            }
    return (found & MODULES.keys()) - {module}


def room_of(module):
    """The innermost room that a module lies in."""
    return next(
        room
        for room in sorted(ALLOWED, key=len, reverse=True)
        if module == room or module.startswith(f"{room}.")
    )


def test_each_room_is_there():
    assert {room_of(module) for module in MODULES} == set(ALLOWED)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_from_rooms_that_its_own_may_know(module):
    own = room_of(module)
    others = {room_of(name) for name in imported_by(module)} - {own}
    assert others <= ALLOWED[own], f"{module} imports {sorted(imported_by(module))}"


def test_imports_make_no_circle():
    # A package names what lies in it for those who import it.
    inner = {
        module: {
            name for name in imported_by(module) if not name.startswith(f"{module}.")
        }
        for module in MODULES
    }
    TopologicalSorter(inner).prepare()  # raises CycleError, which shows the circle


@pytest.mark.parametrize("name", ["copool", "copool.aio", "copool.greenlet"])
def test_importing_it_loads_no_command(name):
    program = (
        f"import {name}, sys\n"
        "getattr(sys.modules['copool'], 'Coroutine')\n"
        "print([m for m in sys.modules if m.startswith('copool.commands')])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert loaded == "[]\n"
