"""What users put on top of SQLAlchemy's asyncio: lazy loads in its plain functions."""

from harness import PROGRAMS, Outcomes, Run, finish, tail, verified

TIMEOUT = 120
LIBRARIES = (
    "sqlmodel",
    "strawberry",
    "advanced_alchemy",
    "fastapi_pagination",
    "polyfactory",
    "sqladmin",
    "starlette_admin",
)
# Tasks wait in anywhere mode where copool is the greenlet; see programs/neighbour.py.
MODES = {"copool": ("anywhere", "bridged", "not"), "greenlet": ("bridged", "not")}


def run(run: Run) -> Outcomes:
    libraries, modes = LIBRARIES, MODES[run.provider]
    if run.quick:  # two of them, where they can wait
        libraries, modes = libraries[:2], modes[:-1]
    outcomes: Outcomes = {}
    for library in libraries:
        for mode in modes:
            test = f"{library}, {mode}"
            if not run.only or test in run.only:
                with verified(outcomes, test):
                    program(run, library, mode)
    return outcomes


def program(run: Run, library: str, mode: str) -> None:
    log = run.directory / f"{library}_{mode}.log"
    status = finish(
        run.command(PROGRAMS / "neighbour.py", library, mode),
        log=log,
        timeout=TIMEOUT,
        cwd=run.directory,
        env=run.environment(),
    )
    assert status == 0, tail(log, 60)
