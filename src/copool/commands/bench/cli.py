"""The command line: `copool bench`."""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from copool.commands.bench import aio, cases, compat, plot, report, serve, targets
from copool.commands.bench.cases import Case
from copool.commands.bench.model import (
    BenchError,
    ImpossibleError,
    Key,
    Level,
    Measurement,
    Results,
    Series,
    Trial,
    difference,
)
from copool.commands.bench.runner import Settings, rounds_of, run_trial
from copool.commands.options import number

EXIT_MISSED, EXIT_ERROR, EXIT_INTERRUPTED = 1, 2, 130

# Of each kind of benchmark: what a bare `copool bench` measures, and the others.
CASES: Mapping[str, Sequence[Case]] = {
    "bench": cases.CASES,
    "compat": compat.CASES,
    "aio": aio.CASES,
    "serve": serve.CASES,
}
KINDS: Mapping[str, str] = {
    "compat": "programs that use greenlet, with it and with copool instead",
    "aio": "copool.aio, beside await and other ways to wait in functions",
    "serve": "servers under load, with greenlet and with copool instead",
}

NOTE_RATIOS = (
    "“a ÷ b” is the median, over the rounds, of a's time by b's: subjects are"
    " measured in turns."
)
NOTE_RATES = (
    "“÷ greenlet” is the median, over the rounds, of how many a second there were by"
    " how many with greenlet: subjects are measured in turns."
)
NOTE_PARKED = (
    "C level: with a parked thread in the process, for every subject alike, since"
    " glibc's mutex leaves out its atomics while there is one thread only."
)
# What one must know of a level where programs run, before they are listed.
NOTES: Mapping[Level, str] = {
    "drop-in": "greenlet: processes started by `python`; copool: the same by `python"
    " -m copool run`. Programs in them:",
    "aio": "plain: `await` in coroutines. By hand: resumed by `send()`, without a"
    " loop. The others:",
    "orm": "SQLAlchemy's asyncio, each subject in processes of its own, on one"
    " processor. greenlet: as it is; copool's greenlet: by `python -m copool run`;"
    " copool anywhere: so, in a loop of `copool.aio.new_event_loop()`. greenlet's way"
    " to load lazily is `await author.awaitable_attrs.books`. A request is a call of"
    " the ASGI application, without a server. Programs in them:",
    "serve": "A server has one processor, where there are two, and its clients have"
    " the others. greenlet: started by `python`; copool's greenlet: by `python -m"
    " copool run`; copool anywhere: so, in a loop of `copool.aio.new_event_loop()`."
    " Programs in them:",
}


def parser() -> argparse.ArgumentParser:
    """Describe the options."""
    p = argparse.ArgumentParser(
        prog="copool bench",
        description="Measures what a coroutine costs, beside what else there is.",
    )
    p.set_defaults(what="bench")
    what = p.add_mutually_exclusive_group()
    for kind, measured in KINDS.items():
        what.add_argument(
            f"--{kind}",
            dest="what",
            action="store_const",
            const=kind,
            help=f"measure {measured}",
        )
    p.add_argument("--list", action="store_true", help="list the cases and stop")
    p.add_argument(
        "--case",
        action="append",
        metavar="NAME",
        help="measure this case only; may be given several times",
    )
    p.add_argument("--quick", action="store_true", help="all cases under a minute")
    p.add_argument("--rounds", type=number, metavar="N", help="rounds for each case")
    p.add_argument(
        "--round-ms", type=number, metavar="MS", help="length of one subject's round"
    )
    p.add_argument(
        "--check",
        action="store_true",
        help="compare with the targets; exit with 1 when one is missed",
    )
    p.add_argument("--json", metavar="FILE", help="write JSON; - is standard output")
    p.add_argument(
        "--markdown",
        metavar="FILE",
        help="write markdown, into its place when the file has one for this version"
        " of Python; - is standard output",
    )
    p.add_argument("--plot", type=Path, metavar="FILE", help="draw to .svg or .png")
    return p


def chosen_cases(every: Sequence[Case], names: Sequence[str] | None) -> list[Case]:
    """Return the cases by these names, or all; raise BenchError for no such."""
    by_name = {case.name: case for case in every}
    chosen = []
    for name in dict.fromkeys(names or by_name):
        if name not in by_name:
            known = ", ".join(by_name)
            raise BenchError(f"there is no case {name!r}; there are: {known}")
        chosen.append(by_name[name])
    return chosen


def chosen_settings(options: argparse.Namespace) -> Settings:
    """Return the settings, quick or not, with what is given explicitly."""
    if options.what == "serve":
        base = serve.QUICK if options.quick else serve.FULL
    else:
        base = Settings.of_quick() if options.quick else Settings()
    return replace(
        base,
        rounds=options.rounds or base.rounds,
        round_ms=options.round_ms or base.round_ms,
    )


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[str, int], None]]:
    """Show a bar on standard error when that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda what, steps: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        raise report.missing("rich", "the progress bar") from None
    with Progress(
        TextColumn("{task.description:<14}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("", total=total)

        def advance(what: str, steps: int) -> None:
            bar.update(task, description=what, advance=steps)

        yield advance


# A measurement takes about as long as this many timed runs.
STEPS_OF_MEASUREMENT = 30


def steps_of(part: Trial | Measurement, settings: Settings) -> int:
    """Return by how much the bar moves for it."""
    if isinstance(part, Measurement):
        return STEPS_OF_MEASUREMENT * part.rounds
    return rounds_of(part, settings) * len(part.works)


def measure(cases: Sequence[Case], settings: Settings) -> Results:
    """Carry out all cases."""
    plans = [(case, part) for case in cases for part in case.plan(case, settings)]
    series: dict[Key, Series] = {}
    impossible: dict[Key, str] = {}
    with progress(sum(steps_of(part, settings) for _, part in plans)) as advance:
        for case, part in plans:
            advance(case.name, 0)
            if isinstance(part, Trial):
                step = functools.partial(advance, case.name, 1)
                with contextlib.closing(part):
                    done = run_trial(part, settings, step)
                series |= done.series
                impossible |= done.impossible
                continue
            taken = []
            try:
                for _ in range(part.rounds):
                    taken.append(part.take())
                    advance(case.name, STEPS_OF_MEASUREMENT)
            except ImpossibleError as error:
                impossible |= {key: str(error) for key in part.keys}
                advance(case.name, STEPS_OF_MEASUREMENT * (part.rounds - len(taken)))
                continue
            series |= {
                key: Series(key, part.unit, tuple(figures[key] for figures in taken))
                for key in taken[0]
            }
    return Results(
        machine=report.machine(),
        settings={"rounds": settings.rounds, "round_ms": settings.round_ms},
        series=series,
        impossible=impossible,
        notes=notes(series, impossible),
    )


def notes(series: dict[Key, Series], impossible: dict[Key, str]) -> list[str]:
    """Say what one must know to read the tables."""
    levels = {key.level for key in (*series, *impossible)}
    found = [NOTE_RATES if levels <= {"serve"} else NOTE_RATIOS]
    if any(key.level == "c" for key in series):
        found.append(NOTE_PARKED)
    mapping = series.get(Key("map-16k", "c", "", "call"))
    if mapping:
        found.append(
            "Mapping 16 KiB, touching a page of it and unmapping it costs"
            f" {report.amount(mapping.median, mapping.unit)} here; greenlet does"
            " that for every greenlet that it runs. Where page faults are cheaper,"
            " the ratios to greenlet are smaller."
        )
    for level, note in NOTES.items():
        if level in levels:
            found.append(f"{note} {report.versions_at(level)}.")
    for key, run in series.items():
        if key.case == "start-up" and key.subject == "copool":
            python = series[replace(key, subject="greenlet")]
            later = report.amount(difference(run, python), run.unit)
            found.append(f"A script takes {later} more under `{key.variant}`.")
    if any(key.subject == "greenlet" for key in impossible) and not any(
        key.subject == "greenlet" for key in series
    ):
        found.append("greenlet could not take part; the tables say why.")
    return found


def write(target: str, text: str) -> None:
    """Write to a file, or to standard output."""
    if target == "-":
        sys.stdout.write(text)
        return
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BenchError(f"cannot write {target}: {error.strerror}") from None


def check_place(path: Path) -> None:
    """Raise BenchError if there can be no such file."""
    if path.is_dir() or not path.parent.is_dir():
        raise BenchError(f"cannot write {path}: it cannot be a file")


def placed(target: str, text: str, place: str) -> str:
    """Return the text, or the file that is there with the text in its place."""
    path = Path(target)
    if target == "-" or not path.is_file():
        return text
    mark = f"{place} {sys.version_info.major}.{sys.version_info.minor}"
    document = path.read_text(encoding="utf-8")
    return report.put_between_marks(document, text, mark) or text


def run(options: argparse.Namespace) -> int:
    """Do what the options ask for."""
    chosen = chosen_cases(CASES[options.what], options.case)
    if options.list:
        for case in chosen:
            print(f"{case.name:<14} {case.title}")
        return 0
    # Now: to measure takes minutes.
    if options.plot:
        plot.check(options.plot)
    for target in (options.json, options.markdown, options.plot):
        if target is not None and target != "-":
            check_place(Path(target))
    results = measure(chosen, chosen_settings(options))
    names = [case.name for case in chosen]
    verdicts = targets.judge(results, names) if options.check else []
    if options.json:
        write(options.json, report.to_json(results, chosen, verdicts))
    if options.markdown:
        text = report.markdown(results, chosen, verdicts)
        write(options.markdown, placed(options.markdown, text, options.what))
    if options.plot:
        plot.write_plot(results, chosen, options.plot)
    if "-" not in (options.json, options.markdown):
        report.print_tables(results, chosen, verdicts)
    missed = any(verdict.reached is False for verdict in verdicts)
    return EXIT_MISSED if missed else 0


def main(argv: list[str]) -> int:
    """Run the benchmark; return the exit status."""
    options = parser().parse_args(argv)
    try:
        return run(options)
    except BenchError as error:
        print(f"copool bench: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print("copool bench: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
