"""The simulations as one picture: blocks over virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from copool.commands.simulate.report import Row, duration, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LIVE, IDLE = "#1f6f8b", "#e0b469"


def lines_of(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the panels of each line: a policy's batches, or all of one batch."""
    lines: dict[object, list[Row]] = {}
    batches = {row.batch for row in rows} - {None}
    for row in rows:
        line = (row.threads, row.policy) if len(batches) > 1 else row.threads
        lines.setdefault(line, []).append(row)
    return list(lines.values())


def write_plot(title: str, rows: Sequence[Row], path: Path) -> None:
    """Draw a panel for each simulation, into an SVG or PNG file.

    Panels for the same number of threads have the same scale of blocks; each has
    its own scale of time. Raises OSError if the file cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    matplotlib.rcParams["svg.fonttype"] = "none"
    lines = lines_of(rows)
    columns = max(map(len, lines))
    figure = Figure(
        figsize=(max(3.4 * columns, 6.8), 2.7 * len(lines) + 0.9), layout="constrained"
    )
    axes = figure.subplots(len(lines), columns, squeeze=False)
    for line, drawn in zip(axes, lines, strict=True):
        peers = [row for row in rows if row.threads == drawn[0].threads]
        top = max(m.live + m.idle for row in peers for m in row.outcome.history)
        for ax, row in zip(line, drawn, strict=False):
            _draw(ax, row, top)
        for ax in line[len(drawn) :]:
            ax.set_visible(False)
        line[0].set_ylabel("blocks")
    title += "\n(each panel has its own scale of time)"
    figure.suptitle(title, x=0.01, ha="left", fontsize=9, weight="bold")
    figure.legend(
        handles=[Patch(color=LIVE, label="in use"), Patch(color=IDLE, label="idle")],
        loc="outside lower right", ncols=2, frameon=False, fontsize=9,
    )  # fmt: skip
    figure.savefig(path, dpi=110)


def _draw(ax: Axes, row: Row, top: int) -> None:
    from matplotlib.ticker import MaxNLocator

    outcome = row.outcome
    unit, scale = ("ms", 1e6) if outcome.span >= 2e6 else ("µs", 1e3)
    times = [0.0, *(m.ns / scale for m in outcome.history)]
    live = [0, *(m.live for m in outcome.history)]
    idle = [0, *(m.idle for m in outcome.history)]
    ax.stackplot(times, live, idle, colors=(LIVE, IDLE), step="pre", linewidth=0)
    ax.set_xlim(0, times[-1])
    ax.set_ylim(0, top * 1.08)
    ax.set_xlabel(f"virtual time, {unit}", fontsize=8)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    ax.yaxis.set_major_formatter("{x:,.0f}")
    threads = "1 thread" if row.threads == 1 else f"{row.threads:,} threads"
    batch = "" if row.batch is None else f", batch {row.batch}"
    ax.set_title(
        f"{row.policy}, {threads}{batch}\n"
        f"{percent(outcome.hit_rate)} hits, {duration(outcome.ns_each)} each",
        loc="left", fontsize=9,
    )  # fmt: skip
