"""greenback's own suite, out of its wheel."""

from harness import Outcomes, Run, pytest_record


def run(run: Run) -> Outcomes:
    tests = ("--pyargs", "greenback._tests")
    return pytest_record(run, "greenback", *tests, timeout=120)
