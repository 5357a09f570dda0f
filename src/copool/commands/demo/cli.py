"""The command line of the demo."""

import argparse
import gc
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import copool
from copool.commands.demo import parsing, source
from copool.commands.demo.contest import Contest, Hooks, Mismatch, hold
from copool.commands.demo.report import Report, show
from copool.commands.demo.source import Tree
from copool.commands.demo.walkers import COPOOL, GENERATORS, GREENLET, THREADS
from copool.commands.options import number, output

# Fits where guards cost mappings of which the kernel allows 65,530.
_CROWD = 25_000
_SAMPLE = 300
_QUICK = 12


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; return its exit status."""
    options = _parser().parse_args(argv)
    try:
        return _run(options)
    except (Mismatch, copool.PoolExhausted) as error:
        print(f"copool demo: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="copool demo",
        description="Merges the names in all functions and classes of the standard"
        " library, with a coroutine walking each of them, and does the same with"
        " nested generators, greenlet and (a sample) threads.",
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=_folder,
        default=source.standard_library(),
        help="Python sources to take instead of the standard library",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"take every {_QUICK}th file only",
    )
    parser.add_argument(
        "--crowd",
        type=number,
        metavar="N",
        help=f"walkers alive at once (default: {_CROWD:,}, or what the pool allows)",
    )
    parser.add_argument(
        "--rounds", type=number, metavar="N", default=3, help="default: 3"
    )
    parser.add_argument("--json", type=output, metavar="FILE", help="write it all here")
    return parser


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    return path


def _run(options: argparse.Namespace) -> int:
    crowd = _crowd(options.crowd)
    with _Bar() as bar:
        start = perf_counter()
        read = _read(options, bar)
        seconds = perf_counter() - start
        if not read.definitions:
            print(f"copool demo: no function in {options.folder}", file=sys.stderr)
            return 1
        moments = {"before": asdict(copool.stats())}
        gc.collect()
        gc.freeze()  # the collector need not look at the trees again
        try:
            whole, busy = _whole(read.definitions, crowd, options.rounds, bar)
            sample = _sample(read.definitions, crowd, options.rounds, bar)
        finally:
            gc.unfreeze()
        moments |= {"in the crowd": busy, "after": asdict(copool.stats())}
    report = Report(options.folder, read, seconds, whole, sample, pool=moments)
    show(report, Console())
    if options.json:
        options.json.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    return 0


def _crowd(wanted: int | None) -> int:
    """Return how many walkers may live at once. Raises PoolExhausted for too many."""
    statistics = copool.stats()
    room = statistics.max_blocks - statistics.live
    if wanted is not None and wanted > room:
        raise copool.PoolExhausted(
            f"the pool has room for {room:,} coroutines, not for {wanted:,}: take a"
            " smaller --crowd, or a larger COPOOL_MAX_BLOCKS"
        )
    return wanted or min(_CROWD, room)


class _Bar:
    """A progress bar on the terminal; without a terminal, nothing.

    It is drawn only when told to, so that no thread of it takes part in what
    is being timed.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=console,
            auto_refresh=False,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("")
        self._drawn = 0.0

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, what: str, done: int, total: int) -> None:
        """Draw the bar, at most ten times a second."""
        if perf_counter() - self._drawn > 0.1:
            self._progress.update(
                self._task, description=what, completed=done, total=total
            )
            self._progress.refresh()
            self._drawn = perf_counter()


def _read(options: argparse.Namespace, bar: _Bar) -> parsing.Source:
    paths = source.find(options.folder)
    if options.quick:
        paths = paths[::_QUICK]
    return parsing.read(paths, lambda done: bar.show("parsing", done, len(paths)))


def _whole(
    trees: Sequence[Tree], crowd: int, rounds: int, bar: _Bar
) -> tuple[Contest, dict[str, object]]:
    """Hold the contest; also note the pool when copool's crowd is first complete."""
    busy: dict[str, object] = {}

    def crowded(walker: str) -> None:
        if walker == COPOOL.name and not busy:
            busy.update(asdict(copool.stats()))

    contest = hold(
        [COPOOL, GENERATORS, GREENLET],
        trees,
        crowd=crowd,
        rounds=rounds,
        hooks=Hooks(lambda walker, done: bar.show(walker, done, len(trees)), crowded),
    )
    return contest, busy


def _sample(trees: Sequence[Tree], crowd: int, rounds: int, bar: _Bar) -> Contest:
    few = trees[:: -(-len(trees) // _SAMPLE)]
    return hold(
        [COPOOL, GENERATORS, GREENLET, THREADS],
        few,
        crowd=crowd,
        rounds=rounds,
        hooks=Hooks(lambda walker, done: bar.show(f"{walker}, sample", done, len(few))),
    )
