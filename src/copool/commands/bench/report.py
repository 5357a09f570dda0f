"""The results as tables, for a terminal or as markdown, and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata

from copool.commands.bench.cases import Case, threads_variant
from copool.commands.bench.clevel import compiler
from copool.commands.bench.model import (
    RATE,
    TIME,
    BenchError,
    Key,
    Level,
    Results,
    Series,
    difference,
    ratio,
)
from copool.commands.bench.targets import Verdict

LEVEL_TITLES: dict[Level, str] = {
    "python": "from Python",
    "c": "C level",
    "process": "in a process of its own",
    "drop-in": "greenlet's API",
    "aio": "asyncio",
    "orm": "SQLAlchemy's asyncio",
    "serve": "end to end",
}
# Whom the others are compared with: the subject, the heading, and whether the
# subject's figure is above the line.
COMPARISONS: dict[Level, tuple[tuple[str, str, bool], ...]] = {
    "python": (("greenlet", "greenlet ÷ it", True), ("generator", "it ÷ gen.", False)),
    "c": (
        ("mutex", "mutex ÷ it", True),
        ("boost", "it ÷ boost", False),
        ("fcontext", "it ÷ fcontext", False),
    ),
    "process": (),
    "drop-in": (("greenlet", "greenlet ÷ it", True),),
    "aio": (("plain", "÷ plain", False), ("copool", "÷ copool", False)),
    "orm": (("greenlet", "greenlet ÷ it", True),),
    "serve": (("greenlet", "÷ greenlet", False),),
}
# Whose time is subtracted from that of the others.
DIFFERENCES: dict[Level, str] = {"aio": "plain"}
# The packages that run at a level.
PROGRAMS: dict[Level, tuple[str, ...]] = {
    "drop-in": ("gevent", "SQLAlchemy", "aiosqlite"),
    "aio": ("SQLAlchemy", "greenback", "asgiref"),
    "orm": ("SQLAlchemy", "aiosqlite", "FastAPI", "Jinja2"),
    "serve": (
        *("gunicorn", "gevent", "Celery", "redis"),
        *("uvicorn", "FastAPI", "SQLAlchemy", "aiosqlite"),
    ),
}


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text, yet without a form."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def machine() -> dict[str, str]:
    """Say what the figures were measured on."""
    model = platform.machine()
    with open("/proc/cpuinfo") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "cpu": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "libc": " ".join(platform.libc_ver()),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiler": compiler(),
    } | {
        name: version_of(name)
        for programs in (("greenlet",), *PROGRAMS.values())
        for name in programs
    }


def version_of(package: str) -> str:
    """Return the version of an installed package, or "none"."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def versions_at(level: Level) -> str:
    """Return the packages that run at a level, with their versions."""
    return ", ".join(f"{name} {version_of(name)}" for name in PROGRAMS[level])


def machine_line(results: Results) -> str:
    """Return the machine and the versions in one line."""
    m = results.machine
    return (
        f"{m['cpu']}, {m['cores']} processors, {m['system']}, {m['libc']};"
        f" {m['python']}, greenlet {m['greenlet']}, core built by {m['compiler']}"
    )


def amount(value: float, unit: str) -> str:
    """Write a figure with its unit, three digits of it.

    >>> amount(182.4, "ns/op"), amount(10_412, "ns/op"), amount(0.9, "ns/op")
    ('182 ns', '10.4 µs', '0.90 ns')
    >>> amount(4321.6, "bytes")
    '4,322 bytes'
    >>> amount(4321.6, "a second")
    '4,322 /s'
    """
    if unit == RATE:
        return f"{value:,.0f} /s"
    if unit == "bytes":
        return f"{value:,.0f} bytes"
    if unit != TIME:
        return f"{value:,g}"
    name = "ns"
    for larger in ("µs", "ms"):
        if value >= 1000:
            value, name = value / 1000, larger
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} {name}"


def times(factor: float | None) -> str:
    """Write a ratio, or nothing where there is none.

    >>> times(52.13), times(1.2345), times(733.3), times(None)
    ('52.1×', '1.23×', '733×', '')
    """
    if factor is None:
        return ""
    digits = 2 if factor < 10 else 1 if factor < 100 else 0
    return f"{factor:.{digits}f}×"


def spread(series: Series) -> str:
    """Write the range from the first to the last decile."""
    if len(series.values) == 1:
        return ""
    low, high = amount(series.p10, series.unit), amount(series.p90, series.unit)
    if low.split()[-1] == high.split()[-1]:
        low = low.split()[0]
    return f"{low} – {high}"


def keys_of(results: Results, case: str, level: Level) -> list[Key]:
    """Return who took part or could not, in the order of the plan."""
    every = [*results.series, *results.impossible]
    keys = [key for key in every if (key.case, key.level) == (case, level)]
    variants = list(dict.fromkeys(key.variant for key in keys))
    return sorted(keys, key=lambda key: variants.index(key.variant))


def compared(results: Results, key: Key, other: str, above: bool) -> float | None:
    """Return the ratio of a series to that of another subject, if there are both."""
    series = results.series.get(key)
    base = results.find(key.case, key.level, other, key.variant)
    if series is None or base is None or series is base:
        return None
    return ratio(base, series) if above else ratio(series, base)


def added(results: Results, series: Series, other: str) -> str:
    """Write by how much it takes longer than another subject, if there are both."""
    key = series.key
    base = results.find(key.case, key.level, other, key.variant)
    if base is None or series is base:
        return ""
    return amount(difference(series, base), series.unit)


def scaling_of(results: Results, key: Key) -> float | None:
    """Return the throughput over that of one thread, for the threads case."""
    one = results.find(key.case, key.level, key.subject, threads_variant(1))
    series = results.series.get(key)
    if key.case != "threads" or one is None or series is None:
        return None
    return ratio(one, series)


def tables(
    results: Results, cases: Sequence[Case], verdicts: Sequence[Verdict] = ()
) -> Iterator[Table]:
    """Make a table for each case and level that was measured, and that of --check."""
    for case in cases:
        for level in LEVEL_TITLES:
            keys = keys_of(results, case.name, level)
            if keys and level != "drop-in":
                yield table_of(results, case, level, keys)
    rows = tuple(row for case in cases for row in drop_in_rows(results, case))
    if rows:
        title = "greenlet, and copool in its place; the ratio is greenlet ÷ copool"
        figures = ("greenlet", "10 – 90 %", "copool", "10 – 90 %", "ratio")
        yield Table(title, ("operation", *figures), rows)
    if verdicts:
        yield verdict_table(verdicts)


def drop_in_rows(results: Results, case: Case) -> Iterator[tuple[str, ...]]:
    """Make a row for each variant of a case, with both subjects side by side."""
    every = keys_of(results, case.name, "drop-in")
    for variant in dict.fromkeys(key.variant for key in every):
        words = [case.title, variant] if variant else [case.title]
        cells: list[str] = []
        for subject in ("greenlet", "copool"):
            key = Key(case.name, "drop-in", variant, subject)
            series = results.series.get(key)
            if series is None:
                # It would not fit into the narrow columns, and both may give it.
                why = results.impossible[key]
                words += [] if why in words else [why]
                cells += ["", ""]
            else:
                cells += [amount(series.median, series.unit), spread(series)]
        factor = compared(results, key, "greenlet", True)
        yield (": ".join(words), *cells, times(factor))


def table_of(results: Results, case: Case, level: Level, keys: list[Key]) -> Table:
    """Make the table of a case at a level; columns without figures stay out."""

    def cells(write: Callable[[Series], str]) -> list[str]:
        found = (results.series.get(key) for key in keys)
        return [write(series) if series else "" for series in found]

    def comparison(other: str, above: bool) -> list[str]:
        return [times(compared(results, key, other, above)) for key in keys]

    columns = {
        # A reason would not fit into the narrow columns.
        "subject": [
            key.subject
            if key in results.series
            else f"{key.subject}: {results.impossible[key]}"
            for key in keys
        ],
        "": [key.variant for key in keys],
        "median": cells(lambda series: amount(series.median, series.unit)),
        "10 – 90 %": cells(spread),
    }
    for other, heading, above in COMPARISONS[level]:
        columns[heading] = comparison(other, above)
    kept = {"subject", "median"}
    if base := DIFFERENCES.get(level):
        columns[f"− {base}"] = cells(lambda series: added(results, series, base))
        kept.add(f"− {base}")
    if case.name == "threads":
        columns["scaling"] = [times(scaling_of(results, key)) for key in keys]
        kept.add("scaling")
    shown = {name: c for name, c in columns.items() if any(c) or name in kept}
    title = f"{case.name}, {LEVEL_TITLES[level]}: {case.title}"
    return Table(title, tuple(shown), tuple(zip(*shown.values(), strict=True)))


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """Make the table of --check."""
    words = {True: "reached", False: "MISSED", None: "not measured"}
    rows = []
    for verdict in verdicts:
        figure, target = verdict.figure, verdict.target
        bound = target.at_most if target.at_least is None else target.at_least
        if figure is None:
            written = ""
        elif target.unit == "×" and (
            verdict.reached or bound is None or times(figure) != times(bound)
        ):
            written = times(figure)
        else:
            # Also what is missed by less than the two digits of a ratio tell.
            written = f"{figure:,.6g}{target.unit}"
        word = words[verdict.reached]
        if figure is not None and verdict.target.wish_granted_by(figure):
            word = "wish reached"
        rows.append((verdict.target.text, verdict.target.bound, written, word))
    return Table("targets", ("target", "bound", "measured", ""), tuple(rows))


def print_tables(
    results: Results, cases: Sequence[Case], verdicts: Sequence[Verdict]
) -> None:
    """Print all for a person to read."""
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table as RichTable
    except ImportError:
        raise missing("rich", "tables on a terminal") from None
    console = Console()
    console.print(f"[dim]{machine_line(results)}[/dim]", highlight=False)
    for table in tables(results, cases, verdicts):
        rich_table = RichTable(box=None)
        for index, column in enumerate(table.columns):
            rich_table.add_column(
                column, justify="left" if index == 0 else "right", overflow="fold"
            )
        for row in table.rows:
            style = "bold" if row[0] in ("copool", "magazine") else ""
            style = "red" if row[-1] == "MISSED" else style
            rich_table.add_row(*map(escape, row), style=style)
        # As a title of the table it would be broken where that ends.
        console.print(f"\n[italic]{escape(table.title)}[/italic]", highlight=False)
        console.print(rich_table)
    for note in results.notes:
        console.print(f"\n[dim]{note}[/dim]", highlight=False)


def markdown(
    results: Results, cases: Sequence[Case], verdicts: Sequence[Verdict]
) -> str:
    """Return all as markdown, for `docs/benchmarks.md`."""
    lines = [machine_line(results) + ".", ""]
    for table in tables(results, cases, verdicts):
        lines += [f"**{table.title}**", ""]
        lines.append("| " + " | ".join(table.columns) + " |")
        lines.append("|---" + "|--:" * (len(table.columns) - 1) + "|")
        lines += ["| " + " | ".join(row) + " |" for row in table.rows]
        lines.append("")
    lines += [f"{note}\n" for note in results.notes]
    return "\n".join(lines)


def put_between_marks(document: str, text: str, mark: str) -> str | None:
    r"""Replace what stands between a mark and the next end; None without the two.

    >>> page = "a\n<!-- bench 3.12 -->\nold\n<!-- end -->\nb"
    >>> put_between_marks(page, "new", "bench 3.12")
    'a\n<!-- bench 3.12 -->\nnew\n<!-- end -->\nb'
    """
    head, found, rest = document.partition(f"<!-- {mark} -->\n")
    _, end, tail = rest.partition("<!-- end -->")
    if not found or not end:
        return None
    return f"{head}{found}{text.rstrip()}\n{end}{tail}"


def to_json(
    results: Results, cases: Sequence[Case], verdicts: Sequence[Verdict]
) -> str:
    """Return all as JSON, with the figures of every round."""
    series = [
        asdict(s.key)
        | {"unit": s.unit, "n": s.n, "median": s.median, "p10": s.p10, "p90": s.p90}
        | {"values": list(s.values)}
        for s in results.series.values()
    ]
    ratios = [
        asdict(key) | {"of": heading, "ratio": factor}
        for key in results.series
        for other, heading, above in COMPARISONS[key.level]
        if (factor := compared(results, key, other, above)) is not None
    ]
    document = {
        "format": 1,
        "machine": dict(results.machine),
        "settings": dict(results.settings),
        "cases": {case.name: case.title for case in cases},
        "series": series,
        "impossible": [
            asdict(key) | {"why": why} for key, why in results.impossible.items()
        ],
        "ratios": ratios,
        "targets": [
            {
                "target": verdict.target.text,
                "bound": verdict.target.bound,
                "figure": verdict.figure,
                "reached": verdict.reached,
            }
            for verdict in verdicts
        ],
        "notes": list(results.notes),
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def missing(module: str, what: str) -> BenchError:
    """Return the error for an extra that is not installed."""
    return BenchError(
        f"{what} needs {module}, which is not installed:"
        " run `pip install 'copool[bench]'`"
    )
