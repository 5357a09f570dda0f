"""What a test's outcome on copool is worth beside the one on the real thing."""

import sys
import tomllib
from fnmatch import fnmatchcase

from harness import FAILED, HERE, PASSED, SKIPPED, Outcome, Outcomes

NOT_APPLICABLE = "not applicable"
MOST_NOT_APPLICABLE = 5
NO_LEAK = "to leak but it did not"


def exceptions(suite: str) -> tuple[dict[str, str], set[str]]:
    """The tests that don't apply, with reasons; those that want the real one's leak."""
    listed = tomllib.loads((HERE / "exceptions.toml").read_text()).get(suite, {})
    not_applicable = listed.get("not_applicable", {})
    for minor in range(12, sys.version_info.minor + 1):
        not_applicable |= listed.get(f"not_applicable_from_3_{minor}", {})
    if len(not_applicable) > MOST_NOT_APPLICABLE:
        raise ValueError(f"{len(not_applicable)} tests are listed as not applicable")
    return not_applicable, set(listed.get("leaks_with_the_real_one", ()))


def compare(real: Outcomes, ours: Outcomes, not_applicable: dict[str, str]) -> Outcomes:
    """The rule: what passes with the real one passes here."""
    verdicts = {
        test: verdict(real.get(test), ours.get(test)) for test in {**real, **ours}
    }
    for listed, reason in not_applicable.items():
        tests = [test for test in verdicts if fnmatchcase(test, listed)]
        if not tests:
            verdicts[listed] = Outcome(FAILED, "listed as not applicable: no such test")
        for test in tests:
            if verdicts[test].status == PASSED:
                verdicts[test] = Outcome(FAILED, "listed as not applicable, but passes")
            else:
                verdicts[test] = Outcome(NOT_APPLICABLE, reason)
    return verdicts


def verdict(real: Outcome | None, ours: Outcome | None) -> Outcome:
    if ours is None:
        ours = Outcome(FAILED, "did not run")
    if real is None:
        return ours
    if real.status == FAILED and ours.status != PASSED:
        return Outcome(SKIPPED, f"fails with the real one too: {real.detail}")
    if real.status == SKIPPED and ours.detail == "did not run":
        return real
    if real.status == PASSED and ours.status == SKIPPED:
        return Outcome(FAILED, f"passes with the real one, here skipped: {ours.detail}")
    if ours.status == PASSED and real.status == PASSED and ours.count < real.count:
        return Outcome(FAILED, f"{ours.count} tests; {real.count} with the real one")
    return ours
