#!/usr/bin/env python3
"""Have spin go through every state of the models of the lock-free policies.

Each run must come to its verdict: that all holds, or that the one assertion
fails which the change in the model breaks. A run that was cut short proves
nothing and counts as failed; so does a statement that no run of its model has
reached.
"""

import argparse
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEPTH = 30_000_000
MEGABYTES = 6000

# 3 is the number that spin gives to IDLE.
HANDED_OUT_TWICE = "place[{}]==3"


@dataclass(frozen=True)
class Run:
    """A model with some constants, and the assertion that must fail, if any."""

    model: str
    what: str
    constants: dict[str, int] = field(default_factory=dict)
    fails: str = ""
    shortest: bool = False
    """Whether to look for the shortest way to the failure."""

    @property
    def name(self) -> str:
        """A name for its folder."""
        parts = [f"{key}={value}".lower() for key, value in self.constants.items()]
        return "-".join([self.model, *parts])


RUNS = [
    Run("release", "3 threads, 3 blocks, batches of 1"),
    Run("magazine", "3 threads, 3 blocks, batches of 1", {"BLOCKS": 3}),
    Run("magazine", "2 threads, 4 blocks, batches of 1", {"THREADS": 2}),
    Run("magazine", "the same, 1 in the store", {"THREADS": 2, "MAX_IDLE": 1}),
    Run(
        "magazine",
        "2 threads, one keeps 2 batches of 2",
        {"THREADS": 2, "BATCH": 2, "MAX_IDLE": 3, "KEEPERS": 1},
    ),
    Run(
        "release",
        "pop one instead of take all",
        {"POP_ONE": 1, "THREADS": 2},
        fails=HANDED_OUT_TWICE.format("alloc_pool"),
        shortest=True,
    ),
    Run(
        "magazine",
        "the store without its lock",
        {"NO_LOCK": 1, "BLOCKS": 3},
        fails=HANDED_OUT_TWICE.format("loaded.head"),
        shortest=True,
    ),
    Run(
        "release",
        "the size is at most 2 too low",
        {"TOO_LOW": 2},
        fails="pushed<=(release_pool_size+2)",
    ),
    Run(
        "release",
        "the size is at most 3",
        {"MOST_SIZE": 3},
        fails="release_pool_size<=3",
    ),
]
LONG = [
    Run(
        "magazine",
        "2 threads, 5 blocks, batches of 2",
        {"THREADS": 2, "BLOCKS": 5, "BATCH": 2},
    ),
    Run(
        "release",
        "2 threads, 5 blocks, batches of 2",
        {"THREADS": 2, "BLOCKS": 5, "BATCH": 2},
    ),
]


@dataclass(frozen=True)
class Verdict:
    """What spin said."""

    errors: int
    assertion: str
    is_whole: bool
    states: int
    depth: int
    seconds: float
    unreached: frozenset[str]


def explore(run: Run, build: Path) -> Verdict:
    """Build the verifier of a run, and run it."""
    folder = build / run.name
    folder.mkdir(parents=True, exist_ok=True)
    constants = [f"-D{key}={value}" for key, value in run.constants.items()]
    model = HERE / f"{run.model}.pml"
    spin = subprocess.run(
        ["spin", "-a", *constants, model], cwd=folder, capture_output=True, text=True
    )
    if spin.returncode:
        sys.exit(f"spin cannot read {model}:\n{spin.stdout}{spin.stderr}")
    options = ["-DSAFETY", "-DCOLLAPSE", f"-DMEMLIM={MEGABYTES}"]
    options += ["-DBFS"] if run.shortest else []
    subprocess.run(
        ["cc", "-O2", "-w", *options, "-o", "pan", "pan.c"], cwd=folder, check=True
    )
    pan = subprocess.run(
        ["./pan", f"-m{DEPTH}", "-w25"], cwd=folder, capture_output=True, text=True
    )
    (folder / "verdict").write_text(pan.stdout + pan.stderr)
    return read_verdict(pan.stdout + pan.stderr)


def read_verdict(text: str) -> Verdict:
    """Read what the verifier has printed."""

    def number(pattern: str) -> float:
        found = re.search(pattern, text)
        if not found:
            sys.exit(f"the verifier did not come to an end:\n{text}")
        return float(found[1])

    failed = re.search(r"^pan:1: (?:assertion violated \((.*)\)|(.*)) \(at depth", text,
                       re.MULTILINE)  # fmt: skip
    cut = r"not completed|too small|out of memory|reached -D?MEMLIM|hash factor"
    return Verdict(
        errors=int(number(r"errors: (\d+)")),
        assertion=failed[1] or failed[2] if failed else "",
        is_whole="Full statespace search" in text and not re.search(cut, text),
        states=int(number(r"(\S+) states, stored")),
        depth=int(number(r"depth reached (\d+)")),
        seconds=number(r"elapsed time (\S+) seconds"),
        unreached=frozenset(
            re.findall(r"^\t\S+/(\S+:\d+, state \d+)", text, re.MULTILINE)
        ),
    )


def complaint(run: Run, verdict: Verdict) -> str:
    """Say what is wrong with a verdict; nothing if it is as it must be."""
    if run.fails:
        if verdict.errors == 1 and verdict.assertion == run.fails:
            return ""
        return f"must fail for {run.fails!r}, but: {verdict.assertion or 'all holds'}"
    if verdict.errors:
        return verdict.assertion
    return "" if verdict.is_whole else "cut short: depth or memory did not do"


def main() -> int:
    """Carry out all runs; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=Path, help="folder for what is made")
    parser.add_argument("--long", action="store_true", help="larger models, too")
    options = parser.parse_args()
    if not shutil.which("spin"):
        print("spin is missing: sudo apt install spin", file=sys.stderr)
        return 1
    failed = False
    unreached: dict[str, frozenset[str]] = {}
    for run in RUNS + (LONG if options.long else []):
        verdict = explore(run, options.build)
        wrong = complaint(run, verdict)
        failed |= bool(wrong)
        outcome = wrong or (
            f"fails as it must, {verdict.assertion}" if run.fails else "holds"
        )
        print(
            f"{'FAIL' if wrong else 'ok':<5}{run.model:<9} {run.what:<34}"
            f" {verdict.states:>11,} states, depth {verdict.depth:>9,},"
            f" {verdict.seconds:5.1f} s: {outcome}",
            flush=True,
        )
        # Where a thread keeps nothing there are other statements.
        if not run.fails and "KEEPERS" not in run.constants:
            before = unreached.get(run.model, verdict.unreached)
            unreached[run.model] = before & verdict.unreached
    for model, places in unreached.items():
        for place in sorted(places):
            print(f"FAIL {model}: no run has reached {place}")
            failed = True
    return failed


if __name__ == "__main__":
    sys.exit(main())
