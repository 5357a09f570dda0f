"""Parses files on every core, in processes that leave no litter in this one.

Parsing a large library takes and frees a gigabyte in small pieces. Were that
done here, the walkers would find room lying about, and what they need could
not be seen from how the process grows.

Such a process reads paths, and answers for each with the length of a marshalled
result and the result.
"""

import gc
import marshal
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

from copool.commands.demo.source import Tree, definitions

_LENGTH = 8

# The size of a file and the trees in it; None when it cannot be parsed.
_Result: TypeAlias = "tuple[int, list[Tree]] | None"


@dataclass(frozen=True, slots=True)
class Source:
    """What was read: which files, how many bytes, and the trees in them."""

    files: int
    size: int
    unparsed: list[Path]
    definitions: list[Tree]


def read(
    paths: Sequence[Path], tick: Callable[[int], None] = lambda done: None
) -> Source:
    """Parse files; call tick after each with the number of those done."""
    size = 0
    unparsed: list[Path] = []
    trees: list[Tree] = []
    for done, (path, result) in enumerate(zip(paths, _results(paths), strict=True), 1):
        if result is None:
            unparsed.append(path)
        else:
            size += result[0]
            trees += result[1]
        tick(done)
    return Source(len(paths), size, unparsed, trees)


def _results(paths: Sequence[Path]) -> Iterator[_Result]:
    """Yield the result for each path, in order; deal them out like cards."""
    count = min(len(os.sched_getaffinity(0)), len(paths))
    with ExitStack() as stack:
        pipes = [
            stack.enter_context(_process(paths[number::count]))
            for number in range(count)
        ]
        for number in range(len(paths)):
            pipe = pipes[number % count]
            length = int.from_bytes(pipe.read(_LENGTH))
            yield marshal.loads(pipe.read(length))


@contextmanager
def _process(paths: Sequence[Path]) -> Iterator[IO[bytes]]:
    """Start a process on these files; give the pipe with its answers."""
    with subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(b"\0".join(map(os.fsencode, paths)))
            process.stdin.close()
            yield process.stdout
        finally:
            process.kill()


def _answer() -> None:
    gc.disable()  # syntax trees have no cycles
    warnings.simplefilter("ignore")
    for path in sys.stdin.buffer.read().split(b"\0"):
        answer = marshal.dumps(_parse(path))
        sys.stdout.buffer.write(len(answer).to_bytes(_LENGTH) + answer)


def _parse(path: bytes) -> _Result:
    try:
        with open(path, "rb") as file:
            text = file.read()
        return len(text), definitions(text)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


if __name__ == "__main__":
    _answer()
