"""The table of `copool ps --watch`, which needs rich."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from copool._outside.report import Report
from copool._outside.summary import TITLES, rows

_AROUND = 6  # lines of the screen that are not groups
_LEAST = 5


def show(
    look: Callable[[], list[Report]], name: str, seconds: float, limit: int | None
) -> None:
    """Show what it finds every so many seconds, until Ctrl-C.

    Without a terminal the tables follow each other. Raises OutsideError when the
    process ends.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        for drawn in _drawings(look, name, seconds, limit, lambda: None):
            console.print(drawn, Text(""), soft_wrap=True)
            console.file.flush()
    with Live(console=console, auto_refresh=False, screen=True) as live:
        for drawn in _drawings(look, name, seconds, limit, lambda: console.height):
            live.update(drawn, refresh=True)


def _drawings(
    look: Callable[[], list[Report]],
    name: str,
    seconds: float,
    limit: int | None,
    height: Callable[[], int | None],
) -> Iterator[Group]:
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
        yield Group(*map(_drawn, reports), Text(foot, style="dim"))
        before, last = switches, began
        time.sleep(max(seconds - took, 0.01))


def _speed(before: dict[int, int], now: dict[int, int], seconds: float) -> str:
    """Write how many switches there were in a second."""
    switches = sum(count - before.get(ident, count) for ident, count in now.items())
    return f", {max(switches, 0) / max(seconds, 0.001):,.0f} switches/s"


def _drawn(report: Report) -> Group:
    table = RichTable(box=None)
    for i, title in enumerate(TITLES):
        table.add_column(
            title,
            justify="right" if i == 0 else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    styles = {"running": "bold green", "waiting": "yellow"}
    for row in rows(report):
        table.add_row(*map(escape, row), style=styles.get(row[2], ""))
    return Group(
        *(Text(line, style="bold") for line in report.first_lines()),
        table,
        *(Text(line, style="dim") for line in report.last_lines()),
    )
