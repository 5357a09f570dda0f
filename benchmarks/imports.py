"""How long a program takes for what it imports, and how much of a wheel that is.

    python benchmarks/imports.py [--rounds N] [--folder FOLDER ...] [--wheel WHEEL ...]

Each folder has a copool in it, by default the installed one; a round imports from each
of them what each statement names, in a process of its own. Printed are, of the CPU
time that takes, medians over the rounds with the first and last decile; and for each
wheel its size: of all, and of what is run rather than imported (`copool.commands`, with
the library of the benchmark).
"""

import argparse
import os
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path

import copool

# The last two are nearly all of copool's own, and stand here to be subtracted.
STATEMENTS = (
    "import copool",
    "from copool import Coroutine",
    "import copool.greenlet",
    "import copool.aio",
    "import dataclasses, typing",
    "import asyncio",
)
# Before there was a folder for them, they lay beside what is imported.
ROOMS = ("commands", "_outside", "bench", "demo", "gdb", "model", "simulate")
RUN = tuple(f"copool/{room}/" for room in ROOMS)
PROGRAM = """
import sys, time
begin = time.process_time_ns()
{statement}
elapsed = time.process_time_ns() - begin
names = [name for name in sys.modules if name.partition(".")[0] == "copool"]
assert all(sys.modules[name].__file__.startswith({folder!r}) for name in names)
print(elapsed, len(names))
"""


def executed(statement: str, folder: str) -> tuple[int, int]:
    """Import from the folder: the nanoseconds, and how many modules are copool's."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(statement=statement, folder=folder)],
        env={**os.environ, "PYTHONPATH": folder},
        check=True,
        capture_output=True,
        text=True,
    )
    elapsed, modules = map(int, done.stdout.split())
    return elapsed, modules


def compare_imports(folders: list[str], rounds: int) -> None:
    """Print a line for each statement and folder."""
    who = [(statement, folder) for statement in STATEMENTS for folder in folders]
    times: dict[tuple[str, str], list[float]] = {one: [] for one in who}
    counts = {one: executed(*one)[1] for one in who}  # which compiles them, too
    for _ in range(rounds):
        for one in who:
            times[one].append(executed(*one)[0] / 1e6)
    for statement, folder in who:
        found = times[statement, folder]
        first, *_, last = statistics.quantiles(found, n=10, method="inclusive")
        print(
            f"{statement:<28} {statistics.median(found):6.2f} ms"
            f" ({first:.2f} – {last:.2f}), {counts[statement, folder]:2} of copool's"
            f" modules, {folder}"
        )


def tell_size(wheel: str) -> None:
    """Print what a wheel takes, packed and unpacked."""
    with zipfile.ZipFile(wheel) as archive:
        files = archive.infolist()
    run = [f for f in files if f.filename.startswith(RUN)]
    for what, some in (("all", files), ("what is run", run)):
        packed = sum(f.compress_size for f in some)
        size = sum(f.file_size for f in some)
        print(f"{what}: {packed:,} bytes packed, {size:,} unpacked, {len(some)} files")
    print(f"the wheel itself: {Path(wheel).stat().st_size:,} bytes, {wheel}")


def main() -> None:
    """Measure what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--folder", action="append", type=os.path.realpath)
    parser.add_argument("--wheel", action="append", default=[])
    options = parser.parse_args()
    installed = str(Path(copool.__file__).parent.parent)
    compare_imports(options.folder or [installed], options.rounds)
    for wheel in options.wheel:
        tell_size(wheel)


if __name__ == "__main__":
    main()
