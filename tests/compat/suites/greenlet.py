"""greenlet's own suite, out of its wheel; its folder stays importable."""

from harness import ENVIRONMENT, PROGRAMS, Outcomes, Run, record_of

TIMEOUT = 300


def run(run: Run) -> Outcomes:
    (folder,) = ENVIRONMENT.glob("lib/python*/site-packages/greenlet/tests")
    modules = sorted(f"greenlet.tests.{path.stem}" for path in folder.glob("test_*.py"))
    outcomes: Outcomes = {}
    # A process for each file: a crash costs one file.
    for module in modules:
        tests = [test for test in run.only if test.startswith(f"{module}.")]
        if tests or not run.only:
            outcomes |= record_of(
                run,
                module,
                PROGRAMS / "unittest_record.py",
                *(tests or [module]),
                timeout=TIMEOUT,
            )
    return outcomes
