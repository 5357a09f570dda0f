"""What a test's outcome inside of a coroutine is worth beside that in the main flow."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

HERE = Path(__file__).parent

PASSED = "passed"
# What inside.py can't say of a test, since it ended before. Never excused.
CRASHED, TIMED_OUT, NOT_RUN = "crashed", "timed out", "not run"
UNFINISHED = {CRASHED, TIMED_OUT, NOT_RUN}

# What a comparison says of a test.
SAME, LISTED, FLAKY, DIFFERS, STALE = "same", "listed", "flaky", "differs", "stale"
UNEXPECTED = {DIFFERS, STALE}


@dataclass(frozen=True)
class Outcome:
    status: str
    detail: str = ""


Outcomes = dict[str, Outcome]


@dataclass(frozen=True)
class Verdict:
    kind: str
    detail: str = ""


@dataclass(frozen=True)
class Excuse:
    """Tests that may differ, as exceptions.toml lists them; with patterns."""

    test: str
    reason: str
    hosts: Sequence[str] = ("coroutine", "greenlet", "task")
    python: Sequence[str] = ()  # versions such as "3.12", or none for all
    flaky: bool = False  # differs now and then

    def lists(self, test: str, host: str) -> bool:
        return host in self.hosts and fnmatchcase(test, self.test)


def exceptions(python: str, path: Path = HERE / "exceptions.toml") -> list[Excuse]:
    """Those that are listed for a version."""
    listed = tomllib.loads(path.read_text()).get("differs", [])
    found = [Excuse(**entry) for entry in listed]
    return [entry for entry in found if not entry.python or python in entry.python]


def end_of(module: str) -> str:
    """The name of one more test: that the process came to its end, in its host."""
    return f"{module} comes to its end"


def read_record(
    path: Path, module: str, host: str, status: int | None, last_words: str = ""
) -> Outcomes:
    """What inside.py has written before it ended with this status, None for a timeout.

    A test that began and did not end takes the blame for what ended the process.
    """
    died = Outcome(
        TIMED_OUT if status is None else CRASHED,
        f"the process ended with status {status}:\n{last_words}",
    )
    outcomes: Outcomes = {}
    was_there = False
    for line in path.read_text().splitlines() if path.exists() else ():
        entry = json.loads(line)
        if "host" in entry:
            was_there = entry["host"] == host
        elif entry["status"] is None:
            outcomes[entry["test"]] = died
        else:
            outcomes[entry["test"]] = Outcome(entry["status"], entry["detail"])
    ended = status == 0 and was_there
    outcomes[end_of(module)] = Outcome(PASSED) if ended else died
    return outcomes


def compare(
    host: str,
    main: Sequence[Outcomes],
    ours: Outcomes,
    listed: Sequence[Excuse],
) -> dict[str, Verdict]:
    """The rule: what came of a test in the main flow comes of it in the host.

    Of several runs of the main flow the first is the one to compare with; where they
    differ, the test is flaky.
    """
    verdicts = {}
    for test in {**main[0], **ours}:
        runs = [run.get(test, Outcome(NOT_RUN)) for run in main]
        here = ours.get(test, Outcome(NOT_RUN))
        excuses = [entry for entry in listed if entry.lists(test, host)]
        verdicts[test] = judge(runs, here, excuses)
    return verdicts


def judge(main: Sequence[Outcome], here: Outcome, excuses: Sequence[Excuse]) -> Verdict:
    there = main[0].status
    if there == here.status:
        if all(entry.flaky for entry in excuses):
            return Verdict(SAME)
        return Verdict(STALE, f"listed, but {there} as in the main flow")
    change = f"{there} in the main flow, here {here.status}"
    if excuses and here.status not in UNFINISHED:
        return Verdict(LISTED, f"{change}: {excuses[0].reason}")
    others = {run.status for run in main}
    if len(others) > 1 and here.status not in UNFINISHED:
        return Verdict(FLAKY, f"in the main flow {' or '.join(sorted(others))}")
    return Verdict(DIFFERS, f"{change}: {here.detail}".strip(": "))


def never_met(
    module: str, tests: Mapping[str, object], listed: Sequence[Excuse]
) -> dict[str, Verdict]:
    """What is listed for a module that has no such test."""
    return {
        entry.test: Verdict(STALE, "listed, but there is no such test")
        for entry in listed
        if entry.test.startswith(f"{module}.")
        and not any(fnmatchcase(test, entry.test) for test in tests)
    }
