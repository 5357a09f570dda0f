"""Runs programs in child processes; makes one that fails as small as it can."""

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from program import Program

HERE = Path(__file__).parent
CHILD = "import sys; sys.path.insert(0, sys.argv[1]); import real; real.main()"
LONGEST = 40  # seconds that a program may take; real.py gives up before
SHOWN = 3000  # characters of the start and the end of what is said of a crash
AT_ONCE = 24  # candidates for one process


def environment(malloc: str) -> dict[str, str]:
    extra = {"PYTHONMALLOC": malloc, "PYTHONFAULTHANDLER": "1"}
    return os.environ | {name: value for name, value in extra.items() if value}


def run_batch(
    programs: list[dict[str, Any]], malloc: str = ""
) -> tuple[int, str] | None:
    """The first that fails, by its place, and how; None if all agree."""
    with tempfile.TemporaryFile("w+") as errors, tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(HERE)],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=errors,
            env=environment(malloc),
            text=True,
            start_new_session=True,
        )
        text = "".join(json.dumps(program) + "\n" for program in programs)
        try:
            child.communicate(text, timeout=LONGEST + 10 * len(programs))
            ending = f"exit status {child.returncode}"
        except subprocess.TimeoutExpired:
            ending = "it hangs"
        finally:
            # A child of the child may be left too.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        out.seek(0)
        errors.seek(0)
        lines = [json.loads(line) for line in out.read().splitlines()]
        ends = [line for line in lines if "ends" in line]
        for i, line in enumerate(ends):
            if line["wrong"]:
                return i, line["wrong"]
        if len(ends) == len(programs) and child.returncode == 0:
            return None
        trouble = errors.read()
        if len(trouble) > 2 * SHOWN:
            trouble = f"{trouble[:SHOWN]}\n...\n{trouble[-SHOWN:]}"
        return min(len(ends), len(programs) - 1), f"{ending}\n{trouble}"


def kind_of(failure: str) -> str:
    """What stays the same when a program gets smaller."""
    if failure.startswith(("exit status", "it hangs")):
        return failure.splitlines()[0]
    return re.sub(r"[^a-z ]", "", failure.split(":")[0])


def smaller_lists(items: list[Any]) -> Iterator[list[Any]]:
    """Without a half, a quarter, and so on to a single one."""
    size = len(items) // 2 or 1
    while items and size:
        for start in range(0, len(items), size):
            yield items[:start] + items[start + size :]
        size //= 2


def smaller(program: Program) -> Iterator[Program]:
    """Programs that are simpler in one way, the boldest first."""
    data = program.to_json()
    threads = program.threads
    if len(threads) > 1:
        for i in range(len(threads)):
            yield Program(**data | {"threads": threads[:i] + threads[i + 1 :]})
    for i, operations in enumerate(threads):
        for fewer in smaller_lists(operations):
            yield Program(
                **data | {"threads": [*threads[:i], fewer, *threads[i + 1 :]]}
            )
    if program.threshold:
        yield Program(**data | {"threshold": None})
    if program.main:
        yield Program(**data | {"main": False})
    for i, operations in enumerate(threads):
        for n, (name, a, b) in enumerate(operations):
            for simpler in ([name, 0, b], [name, a, 0], [name, a, b // 2]):
                if simpler != [name, a, b]:
                    changed = [*operations[:n], simpler, *operations[n + 1 :]]
                    yield Program(
                        **data | {"threads": [*threads[:i], changed, *threads[i + 1 :]]}
                    )


def first_failure(
    candidates: list[Program], kind: str, malloc: str
) -> tuple[Program, str] | None:
    while candidates:
        found = run_batch([program.to_json() for program in candidates], malloc)
        if not found:
            return None
        place, failure = found
        if kind_of(failure) == kind:
            return candidates[place], failure
        candidates = candidates[place + 1 :]
    return None


def shrink(
    program: Program, failure: str, malloc: str, told: Callable[[Program], None]
) -> tuple[Program, str]:
    """The smallest found that fails in the same way, and how.

    Candidates share a process, of which the first that fails is the last.
    """
    kind = kind_of(failure)
    progress = True
    while progress:
        progress = False
        candidates = smaller(program)
        while chunk := list(itertools.islice(candidates, AT_ONCE)):
            found = first_failure(chunk, kind, malloc)
            if found:
                program, failure = found
                progress = True
                told(program)
                break
    return program, failure
