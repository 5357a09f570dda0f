"""Runs CPython's own tests inside of coroutines: `make stdlib`.

Each module of modules.toml runs whole in the main flow, in a Coroutine, in a greenlet
and below a task in anywhere mode, each time in a process of its own. Test by test the
same has to come of it, but for what exceptions.toml lists.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

from verdict import (
    DIFFERS,
    FLAKY,
    HERE,
    LISTED,
    NOT_RUN,
    PASSED,
    SAME,
    STALE,
    UNEXPECTED,
    Excuse,
    Outcome,
    Outcomes,
    Verdict,
    compare,
    end_of,
    exceptions,
    never_met,
    read_record,
)

sys.path.append(str(HERE.parent / "compat"))
from harness import ENVIRONMENT, started, tail

HOSTS = ("coroutine", "greenlet", "task")
PYTHON = "{}.{}".format(*sys.version_info)
TIMEOUT = 300
# How often the main flow may show that it doesn't always do the same.
LOOKS = 3
WIDTHS = (28, 6, 8, 24, 24, 24, 6)


@dataclass(frozen=True)
class Module:
    """What modules.toml says of a module."""

    name: str
    quick: bool
    cut: list[str]  # tests that aren't run


@dataclass
class Report:
    """What came of a module: in the main flow, and the verdicts of each host."""

    module: str
    main: Outcomes
    verdicts: dict[str, dict[str, Verdict]]
    seconds: float

    def row(self) -> list[str]:
        counts = [
            Counter(verdict.kind for verdict in self.verdicts.get(host, {}).values())
            for host in HOSTS
        ]
        others = (LISTED, FLAKY, DIFFERS, STALE)
        cells = [
            ", ".join([str(of[SAME]), *(f"{of[o]} {o}" for o in others if of[o])])
            for of in counts
        ]
        tests = [o for test, o in self.main.items() if test != end_of(self.module)]
        passed = sum(outcome.status == PASSED for outcome in tests)
        sums = [str(len(tests)), str(passed)]
        return [self.module, *sums, *cells, f"{self.seconds:.0f} s"]


def modules() -> list[Module]:
    """Those that this version has."""
    listed = tomllib.loads((HERE / "modules.toml").read_text())
    cut = listed.get("cut", {})
    return [
        Module(
            f"test.{name}",
            quick=name in listed["quick"],
            cut=[test for test in cut if test.startswith(f"test.{name}.")],
        )
        for name in sorted(listed["quick"] + listed["slower"])
        if PYTHON in listed["only"].get(name, [PYTHON])
    ]


def run_in(host: str, module: Module) -> Outcomes:
    """Run the module once, and read what it has recorded."""
    folder = ENVIRONMENT / "stdlib" / host
    folder.mkdir(parents=True, exist_ok=True)
    record, log = folder / f"{module.name}.jsonl", folder / f"{module.name}.log"
    record.unlink(missing_ok=True)
    # What regrtest gives a module that it runs.
    python = [sys.executable, "-u", "-W", "default", "-bb", "-E"]
    program = [str(HERE / "inside.py"), host, module.name, *module.cut]
    environ = {k: v for k, v in os.environ.items() if k != "COPOOL_GREENLET"}
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cwd,
        started(
            python + program,
            log=log,
            cwd=cwd,
            env=environ | {"STDLIB_RECORD": str(record)},
        ) as process,
    ):
        status = wait_for(process)
    return read_record(record, module.name, host, status, tail(log, 25))


def wait_for(process: subprocess.Popen[bytes]) -> int | None:
    """Its status, or None if it takes too long; then its log says where it is."""
    try:
        return process.wait(TIMEOUT)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        time.sleep(1)
        return None


def examine(module: Module, listed: list[Excuse]) -> Report:
    begin = time.monotonic()
    if not find_spec(module.name):
        reason = "modules.toml lists it for this version"
        main = [{module.name: Outcome(NOT_RUN), end_of(module.name): Outcome(NOT_RUN)}]
        verdicts = {"-": {module.name: Verdict(DIFFERS, f"no such module: {reason}")}}
        return Report(module.name, main[0], verdicts, 0)
    main = [run_in("main", module)]
    ours = {host: run_in(host, module) for host in HOSTS}
    verdicts = judge_all(module, main, ours, listed)
    while len(main) < LOOKS and any(differs(of) for of in verdicts.values()):
        main.append(run_in("main", module))
        verdicts = judge_all(module, main, ours, listed)
    return Report(module.name, main[0], verdicts, time.monotonic() - begin)


def differs(verdicts: dict[str, Verdict]) -> bool:
    return any(verdict.kind == DIFFERS for verdict in verdicts.values())


def judge_all(
    module: Module,
    main: list[Outcomes],
    ours: dict[str, Outcomes],
    listed: list[Excuse],
) -> dict[str, dict[str, Verdict]]:
    verdicts = {host: compare(host, main, ours[host], listed) for host in HOSTS}
    of_main = never_met(module.name, main[0], listed)
    ended = main[0][end_of(module.name)]
    if ended.status != PASSED:
        of_main[end_of(module.name)] = Verdict(DIFFERS, f"doesn't: {ended.detail}")
    if len(main[0]) < 2:
        of_main[module.name] = Verdict(DIFFERS, "has no tests")
    return verdicts | ({"main": of_main} if of_main else {})


def show(cells: list[str]) -> None:
    first, *others = zip(cells, WIDTHS, strict=False)
    row = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    print(*row, flush=True)


def explain(reports: list[Report]) -> int:
    """Print each difference, and the sums; returns how many are unexpected."""
    total: Counter[str] = Counter()
    print()
    for report in reports:
        for host, verdicts in report.verdicts.items():
            explain_host(host, verdicts)
            total.update(verdict.kind for verdict in verdicts.values())
    tests = sum(len(report.main) - 1 for report in reports)
    counts = (f"{total[kind]} {kind}" for kind in (SAME, LISTED, FLAKY, DIFFERS, STALE))
    print(
        f"\nPython {sys.version.split()[0]}: {len(reports)} modules, {tests} tests, "
        f"in {len(HOSTS)} hosts each: {', '.join(counts)}"
    )
    return sum(total[kind] for kind in UNEXPECTED)


def explain_host(host: str, verdicts: dict[str, Verdict]) -> None:
    left_out = 0
    for test, verdict in verdicts.items():
        lines = verdict.detail.strip().splitlines()
        # After a crash there are many of these.
        if lines and lines[0].endswith(f"here {NOT_RUN}"):
            left_out += 1
        elif verdict.kind != SAME:
            shown = lines if verdict.kind in UNEXPECTED else lines[:1]
            print(f"{verdict.kind}: {host}: {test}", *shown, sep="\n    ")
    if left_out:
        print(f"{DIFFERS}: {host}: {left_out} tests of the main flow are not run here")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make stdlib", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="as in: test_ast")
    parser.add_argument("--quick", action="store_true", help="only the quick ones")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    options = parser.parse_args()
    # What a shell runs in the background is born with this ignored, and hands that on.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not find_spec("test") or not find_spec("test.test_list"):
        print("copool: this Python comes without its own tests: test.test_list")
        return 0

    known = {module.name: module for module in modules()}
    wanted = [f"test.{name.removeprefix('test.')}" for name in options.modules]
    if unknown := set(wanted) - set(known):
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    chosen = [known[name] for name in wanted or known]
    if options.quick:
        chosen = [module for module in chosen if module.quick]
    show(["module", "tests", "passed", *HOSTS, ""])
    reports = []
    with ThreadPoolExecutor(options.jobs) as threads:
        for report in threads.map(partial(examine, listed=exceptions(PYTHON)), chosen):
            reports.append(report)
            show(report.row())
    return 1 if explain(reports) else 0


if __name__ == "__main__":
    sys.exit(main())
