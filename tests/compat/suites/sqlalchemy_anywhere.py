"""The same tests of SQLAlchemy, on copool in anywhere mode: no greenlet is made."""

from harness import Outcomes, Run

from .sqlalchemy import suite


def run(run: Run) -> Outcomes:
    plugins = ("-p", "pytest_anywhere") if run.provider == "copool" else ()
    return suite(run, *plugins)
