"""greenback's suite in the workers of pytest-xdist, which starts them by itself."""

from harness import Outcomes, Run, pytest_record


def run(run: Run) -> Outcomes:
    tests = ("--numprocesses", "2", "--pyargs", "greenback._tests")
    return pytest_record(run, "xdist", *tests, timeout=120)
