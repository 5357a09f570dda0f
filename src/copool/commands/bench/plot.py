"""The results as one picture: a panel for each case and level."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from copool.commands.bench.model import BenchError, Key, Level, Results
from copool.commands.bench.report import (
    LEVEL_TITLES,
    amount,
    keys_of,
    machine_line,
    missing,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from copool.commands.bench.cases import Case

COLUMNS = 3
OURS = "#1f6f8b"
THEIRS = "#b9b4a7"
COLOURS = {
    "copool": OURS,
    "magazine": OURS,
    "copool-release": "#5aa0b8",
    "release": "#5aa0b8",
    "copool-mutex": "#8fc1d1",
    "mutex": "#8fc1d1",
    "copool-none": "#c3dfe7",
    "none": "#c3dfe7",
    "greenlet": "#6a994e",
    "generator": "#e09f3e",
    "asyncio": "#9a6fb0",
    "thread": "#c8553d",
    "ucontext": "#7f5539",
    "boost": "#3d405b",
    "fcontext": "#81869f",
    "plain": "#d4b106",
    "copool's greenlet": "#3a86c8",
    "copool anywhere": "#48a9a6",
    "SQLAlchemy": "#386641",
    "greenback": "#b56576",
    "to_thread": "#7d1d3f",
}
# Drawn as lines over a number, which is the variant.
LINES = {"crowd": "coroutines alive", "threads": "threads"}
# Drawn as bars of bytes, resident and in page tables, which are the variants.
MEMORY = ("memory", "suspended", "tasks-waiting")
LEFT_OUT = ("function-call", "map-16k", "quiet")


def check(path: Path) -> None:
    """Raise BenchError unless a picture of this name can be drawn."""
    if path.suffix.lower() not in (".svg", ".png"):
        raise BenchError(f"--plot {path}: the name must end in .svg or .png")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise missing("matplotlib", "--plot") from None


def write_plot(results: Results, cases: Sequence[Case], path: Path) -> None:
    """Draw every case that was measured, into an SVG or PNG file."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["axes.titlesize"] = 10
    panels = [
        (case, level, keys)
        for case in cases
        if case.name not in LEFT_OUT
        for level in LEVEL_TITLES
        if (keys := [k for k in keys_of(results, case.name, level) if drawn(k)])
    ]
    if not panels:
        raise BenchError("--plot: none of these cases has anything to be drawn")
    columns = min(COLUMNS, len(panels))
    rows = ceil(len(panels) / columns)
    figure = Figure(figsize=(5.2 * columns, 2.9 * rows + 0.7), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    for ax, (case, level, keys) in zip(axes, panels, strict=False):
        if case.name in LINES:
            draw_lines(ax, results, case, keys)
        else:
            draw_bars(ax, results, case, level, keys)
        ax.set_title(f"{case.name}, {LEVEL_TITLES[level]}", loc="left", weight="bold")
        ax.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        f"copool bench: medians, and 10 – 90 %\n{machine_line(results)}",
        fontsize=9,
        x=0.01,
        ha="left",
    )
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise BenchError(f"--plot: cannot write {path}: {error.strerror}") from None


def drawn(key: Key) -> bool:
    """Tell whether a figure belongs into the picture."""
    return not key.variant.endswith(" alive")


def _colour_of(subject: str) -> str:
    return COLOURS.get(subject, THEIRS)


def draw_bars(
    ax: Axes, results: Results, case: Case, level: Level, keys: list[Key]
) -> None:
    """Draw a bar for each subject: times on a logarithmic scale, rates from 0 on."""
    measured = [key for key in keys if key in results.series]
    if case.name in MEMORY:
        draw_memory(ax, results, measured)
        return
    rates = level == "serve"
    lowest = min((results.series[key].median for key in measured), default=1.0)
    highest = max((results.series[key].p90 for key in measured), default=10.0)
    left, right = (0, highest * 1.4) if rates else (lowest / 3, highest * 8)
    ax.set_xscale("linear" if rates else "log")
    for position, key in enumerate(keys):
        series = results.series.get(key)
        if series is None:
            why = " " + results.impossible[key]
            ax.text(left, position, why, va="center", fontsize=7, color="gray")
            continue
        errors = [[max(series.median - series.p10, 0)], [series.p90 - series.median]]
        ax.barh(
            position, series.median, color=_colour_of(key.subject), xerr=errors,
            error_kw={"elinewidth": 0.8, "ecolor": "#333333"},
        )  # fmt: skip
        label = f"  {amount(series.median, series.unit)}"
        ax.text(series.p90, position, label, va="center", fontsize=8)
    ax.set_xlim(left, right)
    names = [f"{key.subject} {key.variant}".strip() for key in keys]
    ax.set_yticks(range(len(keys)), names)
    ax.set_ylim(len(keys) - 0.4, -0.6)
    ax.set_xlabel("so many a second" if rates else "ns for each operation, logarithmic")
    mapping = results.find("map-16k", "c", "call")
    if mapping and level != "c" and case.name in ("lifecycle", "cost", "spawn"):
        ax.axvline(mapping.median, color="#333333", linestyle=":", linewidth=1)
        ax.annotate(
            " 16 KiB mapped,\n unmapped", (mapping.median, 0.98),
            xycoords=("data", "axes fraction"), ha="left", va="top", fontsize=6,
        )  # fmt: skip


def draw_memory(ax: Axes, results: Results, keys: list[Key]) -> None:
    """Draw resident bytes, with those of page tables after them."""
    figures = {(key.subject, key.variant): results.series[key] for key in keys}
    subjects = list(dict.fromkeys(key.subject for key in keys))
    for position, subject in enumerate(subjects):
        resident = figures.get((subject, "resident"))
        tables = figures.get((subject, "page tables"))
        if resident is None or tables is None:
            continue
        ax.barh(position, resident.median, color=_colour_of(subject))
        ax.barh(
            position, tables.median, left=resident.median,
            color=_colour_of(subject), alpha=0.4, hatch="///",
        )  # fmt: skip
        label = f" {resident.median:,.0f} + {tables.median:,.0f}"
        ax.text(
            resident.median + tables.median, position, label, va="center", fontsize=8
        )
    ax.set_yticks(range(len(subjects)), subjects)
    ax.invert_yaxis()
    ax.margins(x=0.35)
    ax.set_xlabel("bytes for each: resident, and page tables (hatched)")


def draw_lines(ax: Axes, results: Results, case: Case, keys: list[Key]) -> None:
    """Draw a line for each subject over the number of threads or coroutines."""

    def height(ns: float) -> float:
        return 1e3 / ns if case.name == "threads" else ns

    for subject in dict.fromkeys(key.subject for key in keys):
        series = [
            results.series[key]
            for key in keys
            if key.subject == subject and key in results.series
        ]
        numbers = [int(s.key.variant.split()[0].replace(",", "")) for s in series]
        heights = [height(s.median) for s in series]
        ax.plot(
            numbers, heights, marker="o", markersize=3, linewidth=1.4,
            color=_colour_of(subject), label=subject,
        )  # fmt: skip
        ax.fill_between(
            numbers, [height(s.p10) for s in series], [height(s.p90) for s in series],
            color=_colour_of(subject), alpha=0.2, linewidth=0,
        )  # fmt: skip
        if numbers and case.name == "threads":
            ax.set_xticks(numbers)
    ax.set_yscale("log")
    ax.set_xlabel(LINES[case.name])
    if case.name == "threads":
        ax.set_ylabel("million lifecycles a second, log.")
    else:
        ax.set_xscale("log")
        ax.set_ylabel("ns for each operation, log.")
    ax.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
