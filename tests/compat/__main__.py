"""Runs other projects' test suites and servers on copool: `make compat`.

Each suite runs with the real greenlet and with copool in its place, and the outcomes
are compared test by test; that of asyncio with loops as they are and in anywhere mode.
When it has to be quick, the real one is only asked about what has failed on copool.
Needs the virtual environment that make prepares.
"""

import argparse
import dataclasses
import hashlib
import importlib
import json
import sys
import time
import traceback
from collections import Counter

from harness import (
    ENVIRONMENT,
    FAILED,
    HERE,
    PASSED,
    SKIPPED,
    Outcome,
    Outcomes,
    Run,
)
from verdict import NO_LEAK, NOT_APPLICABLE, compare, exceptions, verdict

SUITES = (
    "abi",
    "asyncio",
    "greenlet",
    "greenback",
    "xdist",
    "sqlalchemy",
    "sqlalchemy_anywhere",
    "neighbours",
    "playwright",
    "gevent",
    "eventlet",
    "gunicorn",
    "celery",
    "locust",
)
# The first version of Python that a suite's project does not support yet.
TOO_NEW = {"eventlet": (3, 15)}
# What a suite runs on: the real one, and copool.
PROVIDERS = {"asyncio": ("plain", "anywhere")}
# How often the real greenlet may show that it fails a test too, of at most so many.
LOOKS, MOST_LOOKED_AT = 5, 20
COLUMNS = (PASSED, FAILED, SKIPPED, NOT_APPLICABLE)


def run_suite(suite: str, run: Run) -> Outcomes:
    begin = time.monotonic()
    run.directory.mkdir(parents=True, exist_ok=True)
    try:
        outcomes = importlib.import_module(f"suites.{suite}").run(run)
    except Exception:
        outcomes = {f"{suite} runs": Outcome(FAILED, traceback.format_exc())}
    if not outcomes:
        outcomes = {f"{suite} has tests": Outcome(FAILED)}
    took = time.monotonic() - begin
    print(f"copool: {suite} on {run.provider}: {took:.0f} s", flush=True)
    return outcomes


def baseline(suite: str, run: Run, *, fresh: bool) -> Outcomes:
    """The outcomes on the real one: kept until anything in this folder changes."""
    digest = hashlib.sha256()
    for path in sorted(HERE.rglob("*.*")):
        if path.suffix in {".py", ".txt"}:
            digest.update(path.read_bytes())
    kept = run.directory / f"{'quick' if run.quick else 'all'}.json"
    if not fresh and kept.exists():
        content = json.loads(kept.read_text())
        if content["digest"] == digest.hexdigest():
            return {k: Outcome(*v) for k, v in content["outcomes"].items()}
    outcomes = run_suite(suite, run)
    lists = {test: dataclasses.astuple(outcome) for test, outcome in outcomes.items()}
    kept.write_text(json.dumps({"digest": digest.hexdigest(), "outcomes": lists}))
    return outcomes


def on_copool(suite: str, run: Run, real: Outcomes) -> Outcomes:
    not_applicable, leaking = exceptions(suite)
    ours = run_suite(suite, run)
    leak_missed = frozenset(
        test for test in leaking & ours.keys() if NO_LEAK in ours[test].detail
    )
    if leak_missed:
        environ = {"GREENLET_SKIP_LEAKCHECKS": "1"}
        again = dataclasses.replace(run, only=leak_missed, environ=environ)
        ours |= run_suite(suite, again)
    return compare(real, ours, not_applicable)


def look_again(suite: str, real_run: Run, verdicts: Outcomes) -> Outcomes:
    """Give the real one the chance to fail what passed with it, and failed here.

    Some tests pass by luck with it too: gevent's of its timer's resolution
    passes on a machine that is slow enough. That ours may pass later excuses nothing.
    """
    verdicts = dict(verdicts)
    for _ in range(LOOKS):
        failed = frozenset(t for t, o in verdicts.items() if o.status == FAILED)
        if not failed or len(failed) > MOST_LOOKED_AT:
            break
        again = run_suite(suite, dataclasses.replace(real_run, only=failed))
        verdicts |= {
            test: verdict(again[test], verdicts[test])
            for test in failed & again.keys()
            if again[test].status == FAILED
        }
    return verdicts


def report(tables: dict[str, tuple[Outcomes, Outcomes]]) -> int:
    """Print the outcomes and the table; returns how many failed."""
    total: Counter[str] = Counter()
    has_real = any(real for _, real in tables.values())
    rows = [("suite", *COLUMNS, *["with the real one"] * has_real)]
    for suite, (outcomes, real) in tables.items():
        for test, outcome in outcomes.items():
            # What is skipped with both is no news.
            if outcome.status != PASSED and outcome != real.get(test):
                lines = outcome.detail.strip().splitlines()
                shown = lines if outcome.status == FAILED else lines[:1]
                print(f"{outcome.status}: {suite}: {test}", *shown, sep="\n    ")
        counts = Counter(outcome.status for outcome in outcomes.values())
        cells = [suite, *(str(counts[column]) for column in COLUMNS)]
        if has_real:
            cells.append(str(sum(o.status == PASSED for o in real.values())))
        rows.append(cells)
        total += counts
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for row in rows:
        first, *others = zip(row, widths, strict=True)
        print(first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others))
    skipped = total[SKIPPED] + total[NOT_APPLICABLE]
    print(f"\n{total[PASSED]} passed, {total[FAILED]} failed, {skipped} skipped")
    return total[FAILED]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make compat", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument("--quick", action="store_true", help="less of the long ones")
    parser.add_argument(
        "--real", action="store_true", help="only with the real one, anew"
    )
    options = parser.parse_args()
    if unknown := set(options.suites) - set(SUITES):
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")

    tables = {}
    for suite in options.suites or SUITES:
        if suite in TOO_NEW and sys.version_info >= TOO_NEW[suite]:
            print(f"copool: {suite} does not support this version of Python")
            continue
        real_run, run = (
            Run(provider, ENVIRONMENT / "out" / provider / suite, options.quick)
            for provider in PROVIDERS.get(suite, ("greenlet", "copool"))
        )
        is_asked = options.real or not options.quick
        real = baseline(suite, real_run, fresh=options.real) if is_asked else {}
        if options.real:
            tables[suite] = real, {}
        else:
            verdicts = on_copool(suite, run, real)
            tables[suite] = look_again(suite, real_run, verdicts), real
    return 1 if report(tables) else 0


if __name__ == "__main__":
    sys.exit(main())
