"""Merge the names in all functions of some Python files.

Each function and class has a coroutine of its own, which walks the syntax tree by
plain recursion and yields the names from whatever depth it stands at. The
consumer takes one name of each in turn.

    python examples/merge_names.py FILE...
"""

import ast
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import copool

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def walk(node: ast.AST) -> None:
    """Yield every name below a node. A generator would have to be one at each level."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Name):
            copool.yield_(child.id)
        else:
            walk(child)


def walkers(files: Iterable[Path]) -> Iterator[copool.Coroutine]:
    """Make a coroutine for each function and class in the files."""
    for file in files:
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, DEFINITIONS):
                yield copool.Coroutine(lambda node=node: walk(node))


def merge(coroutines: Iterable[copool.Coroutine]) -> Iterator[str]:
    """Take one name of each coroutine in turn, until all have finished."""
    waiting = deque(coroutines)
    while waiting:
        coroutine = waiting.popleft()
        name = coroutine.enter()
        if not coroutine.done:
            yield name
            waiting.append(coroutine)


def main(arguments: list[str]) -> None:
    files = [Path(argument) for argument in arguments or [ast.__file__]]
    names = Counter(merge(walkers(files)))
    statistics = copool.stats()
    print(f"{names.total():,} names, {len(names):,} of them different; most often:")
    for name, count in names.most_common(10):
        print(f"{count:8,} {name}")
    print(
        f"{statistics.created:,} coroutines, at most {statistics.peak:,} of them alive,"
        f" {statistics.reused:,} on a stack used before"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
