"""Extension modules that were compiled against greenlet's header."""

from harness import PROGRAMS, Outcomes, Run, record_of


def run(run: Run) -> Outcomes:
    return record_of(run, "abi", PROGRAMS / "abi.py", timeout=60)
