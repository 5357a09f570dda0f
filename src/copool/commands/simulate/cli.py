"""The command line: `copool simulate`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, fields, replace

from rich.console import Console

from copool.commands.model.policies import POLICIES, NonePolicy
from copool.commands.options import number, output
from copool.commands.simulate import report
from copool.commands.simulate.costs import DEFAULT, Costs
from copool.commands.simulate.patterns import PATTERNS, Load, simulate

EXIT_ERROR = 2
# Unless it is said how many lifecycles, there are so many in all, but in each
# thread at least twice as many as are alive at once; and at most twenty times as
# many, counting fewer than a hundred as a hundred.
IN_ALL, LEAST, MOST, CROWD = 200_000, 2, 20, 100
ALIVE = {"steady": 1, "burst": 200, "handoff": 256, "churn": 50}


def parser() -> argparse.ArgumentParser:
    """Describe the options."""
    p = argparse.ArgumentParser(
        prog="copool simulate",
        description="Runs the pool's policies under many threads, in virtual time.",
        epilog="patterns: "
        + "; ".join(f"{name}: {_first_line(f)}" for name, f in PATTERNS.items()),
    )
    p.add_argument(
        "--threads", type=_numbers, default=[64], metavar="N,…", help="default: 64"
    )
    p.add_argument("--pattern", choices=list(PATTERNS), default="steady")
    p.add_argument(
        "--policy", action="append", choices=list(POLICIES), help="default: each"
    )
    p.add_argument(
        "--batch", type=_numbers, default=[64], metavar="N,…", help="default: 64"
    )
    p.add_argument(
        "--lifecycles",
        type=number,
        metavar="N",
        help="of each thread, or of each pair in handoff; default: what makes"
        f" {IN_ALL:,} in all, but at least {LEAST} and at most {MOST} times --alive,"
        f" and at most {MOST * CROWD:,} with less than {CROWD} alive",
    )
    p.add_argument(
        "--alive",
        type=number,
        metavar="N",
        help="coroutines alive at once in a thread, or under way between two; default: "
        + ", ".join(f"{n} in {name}" for name, n in ALIVE.items()),
    )
    p.add_argument(
        "--pause",
        type=_pause,
        default=100.0,
        metavar="µS",
        help="between two bursts; default: 100",
    )
    p.add_argument("--seed", type=int, default=1, metavar="N")
    p.add_argument(
        "--cost",
        action="append",
        default=[],
        metavar="NAME=NS",
        help="what a step costs: " + ", ".join(asdict(DEFAULT)),
    )
    p.add_argument("--json", type=output, metavar="FILE", help="write the figures")
    p.add_argument("--plot", type=output, metavar="FILE", help="draw to .svg or .png")
    return p


def _first_line(function: object) -> str:
    line = (function.__doc__ or "").partition("\n")[0].rstrip(".")
    return line[:1].lower() + line[1:]


def _numbers(text: str) -> list[int]:
    return [number(part) for part in text.split(",")]


def _pause(text: str) -> float:
    try:
        pause = float(text)
    except ValueError:
        pause = -1.0
    if not 0 <= pause < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 10⁹")
    return pause


def chosen_costs(given: list[str]) -> Costs:
    """Return the costs, with those that are given; raise ValueError if wrong."""
    names = {each.name for each in fields(Costs)}
    found = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in names:
            raise ValueError(f"no cost {name!r}: there are {', '.join(sorted(names))}")
        try:
            found[name] = float(value)
        except ValueError:
            raise ValueError(f"--cost {text}: not a number of ns") from None
        if not 0 <= found[name] < 1e12:
            raise ValueError(f"--cost {text}: must be from 0 to 10¹² ns")
    return replace(DEFAULT, **found)


def lifecycles(makers: int, alive: int) -> int:
    """Return how many there are of each thread, or pair, unless it is said."""
    return min(MOST * max(alive, CROWD), max(LEAST * alive, IN_ALL // makers))


def run(options: argparse.Namespace) -> None:
    """Do what the options ask for; raise ValueError for what cannot be."""
    costs = chosen_costs(options.cost)
    if options.plot and options.plot.suffix.lower() not in (".svg", ".png"):
        raise ValueError(f"--plot {options.plot}: the name must end in .svg or .png")
    alive = options.alive or ALIVE[options.pattern]
    if options.pattern == "handoff" and (
        odd := [threads for threads in options.threads if threads % 2]
    ):
        raise ValueError(f"handoff is between two threads each: not {odd[0]:,} threads")
    if options.plot:
        import matplotlib  # noqa: F401  Or that it is missing is found too late.
    rows, each = [], []
    for threads in options.threads:
        makers = threads // 2 if options.pattern == "handoff" else threads
        n = options.lifecycles or lifecycles(makers, alive)
        each.append(f"{n:,}")
        load = Load(threads, n, alive, options.pause * 1000, options.seed)
        for policy in options.policy or POLICIES:
            # Without a pool there are no batches: once is enough.
            without = POLICIES[policy] is NonePolicy
            for batch in options.batch[:1] if without else options.batch:
                pool = POLICIES[policy](batch=batch)
                outcome = simulate(pool, costs, options.pattern, load)
                shown = None if without else batch
                rows.append(report.Row(threads, policy, shown, outcome))
    whose = "pair" if options.pattern == "handoff" else "thread"
    title = (
        f"{options.pattern}: {alive:,} alive in each {whose},"
        f" {' or '.join(dict.fromkeys(each))} lifecycles of each"
    )
    report.show(title, rows, costs, Console())
    if options.json:
        figures = {
            "pattern": options.pattern,
            "alive": alive,
            "costs": asdict(costs),
            "rows": [asdict(row) for row in rows],
        }
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    if options.plot:
        from copool.commands.simulate.plot import write_plot

        write_plot(f"copool simulate: {title}", rows, options.plot)


def main(argv: list[str]) -> int:
    """Run simulations; return the exit status."""
    options = parser().parse_args(argv)
    try:
        run(options)
    except ImportError as error:
        print(
            f"copool simulate: --plot needs {error.name}, which is not installed:"
            " pip install 'copool[bench]'",
            file=sys.stderr,
        )
        return EXIT_ERROR
    except (ValueError, OSError) as error:
        print(f"copool simulate: {error}", file=sys.stderr)
        return EXIT_ERROR
    return 0
