"""The short form of a report, a line for each group: `copool ps`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from copool.commands.outside.model import Line
from copool.commands.outside.report import Group, Report, place, safe

TITLES = ("COUNT", "KIND", "STATE", "THREAD", "WAITS", "INNERMOST CALLS")
_CALLS = 3


def rows(report: Report) -> list[tuple[str, ...]]:
    """Return a row as in TITLES for each group."""
    return [*map(_row, report.groups)]


def _row(group: Group) -> tuple[str, ...]:
    chain = group.first
    thread = ""
    if chain.thread is not None:
        thread = safe(chain.thread.name) or f"thread {chain.thread.native}"
        others = group.threads() - 1
        thread += f" + {others:,}" if others else ""
    return (
        f"{len(group.chains):,}",
        chain.kind,
        chain.state,
        thread,
        _ages(group),
        calls(chain.lines),
    )


def _ages(group: Group) -> str:
    ages = group.ages()
    if ages is None:
        return ""
    least, most = map(int, ages)
    return f"{least:,} s" if least == most else f"{least:,} – {most:,} s"


def calls(lines: Sequence[Line]) -> str:
    """Write the innermost few of a chain.

    >>> calls([("leaf", "/srv/app.py", 12), ("top", "/srv/app.py", 0)])
    'leaf (app.py:12) < top (app.py:?)'
    """
    words = [
        place((function, file.rpartition("/")[2], number))
        for function, file, number in lines[:_CALLS]
    ]
    more = len(lines) - _CALLS
    words += [f"{more:,} more"] if more > 0 else []
    return " < ".join(words) or "(no Python code)"


def as_text(report: Report) -> str:
    """Return it as a table that is as wide as the terminal."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    lines = report.first_lines()
    for part in (_table(rows(report), width), report.last_lines()):
        lines += ["", *part] if part else []
    return "".join(f"{line}\n" for line in lines)


def _table(found: list[tuple[str, ...]], width: int | None) -> list[str]:
    """Lay rows out in columns, without those in which there is nothing."""
    if not found:
        return []
    columns = [
        [title, *cells]
        for title, *cells in zip(TITLES, *found, strict=True)
        if any(cells)
    ]
    columns = [
        [cell.rjust(size) if title == TITLES[0] else cell.ljust(size) for cell in cells]
        for cells in columns
        for title, size in [(cells[0], max(map(len, cells)))]
    ]
    lines = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
    return [
        line if width is None or len(line) <= width else f"{line[: width - 1]}…"
        for line in lines
    ]
