"""SQLAlchemy's tests of asyncio and concurrency, out of its source distribution."""

import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

from harness import ENVIRONMENT, Outcomes, Run, pytest_record

TIMEOUT = 600


def sources() -> Path:
    """The unpacked source distribution of the version that is installed."""
    name = f"sqlalchemy-{version('sqlalchemy')}"
    if not (ENVIRONMENT / name).exists():
        pip = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps"]
        only_source = ["--no-binary", "sqlalchemy", "--dest", ENVIRONMENT]
        package = f"sqlalchemy=={version('sqlalchemy')}"
        subprocess.run([*pip, *only_source, package], check=True)
        with tarfile.open(ENVIRONMENT / f"{name}.tar.gz") as archive:
            archive.extractall(ENVIRONMENT, filter="data")
    return ENVIRONMENT / name


def run(run: Run) -> Outcomes:
    return pytest_record(
        run,
        "sqlalchemy",
        *("--db", "aiosqlite_file"),
        *("test/ext/asyncio", "test/base/test_concurrency.py"),
        timeout=TIMEOUT,
        cwd=sources(),
    )
