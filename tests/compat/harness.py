"""What the suites share: what a program runs on, and what came of it."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
# Python's own prefix is the virtual environment that make has prepared.
ENVIRONMENT = Path(sys.prefix)

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True)
class Outcome:
    """What came of one test, or of `count` that are reported as one."""

    status: str
    detail: str = ""  # why it didn't pass
    count: int = 1


Outcomes = dict[str, Outcome]


@dataclass(frozen=True)
class Run:
    """One run of a suite: on what, where its files go, how much of it."""

    # "greenlet", the real one, or "copool"; of asyncio's loops "plain" or "anywhere"
    provider: str
    directory: Path
    quick: bool = False
    only: frozenset[str] = frozenset()  # no others, where this isn't empty
    environ: Mapping[str, str] = field(default_factory=dict)

    def command(self, *arguments: str | Path) -> list[str]:
        """Python with these arguments; copool is the greenlet if that is asked for."""
        run = ["-m", "copool", "run"] if self.provider == "copool" else []
        return [sys.executable, *run, *map(str, arguments)]

    def environment(self, **more: str) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        return inherited | dict(self.environ) | more


def source_distribution(project: str) -> Path:
    """The unpacked one of the version of a project that is installed."""
    name = f"{project}-{version(project)}"
    if not (ENVIRONMENT / name).exists():
        pip = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps"]
        only_source = ["--no-binary", project, "--dest", ENVIRONMENT]
        subprocess.run([*pip, *only_source, name.replace("-", "==")], check=True)
        with tarfile.open(ENVIRONMENT / f"{name}.tar.gz") as archive:
            archive.extractall(ENVIRONMENT, filter="data")
    return ENVIRONMENT / name


@contextmanager
def started(
    command: list[str], *, log: Path, **options: object
) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose output goes to `log`; ends with all that it started."""
    with (
        open(log, "wb") as output,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,  # type: ignore[call-overload]
        ) as process,
    ):
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def finish(command: list[str], *, log: Path, timeout: float, **options: object) -> int:
    """Run a command to its end; returns its status, below zero for a signal."""
    with started(command, log=log, **options) as process:
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL


def tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def read_record(path: Path, run: Run, status: int, last_words: str = "") -> Outcomes:
    """What a program has written with `record` that ended with this status.

    A test that began and did not end has failed. That the program came to its end, on
    what it was meant to run on, is one more test, listed when it fails.
    """
    outcomes: Outcomes = {}
    died = f"ended with status {status}:\n{last_words}"
    provider = None
    for line in path.read_text().splitlines() if path.exists() else ():
        entry = json.loads(line)
        if "provider" in entry:
            provider = entry["provider"]
        else:
            test = entry.pop("test")
            outcomes[test] = (
                Outcome(**entry) if entry["status"] else Outcome(FAILED, died)
            )
    # 1 is how pytest tells that tests have failed.
    if provider != run.provider or status not in (0, 1):
        test = f"{path.stem} runs to its end on what was asked for"
        outcomes[test] = Outcome(FAILED, f"ran on {provider}, {died}")
    return outcomes


def record_of(
    run: Run,
    name: str,
    *arguments: str | Path,
    timeout: float,
    cwd: Path | None = None,
    **environ: str,
) -> Outcomes:
    """Run a program that writes a record, and read it."""
    record, log = run.directory / f"{name}.jsonl", run.directory / f"{name}.log"
    record.unlink(missing_ok=True)
    status = finish(
        run.command(*arguments),
        log=log,
        timeout=timeout,
        cwd=cwd or run.directory,
        env=run.environment(COMPAT_RECORD=str(record), **environ),
    )
    return read_record(record, run, status, tail(log))


def pytest_record(
    run: Run,
    name: str,
    *tests: str,
    options: tuple[str, ...] = (),
    timeout: float,
    cwd: Path | None = None,
) -> Outcomes:
    """Run these tests with pytest, or those only that are named.

    The names begin from `cwd`; without one they don't tell where a test is: all run.
    """
    return record_of(
        run,
        name,
        *("-m", "pytest", "-p", "pytest_record", "-p", "no:cacheprovider"),
        *options,
        *(run.only if run.only and cwd else tests),
        timeout=timeout,
        cwd=cwd,
        PYTHONPATH=str(PROGRAMS),
    )


@contextmanager
def verified(outcomes: Outcomes, test: str) -> Iterator[None]:
    """Makes a test of what is asserted inside."""
    try:
        yield
    except Exception:
        outcomes[test] = Outcome(FAILED, traceback.format_exc())
    else:
        outcomes[test] = Outcome(PASSED)
