"""Make a million coroutines, all alive at once, and see what each one costs.

Each is suspended three Python calls deep, below it a guard against overflow of its
stack. Beside them stand greenlets and nested generators, every measurement in a
process of its own. Bytes are resident memory and page tables; creating includes
the first entry, and entering goes once around all of them: the median of as many
rounds for each number. The time is that of the processor.

    python examples/million.py
    python examples/million.py 100000 --plot million.png

A crowd is where the size of a stack matters, and of its guard: the kernel needs 4 KiB
of page tables for each 2 MiB of address space that is in use anywhere, so a coroutine
costs less if they are no larger than they must be. docs/design.md tells how to choose.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

import copool

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STACK = (512 if sys.version_info < (3, 14) else 256) * 1024
GUARD = 64 * 1024
ROUNDS = 15
TOO_SLOW = 120  # seconds for one measurement
PICTURES = (".pdf", ".png", ".svg")

Enter = Callable[[], object]


# --- three calls deep, by three libraries -----------------------------------


def by_copool() -> Callable[[], Enter]:
    copool.configure(stack_size=STACK, guard_size=GUARD)

    def inner() -> None:
        while True:
            copool.yield_()

    def middle() -> None:
        inner()

    def outer() -> None:
        middle()

    return lambda: copool.Coroutine(outer).enter


def by_greenlet() -> Callable[[], Enter]:
    from greenlet import getcurrent, greenlet

    main = getcurrent()

    def inner() -> None:
        while True:
            main.switch()

    def middle() -> None:
        inner()

    def outer() -> None:
        middle()

    def make() -> Enter:
        enter: Enter = greenlet(outer).switch
        return enter

    return make


def by_generators() -> Callable[[], Enter]:
    def inner() -> Generator[None, None, None]:
        while True:
            yield

    def middle() -> Generator[None, None, None]:
        yield from inner()

    def outer() -> Generator[None, None, None]:
        yield from middle()

    return lambda: outer().__next__


SUBJECTS = {"copool": by_copool, "greenlet": by_greenlet, "generators": by_generators}


# --- one measurement, in a process of its own -------------------------------


def memory() -> int:
    """Return the bytes that this process takes: resident, and page tables."""
    with open("/proc/self/smaps_rollup") as rollup:
        resident = next(line for line in rollup if line.startswith("Rss:"))
    with open("/proc/self/status") as status:
        tables = next(line for line in status if line.startswith("VmPTE:"))
    return (int(resident.split()[1]) + int(tables.split()[1])) * 1024


def mappings() -> int:
    with open("/proc/self/maps") as maps:
        return sum(1 for _ in maps)


def measure(subject: str, n: int) -> None:
    """Print how far it is, then the figures, each as a line of JSON."""
    make = SUBJECTS[subject]()
    make()()  # what is allocated once is there now
    gc.disable()
    enters: list[Enter] = [int] * n
    before = memory()
    created = 0.0
    for first in range(0, n, step := max(n // 50, 1)):
        start = time.process_time()
        for index in range(first, min(first + step, n)):
            enters[index] = enter = make()
            enter()
        created += time.process_time() - start
        print(json.dumps({"made": first + step}), flush=True)
    taken = memory() - before
    rounds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for enter in enters:
            enter()
        rounds.append(time.process_time() - start)
    figures = {
        "size": taken / n,
        "create": created / n * 1e9,
        "enter": statistics.median(rounds) / n * 1e9,
        "mappings": mappings(),
    }
    print(json.dumps(figures), flush=True)
    # A million of them are let go by the end of the process, all at once.
    sys.stdout.close()
    os._exit(0)


# --- all of them ------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """What one of n costs."""

    subject: str
    n: int
    size: float
    create: float
    enter: float
    mappings: int


def run(subject: str, n: int, made: Callable[[int], object]) -> Cost | str:
    """Measure in a new process; return why not if it failed or took too long."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--measure", subject, str(n)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    timer = threading.Timer(TOO_SLOW, process.kill)
    timer.start()
    figures: dict[str, float] = {}
    with process:
        assert process.stdout
        assert process.stderr
        for line in process.stdout:
            figures = json.loads(line)
            made(min(int(figures.get("made", n)), n))
        errors = process.stderr.read().splitlines()
    slow = not timer.is_alive()
    timer.cancel()
    if process.returncode == 0:
        return Cost(subject, n, **figures)  # type: ignore[arg-type]
    if slow:
        return f"took more than {TOO_SLOW} seconds"
    return errors[-1] if errors else f"ended with status {process.returncode}"


def sizes(most: int) -> list[int]:
    """Return powers of ten up to the most, and that.

    >>> sizes(20_000)
    [1000, 10000, 20000]
    """
    smaller = (10**k for k in range(3, 10))
    return [n for n in smaller if n < most] + [most]


def measure_all(most: int, console: Console) -> list[Cost]:
    costs: list[Cost] = []
    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(bar_width=40),
        TextColumn("{task.completed:>9,.0f} of {task.total:,}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        for subject in SUBJECTS:
            task = progress.add_task(subject, total=most)
            for n in sizes(most):
                progress.reset(task, total=n)

                def made(k: int, task: TaskID = task) -> None:
                    progress.update(task, completed=k)

                cost = run(subject, n, made)
                if isinstance(cost, str):
                    console.print(f"{subject}: {n:,}: {cost}")
                    break
                costs.append(cost)
    return costs


def conditions() -> str:
    python = f"CPython {platform.python_version()}"
    return f"{python}, copool with stacks of {STACK // 1024} KiB"


def table_of(costs: list[Cost]) -> Table:
    title = f"one of N, three Python calls deep\n{conditions()}"
    table = Table(title=title, title_justify="left")
    for name in ("N", "by", "bytes", "create, ns", "enter, ns", "mappings"):
        table.add_column(name, justify="left" if name == "by" else "right")
    for c in sorted(costs, key=lambda c: (c.n, list(SUBJECTS).index(c.subject))):
        figures = (c.size, c.create, c.enter, c.mappings)
        table.add_row(f"{c.n:,}", c.subject, *(f"{value:,.0f}" for value in figures))
    return table


def plot(costs: list[Cost], path: Path) -> None:
    """Save what one takes, in bytes and in nanoseconds, over how many there are."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    size, create, enter = figure.subplots(1, 3)
    for colour, subject in zip(("C0", "C3", "0.5"), SUBJECTS, strict=True):
        own = [c for c in costs if c.subject == subject]
        for axes, values in (
            (size, [c.size for c in own]),
            (create, [c.create for c in own]),
            (enter, [c.enter for c in own]),
        ):
            draw(axes, subject, colour, [c.n for c in own], values)
    for axes, title in (
        (size, "bytes for each, all told"),
        (create, "ns to create one and enter it"),
        (enter, "ns to enter one, round-robin"),
    ):
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xscale("log")
        axes.set_xlabel("N, all of them alive")
        axes.set_ylim(bottom=0)
        axes.margins(x=0.2)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
    size.legend(frameon=False)
    title = f"one of N, three Python calls deep; {conditions()}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, weight="bold")
    figure.savefig(path, dpi=150)


def draw(
    axes: "Axes", subject: str, colour: str, numbers: list[int], values: list[float]
) -> None:
    """Draw a line, with the last value written at its end."""
    axes.plot(numbers, values, color=colour, marker="o", label=subject)
    if values:
        axes.annotate(
            f"{values[-1]:,.0f}",
            (numbers[-1], values[-1]),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=colour,
        )


def number(text: str) -> int:
    try:
        found = int(text)
    except ValueError:
        found = 0
    if found < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return found


def picture(text: str) -> Path:
    """Return the path of a picture that can be drawn: to measure takes minutes."""
    path = Path(text)
    if path.suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(f"{text} must end in {' or '.join(PICTURES)}")
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text} cannot be a file")
    if not find_spec("matplotlib"):
        raise argparse.ArgumentTypeError("a picture needs matplotlib")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("n", nargs="?", type=number, default=1_000_000)
    parser.add_argument(
        "--plot",
        type=picture,
        metavar="FILE",
        help=f"save a picture of the figures: {', '.join(PICTURES)}",
    )
    parser.add_argument("--measure", metavar="SUBJECT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.n)
        return
    console = Console()
    costs = measure_all(options.n, console)
    console.print(table_of(costs))
    if options.plot:
        plot(costs, options.plot)
        console.print(f"saved {options.plot}")


if __name__ == "__main__":
    main()
