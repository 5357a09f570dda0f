"""What came of a library's checks in a host, and whether that was to be expected.

A check is right when its answer is the one of the main flow. What else may come of it
is listed in expected.toml with the reason; anything that is not as listed, be it worse
or better, fails the run.
"""

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CHECKS = ("small", "heavy", "callback", "exception", "neighbours")

OK, WRONG, RAISED = "ok", "wrong", "raised"
CRASHED, TIMED_OUT, SKIPPED = "crashed", "timed out", "skipped"
# What may be listed as expected: nothing that ends or hangs the process.
LISTABLE = (WRONG, RAISED)

WORKS = "works"
NEEDS_THREAD_STACK = "needs `on_thread_stack`"
MUST_NOT_SWITCH = "must not switch in its callbacks"
FAILS = "fails"


@dataclass(frozen=True)
class Outcome:
    status: str
    detail: str = ""


@dataclass(frozen=True)
class Result:
    """What one process has told: of one library in one host."""

    outcomes: Mapping[str, Outcome]
    name: str = ""
    version: str = ""
    thread_stack: bool = False  # the checks call it on the thread's stack
    skipped: str = ""  # the reason, if it was


@dataclass(frozen=True)
class Deviation:
    """What is listed for one check of a library."""

    outcome: str
    reason: str
    hosts: tuple[str, ...] = ()  # all, if empty


@dataclass(frozen=True)
class Listed:
    """What expected.toml has for a library."""

    deviations: Mapping[str, Deviation] = field(default_factory=dict)
    note: str = ""  # for the page


def read_result(record: str, status: int | None, last_words: str = "") -> Result:
    """What a process has written that ended with this status, None if it was late.

    A check that began and did not end has crashed or hangs; so do those that the
    process announced and never came to.
    """
    outcomes: dict[str, Outcome] = {}
    about, ended = {"name": "", "version": "", "thread_stack": False}, False
    checks = list(CHECKS[:1])
    for line in record.splitlines():
        entry = json.loads(line)
        if "version" in entry:
            checks = entry.pop("checks")
            about = entry
        elif "check" in entry:
            if entry["outcome"]:
                outcomes[entry["check"]] = Outcome(entry["outcome"], entry["detail"])
        elif "skipped" in entry:
            return Result({}, skipped=entry["skipped"])
        else:
            ended = True
    how = TIMED_OUT if status is None else CRASHED
    died = Outcome(how, f"ended with status {status}\n{last_words}".strip())
    lost = [check for check in checks if check not in outcomes]
    outcomes |= dict.fromkeys(lost, died)
    if not lost and (status != 0 or not ended):
        outcomes["end"] = died
    return Result(outcomes, **about)


def read_listed(path: Path) -> dict[str, Listed]:
    listed = {}
    for library, table in tomllib.loads(path.read_text()).items():
        note = " ".join(table.pop("note", "").split())
        deviations = {}
        for check, entry in table.items():
            hosts = tuple(entry.get("hosts", ()))
            reason = " ".join(entry["reason"].split())
            deviations[check] = Deviation(entry["outcome"], reason, hosts)
            if check not in CHECKS or entry["outcome"] not in LISTABLE:
                raise ValueError(f"{library}: {check} may not be listed as that")
        listed[library] = Listed(deviations, note)
    return listed


def expected(check: str, host: str, listed: Listed) -> str:
    deviation = listed.deviations.get(check)
    if deviation is None or (deviation.hosts and host not in deviation.hosts):
        return OK
    return deviation.outcome


def surprises(results: Mapping[str, Result], listed: Listed) -> list[str]:
    """What is not as expected, of the results of a library by host; [] if nothing."""
    found = []
    for host, result in results.items():
        if result.skipped:
            continue
        for check, outcome in result.outcomes.items():
            wanted = expected(check, host, listed)
            if outcome.status != wanted:
                found.append(
                    f"{check} in a {host}: {outcome.status}, expected: {wanted}"
                    + f"\n{outcome.detail}".rstrip()
                )
        for check in listed.deviations.keys() - result.outcomes.keys():
            found.append(f"{check} in a {host} is listed, but there is no such check")
    return found


def verdict(results: Iterable[Result], listed: Listed) -> tuple[str, str]:
    """One of the verdicts for all hosts together, and what more there is to say."""
    results = list(results)
    callbacks, others = set(), set()
    for result in results:
        for check, outcome in result.outcomes.items():
            (callbacks if check == "callback" else others).add(outcome.status)
    refused = listed.deviations.get("callback")
    if others != {OK} or not (callbacks <= {OK} or refused):
        bad = sorted((others | callbacks) - {OK})
        return FAILS, ", ".join(bad) or "no check has run"
    reasons = [listed.note, refused.reason if refused else ""]
    said = "; ".join(reason for reason in reasons if reason)
    if any(result.thread_stack for result in results):
        return NEEDS_THREAD_STACK, said
    return (MUST_NOT_SWITCH if refused else WORKS), said
