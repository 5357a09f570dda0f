"""greenback's suite in the workers of pytest-xdist, which starts them by itself."""

from harness import Outcomes, Run, pytest_record


def run(run: Run) -> Outcomes:
    options = ("--numprocesses", "2", "--pyargs")
    return pytest_record(run, "xdist", "greenback._tests", options=options, timeout=120)
