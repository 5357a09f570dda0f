"""Puts what came of a run into the table of docs/libraries.md.

Rows of libraries that did not run stay as they are, so that one page can hold runs on
several versions of Python. Everything outside the table is written by hand.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from judge import CHECKS, OK, Listed, Result, verdict

PAGE = Path(__file__).parents[2] / "docs" / "libraries.md"
BEGIN, END = "<!-- table -->", "<!-- end of the table -->"
HEADER = ("library", "version", "Python", "coroutine", "greenlet", "task", "verdict")


def cell(result: Result) -> str:
    """A letter for each check that the library has: bold and named if it failed."""
    letters = []
    for check in CHECKS:
        outcome = result.outcomes.get(check)
        if outcome is None:
            letters.append("–")
        elif outcome.status == OK:
            letters.append(check[0])
        else:
            letters.append(f"**{check[0]}: {outcome.status}**")
    return " ".join(letters)


def row(results: Mapping[str, Result], listed: Listed) -> tuple[str, ...]:
    kind, reason = verdict(results.values(), listed)
    first = next(iter(results.values()))
    return (
        first.name,
        first.version,
        ".".join(map(str, sys.version_info[:3])),
        *map(cell, results.values()),
        f"{kind}: {reason}" if reason else kind,
    )


def read_rows(text: str) -> dict[str, tuple[str, ...]]:
    """The rows of a table, by the first column."""
    rows = {}
    for line in text.strip().splitlines()[2:]:
        cells = tuple(part.strip() for part in line.strip().strip("|").split("|"))
        rows[cells[0]] = cells
    return rows


def table(rows: Mapping[str, tuple[str, ...]]) -> str:
    """Aligned, so that it can be read as it is; only the last column is ragged."""
    lines = [HEADER, *(rows[name] for name in sorted(rows, key=str.lower))]
    widths = [max(len(line[n]) for line in lines) for n in range(len(HEADER) - 1)]

    def line_of(cells: tuple[str, ...]) -> str:
        padded = (c.ljust(w) for c, w in zip(cells, widths, strict=False))
        return f"| {' | '.join(padded)} | {cells[-1]} |"

    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|---|"
    return "\n".join([line_of(lines[0]), rule, *map(line_of, lines[1:])])


def with_rows(text: str, new: Mapping[str, tuple[str, ...]]) -> str:
    before, _, rest = text.partition(BEGIN)
    old, _, after = rest.partition(END)
    rows = read_rows(old) | dict(new)
    return f"{before}{BEGIN}\n{table(rows)}\n{END}{after}"


def write_row(results: Mapping[str, Result], listed: Listed) -> None:
    if not any(result.skipped for result in results.values()):
        cells = row(results, listed)
        PAGE.write_text(with_rows(PAGE.read_text(), {cells[0]: cells}))
