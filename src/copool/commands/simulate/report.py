"""What `copool simulate` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table

from copool.commands.simulate.costs import Costs
from copool.commands.simulate.engine import Outcome


@dataclass(frozen=True, slots=True)
class Row:
    """One simulation: what was asked for, and what came out."""

    threads: int
    policy: str
    batch: int | None
    """None for a policy that has none."""
    outcome: Outcome


def duration(ns: float) -> str:
    """Write a time with three figures and its unit."""
    units = ["s", "ms", "µs", "ns"]
    while ns >= 999.5 and len(units) > 1:
        ns /= 1000
        units.pop()
    digits = 0 if ns >= 99.95 else 1 if ns >= 9.995 else 2
    return f"{ns:.{digits}f} {units[-1]}"


def percent(part: float) -> str:
    """Write a part of one in percent; never 100 % for less than all."""
    shown = f"{100 * part:.1f} %"
    return "99.9 %" if shown == "100.0 %" and part < 1 else shown


def count(number: int) -> str:
    """Write a number exactly, or a million and more with three figures."""
    if number < 1_000_000:
        return f"{number:,}"
    size, unit = (number / 1e6, "M") if number < 999_500_000 else (number / 1e9, "G")
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{size:.{digits}f} {unit}"


def table(rows: Sequence[Row]) -> Table:
    """Return a line for each simulation."""
    # Eighty columns are enough, since those are what a pipe has.
    found = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for name in (
        "threads", "policy", "batch", "hits", "made", "peak", "idle", "contended",
        "waiting", "each",
    ):  # fmt: skip
        justify: Literal["left", "right"] = "left" if name == "policy" else "right"
        found.add_column(name, justify=justify, no_wrap=True)
    for index, row in enumerate(rows):
        o = row.outcome
        last = index + 1 == len(rows) or rows[index + 1].threads != row.threads
        found.add_row(
            count(row.threads), row.policy,
            "–" if row.batch is None else f"{row.batch}",
            percent(o.hit_rate), count(o.made), count(o.peak), count(o.idle_end),
            count(o.contended),
            percent(o.waited), duration(o.ns_each),
            end_section=last,
        )  # fmt: skip
    return found


NOTES = (
    "hits: coroutines that got a used block; made: those that did not. peak: most"
    " blocks with pages at once; idle: those at the end. contended: steps that had to"
    " wait for another thread or to be repeated; waiting: of all threads' time. each:"
    " threads' time for one coroutine, pauses left out. Times are virtual, and every"
    " thread has a processor of its own."
)


def show(title: str, rows: Sequence[Row], costs: Costs, console: Console) -> None:
    """Print the table, what its columns mean, and what a step costs."""
    priced = ", ".join(f"{name} {ns:g}" for name, ns in asdict(costs).items())
    console.print(f"[bold]{title}[/]\n", highlight=False)
    console.print(table(rows), highlight=False)
    console.print()
    console.print(NOTES, highlight=False)
    console.print(f"\nCosts in ns: {priced}", highlight=False)
