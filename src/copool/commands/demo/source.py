"""Python sources, reduced to the names in their functions and classes."""

import ast
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

# A syntax tree without what the job doesn't look at. A name is a string, every
# other node a tuple of its parts, in order; a part without names is left out.
# So a name stands as deep as in the syntax tree, in a tenth of the memory.
Tree: TypeAlias = "tuple[str | Tree, ...]"

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_NOT_OURS = {"__pycache__", "dist-packages", "site-packages"}


def standard_library() -> Path:
    """Return the folder of the running interpreter's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def find(folder: Path) -> list[Path]:
    """List every Python file below a folder, sorted, but no installed packages."""
    return list(_find(folder))


def _find(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - _NOT_OURS)
        for file in sorted(files):
            if file.endswith(".py"):
                yield Path(place, file)


def definitions(text: bytes) -> list[Tree]:
    """Parse a file; return the tree of each function and class in it.

    Those inside another one stand before it. Raises SyntaxError, ValueError or
    RecursionError for what is not Python of this version: the standard library
    has some of it, to test the parser with.
    """
    found: list[Tree] = []
    _reduce(ast.parse(text), found)
    return found


def _reduce(node: ast.AST, found: list[Tree]) -> Tree:
    parts: list[str | Tree] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Name):
            parts.append(child.id)
        elif child._fields and (below := _reduce(child, found)):
            parts.append(below)
    tree = tuple(parts)
    if isinstance(node, _DEFINITIONS):
        found.append(tree)
    return tree
