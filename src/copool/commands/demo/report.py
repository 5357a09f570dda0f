"""What the demo prints, and what it writes as JSON."""

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table

from copool.commands.demo.contest import Contest, Score
from copool.commands.demo.parsing import Source

_STATISTICS = {
    "created": "coroutines started",
    "reused": "of those, on a used stack",
    "live": "coroutines alive",
    "idle_local": "stacks kept by this thread",
    "idle_shared": "stacks kept for any thread",
    "vacant": "stacks mapped, but empty",
    "peak": "most stacks with memory",
    "slabs": "mappings",
    "mapped_bytes": "their address space, in bytes",
    "discards": "stacks emptied",
}

Moment = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Report:
    """All that came out of one run of the demo."""

    folder: Path
    source: Source
    parsing: float
    whole: Contest
    sample: Contest
    pool: Mapping[str, Moment]

    @property
    def unparsed(self) -> list[str]:
        """The files that cannot be parsed, seen from the folder."""
        return [str(path.relative_to(self.folder)) for path in self.source.unparsed]

    def as_json(self) -> dict[str, object]:
        """Return all in types that JSON has. Times are in seconds."""
        return {
            "copool": version("copool"),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "source": {
                "folder": str(self.folder),
                "files": self.source.files,
                "bytes": self.source.size,
                "unparsed": self.unparsed,
                "definitions": len(self.source.definitions),
                "seconds": self.parsing,
            },
            "whole": asdict(self.whole),
            "sample": asdict(self.sample),
            "pool": {when: dict(what) for when, what in self.pool.items()},
        }


def show(report: Report, console: Console) -> None:
    """Print a report."""
    whole, sample, pool = report.whole, report.sample, report.pool
    rounds = len(whole.scores[0].seconds)
    _print(console, _input(report), "", _answer(whole), "")
    _print(
        console,
        f"[bold]The whole job[/] with up to {whole.crowd:,} walkers alive at once,"
        f" median of {rounds}. Starting, walking and merging is timed, parsing is not."
        " Each turn is another walker's, so that caches help none of them.",
        _times(whole, memory=True),
        f"[bold]The same for {sample.trees:,} of the walkers[/], as there can hardly be"
        " a thread for each of all.",
        _times(sample),
        f"[bold]The pool[/] has the policy {pool['after']['policy']}, the guard"
        f" {pool['after']['guard']}, {pool['after']['stack_size']:,} bytes a stack and"
        f" room for {pool['after']['max_blocks']:,}.",
        _pool(pool),
    )


def _print(console: Console, *parts: str | Table) -> None:
    for part in parts:
        console.print(part, highlight=False)


def _input(report: Report) -> str:
    source = report.source
    text = (
        f"[bold]The input:[/] {report.folder}, {source.files:,} Python files with"
        f" {source.size / 1e6:.1f} MB and {len(source.definitions):,} functions and"
        f" classes, parsed in {report.parsing:.1f} s."
    )
    if source.unparsed:
        text += (
            f" Not valid in this version, and left out: {', '.join(report.unparsed)}."
        )
    return text


def _answer(contest: Contest) -> str:
    answer = contest.answer
    often = ", ".join(f"{name} {count:,}" for name, count in answer.most_frequent)
    walkers = ", ".join(score.walker for score in contest.scores)
    return (
        f"[bold]The answer:[/] {answer.names:,} names, {answer.distinct:,} of them"
        f" different, most often {often}; digest of their order {answer.digest}."
        f" It is the same from {walkers}."
    )


def _times(contest: Contest, *, memory: bool = False) -> Table:
    table = _table("time", "spread", "per name", "copool = 1")
    if memory:
        table.add_column("memory each", justify="right")
    own = median(contest.scores[0].seconds)
    for score in contest.scores:
        row = _row(score, contest.answer.names, own)
        if memory:
            row.append(f"{score.memory / contest.crowd / 1e3:.1f} KB")
        table.add_row(*row)
    return table


def _row(score: Score, names: int, own: float) -> list[str]:
    seconds = median(score.seconds)
    spread = (max(score.seconds) - min(score.seconds)) / seconds
    return [
        score.walker,
        f"{seconds:.3f} s",
        f"{spread:.0%}" if len(score.seconds) > 1 else "",
        f"{seconds / max(names, 1) * 1e6:.2f} µs",
        f"{seconds / own:.2f}",
    ]


def _pool(moments: Mapping[str, Moment]) -> Table:
    table = _table(*moments)
    for name, meaning in _STATISTICS.items():
        table.add_row(meaning, *(f"{what[name]:,}" for what in moments.values()))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table
