"""The table of `copool ps --watch`, which needs rich."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from copool.commands.outside.report import Report
from copool.commands.outside.summary import TITLES, as_text, rows

_AROUND = 6  # lines of the screen that are not groups
_LEAST = 5
_GAP = 2  # between columns
_LEAST_CALLS = 10  # characters


def show(
    look: Callable[[], list[Report]], name: str, seconds: float, limit: int | None
) -> None:
    """Show what it finds every so many seconds, until Ctrl-C.

    Without a terminal the tables follow each other. Raises OutsideError when the
    process ends.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        for reports, foot in _looks(look, name, seconds, limit, lambda: None):
            print(*map(as_text, reports), foot, sep="", end="\n\n", flush=True)
    with Live(console=console, auto_refresh=False, screen=True) as live:
        for reports, foot in _looks(look, name, seconds, limit, lambda: console.height):
            tables = (_drawn(report, console.width) for report in reports)
            live.update(Group(*tables, Text(foot, style="dim")), refresh=True)


def _looks(
    look: Callable[[], list[Report]],
    name: str,
    seconds: float,
    limit: int | None,
    height: Callable[[], int | None],
) -> Iterator[tuple[list[Report], str]]:
    """Yield what is to be shown; without a limit as much as the screen has room for."""
    before: dict[int, int] = {}
    last = time.monotonic()
    while True:
        began = time.monotonic()
        reports = look()
        lines, most = height(), limit
        if most is None and lines is not None:
            most = max(lines - _AROUND, _LEAST) // len(reports)
        for report in reports:
            report.limit_to(most)
        switches = {
            thread.ident: thread.switches
            for report in reports
            for thread in report.scene.threads
        }
        told = _speed(before, switches, began - last) if before else ""
        took = time.monotonic() - began
        foot = f"{name}{told}, read in {took:.2f} s; Ctrl-C ends this"
        yield reports, foot
        before, last = switches, began
        time.sleep(max(seconds - took, 0.01))


def _speed(before: dict[int, int], now: dict[int, int], seconds: float) -> str:
    """Write how many switches there were in a second."""
    switches = sum(count - before.get(ident, count) for ident, count in now.items())
    return f", {max(switches, 0) / max(seconds, 0.001):,.0f} switches/s"


def _drawn(report: Report, columns: int) -> Group:
    table = RichTable(box=None, padding=(0, _GAP, 0, 0))
    found = rows(report)
    widths = [max(map(cell_len, column)) for column in zip(TITLES, *found, strict=True)]
    filled = [i for i in range(len(TITLES)) if any(row[i] for row in found)]
    if filled:
        # Where there is no room for all, the calls are cut off.
        room = columns - sum(widths[i] + _GAP for i in filled[:-1]) - _GAP
        widths[filled[-1]] = max(min(widths[filled[-1]], room), _LEAST_CALLS)
    for i in filled:
        table.add_column(
            TITLES[i],
            justify="right" if i == 0 else "left",
            no_wrap=True,
            overflow="ellipsis",
            width=widths[i],
        )
    styles = {"running": "bold green", "waiting": "yellow"}
    for row in found:
        cells = [escape(row[i]) for i in filled]
        table.add_row(*cells, style=styles.get(row[2], ""))
    return Group(
        *(Text(line, style="bold") for line in report.first_lines()),
        table,
        *(Text(line, style="dim") for line in report.last_lines()),
    )
