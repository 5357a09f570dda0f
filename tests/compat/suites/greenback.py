"""greenback's own suite, out of its wheel."""

from harness import Outcomes, Run, pytest_record


def run(run: Run) -> Outcomes:
    return pytest_record(
        run, "greenback", "greenback._tests", options=("--pyargs",), timeout=120
    )
