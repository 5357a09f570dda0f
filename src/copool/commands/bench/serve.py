"""The cases of ``copool bench --serve``: what a server feels, end to end.

Each subject has a server in processes of its own, which `served` becomes: one with
the real greenlet, another one with copool in its place. They are under load in turns.
Where there are processors enough, a server has one and its clients have the others.
Whatever happens, what was started is stopped.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from shutil import which
from time import monotonic, sleep
from time import perf_counter_ns as clock
from typing import IO, Any

from copool.commands.bench import orm, served
from copool.commands.bench.cases import Case, Plan
from copool.commands.bench.compat import RemoteWork, last_line, plan_processes
from copool.commands.bench.model import (
    RATE,
    BenchError,
    Extra,
    ImpossibleError,
    Sample,
    WrongResultError,
)
from copool.commands.bench.runner import Settings
from copool.commands.bench.worker import Way

# What is imported for each case, and the program that it needs besides, by the name
# of Debian's package.
PACKAGES: Mapping[str, Sequence[str]] = {
    "gunicorn": ("greenlet", "gevent", "gunicorn"),
    "celery": ("greenlet", "gevent", "celery", "redis"),
    "fastapi": (*sorted(orm.EXTRA.packages), "uvicorn"),
}
EXTRA = Extra("serve", frozenset(name for every in PACKAGES.values() for name in every))
DEBIAN: Mapping[str, str] = {"wrk": "wrk", "redis-server": "redis-server"}

# wrk counts in whole seconds.
FULL = Settings(rounds=21, round_ms=1000)
QUICK = Settings(rounds=3, round_ms=1000, quick=True)

NO_KEEP_ALIVE, KEEP_ALIVE = "no keep-alive", "keep-alive"
CLIENTS = 32
# In seconds: longer than anything takes that goes well, but for the end. Celery takes
# its time for that, and nobody here has anything to save.
PATIENCE, PATIENCE_AT_END = 60, 1
LAST_LINES = 8


# --- processes that end whatever happens ---------------------------------------


def processors() -> tuple[Collection[int], Collection[int]]:
    """Return which processors a server gets, and which its clients get."""
    *others, last = sorted(os.sched_getaffinity(0))
    return (last,), others or (last,)


@contextmanager
def starting_on(some: Collection[int]) -> Iterator[None]:
    """Have what is started meanwhile run on these processors."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, some)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def has_ended(process: subprocess.Popen[str]) -> bool:
    """Tell whether a process has ended, and leave its number taken."""
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process.pid, flags) is not None


def stop(process: subprocess.Popen[str]) -> None:
    """Ask a process to end, and end what is left of its session."""
    try:
        os.kill(process.pid, signal.SIGTERM)
        until = monotonic() + PATIENCE_AT_END
        while not has_ended(process) and monotonic() < until:
            sleep(0.01)
    finally:
        # Its number, and so that of the session, is its own until it is waited for.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()


@contextmanager
def started(
    arguments: Sequence[str], some: Collection[int], log: IO[str], **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """Run Python on these processors in a session, where Ctrl-C doesn't reach it."""
    with starting_on(some):
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
            **options,
        )
    try:
        yield process
    finally:
        stop(process)


def become(*what: str) -> Sequence[str]:
    """Return what Python is told to become a server, or to run a program."""
    return ("-m", served.__name__, str(os.getpid()), *what)


def program(name: str) -> str:
    """Return where a program lies, or say how to install it."""
    path = which(name)
    if path is None:
        package = DEBIAN[name]
        raise ImpossibleError(f"{name} is not installed (sudo apt install {package})")
    return path


# --- servers --------------------------------------------------------------------


class ServerWork(RemoteWork, ABC):
    """A server, started when first asked for something, and who asks it."""

    def __init__(self, case: str, subject: str, variant: str) -> None:
        super().__init__(case, subject, variant)
        self.at_end = ExitStack()

    def way(self) -> Way:
        """Return how the server gets its greenlet."""
        return orm.WAYS[self.subject]

    def told(self) -> Sequence[str]:
        """Return what is told of the server that it becomes."""
        return become(self.case, self.subject)

    def close(self) -> None:
        """End the server and what else was started."""
        self.process = None
        self.at_end.close()

    def _spawn(self) -> subprocess.Popen[str]:
        for package in PACKAGES[self.case]:
            if find_spec(package) is None:
                raise EXTRA.without(package)
        self.folder = self.at_end.enter_context(
            tempfile.TemporaryDirectory(prefix="copool-bench-")
        )
        self.log = Path(self.folder, "log")
        return self._serve()

    @abstractmethod
    def _serve(self) -> subprocess.Popen[str]:
        """Start the server."""

    def _run(
        self, arguments: Sequence[str], some: Collection[int], **options: Any
    ) -> subprocess.Popen[str]:
        # What is not cleared away when a process is killed goes with the folder.
        environment = {**os.environ, "TMPDIR": self.folder}
        with open(self.log, "a") as log:
            process = started(arguments, some, log, env=environment, **options)
            return self.at_end.enter_context(process)

    def _until(
        self, process: subprocess.Popen[str], attempt: Callable[[], object]
    ) -> Any:
        """Return what comes of the attempt, once it isn't None."""
        until = monotonic() + PATIENCE
        while (found := attempt()) is None:
            if has_ended(process):
                raise self._error("it has ended", process)
            if monotonic() > until:
                raise self._error(f"no answer in {PATIENCE} seconds", process)
            sleep(0.01)
        return found

    def _error(self, what: str, process: subprocess.Popen[str]) -> BenchError:
        last = self._last(process)
        return BenchError(f"{self.case} by {self.subject}: {what}; it said:\n{last}")

    def _last(self, process: subprocess.Popen[str]) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return "\n".join(lines[-LAST_LINES:]) or "nothing"


# What wrk has counted, as a line of JSON after what it prints for people.
WRK_SCRIPT = """
function done(summary)
  local e = summary.errors
  io.write(string.format(
    '\\n{"microseconds": %d, "requests": %d, "errors": {"connect": %d, "read": %d, ' ..
    '"write": %d, "status": %d, "timeout": %d}}\\n', summary.duration,
    summary.requests, e.connect, e.read, e.write, e.status, e.timeout))
end
"""


def counted_by_wrk(printed: str, who: str) -> Sample:
    """Read what wrk has counted; raise WrongResultError for what went wrong.

    >>> last = '{"microseconds": 1000250, "requests": 5001, "errors": {"read": 0}}'
    >>> counted_by_wrk(last, "gunicorn by greenlet")
    Sample(nanoseconds=1000250000, operations=5001, came_back=5001, preempted=False)
    """
    counts = json.loads(last_line(printed))
    errors = [f"{what} {count}" for what, count in counts["errors"].items() if count]
    if errors or not counts["requests"]:
        raise WrongResultError(
            f"{who}: of {counts['requests']:,} requests wrk counts as failed:"
            f" {', '.join(errors) or 'all'}"
        )
    n = counts["requests"]
    return Sample(counts["microseconds"] * 1000, n, n)


class HttpWork(ServerWork):
    """A server of pages, asked by wrk for so many seconds."""

    def _serve(self) -> subprocess.Popen[str]:
        self.wrk = program("wrk")
        self.script = Path(self.folder, "counts.lua")
        self.script.write_text(WRK_SCRIPT)
        # It listens before it is started: no port can be taken.
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            self.port = listener.getsockname()[1]
            fd = listener.fileno()
            command = (*self.command(), str(fd))
            return self._run(command, processors()[0], pass_fds=(fd,))

    def _ask(self, process: subprocess.Popen[str], n: int, *, count: bool) -> Sample:
        self._check(process)
        if count:
            return Sample(0, 1, 1)
        sample = self._load(n)
        self._check(process)
        return sample

    def _page(self) -> tuple[str, bytes]:
        """Return what is asked for, and what it is."""
        if self.case == "gunicorn":
            return "/", served.GREETING
        return "/page", orm.expected_page()

    def _check(self, process: subprocess.Popen[str]) -> None:
        path, expected = self._page()

        def attempt() -> tuple[int, bytes] | None:
            connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            try:
                connection.request("GET", path, headers={"Connection": "close"})
                response = connection.getresponse()
                return response.status, response.read()
            except (OSError, HTTPException):
                return None
            finally:
                connection.close()

        status, body = self._until(process, attempt)
        if (status, body) != (200, expected):
            raise self._error(f"a wrong answer, {status} {body[:80]!r}", process)

    def _load(self, seconds: int) -> Sample:
        who = f"{self.case} by {self.subject}"
        options = ["--threads", "1", "--connections", str(CLIENTS)]
        options += ["--duration", f"{seconds}s", "--script", str(self.script)]
        if self.variant == NO_KEEP_ALIVE:
            options += ["--header", "Connection: close"]
        url = f"http://127.0.0.1:{self.port}{self._page()[0]}"
        with starting_on(processors()[1]):
            done = subprocess.run(
                [self.wrk, *options, url], capture_output=True, text=True, check=False
            )
        if done.returncode:
            words = last_line(done.stdout + done.stderr)
            raise BenchError(f"{who}: wrk failed: {words}")
        return counted_by_wrk(done.stdout, who)


# Where tasks wait until the clock starts, and where Celery then finds them.
STAGED, QUEUE = "staged", "celery"


class CeleryWork(ServerWork):
    """A worker of Celery's and a Redis, given so many tasks at once."""

    def _serve(self) -> subprocess.Popen[str]:
        self.sent = 0
        redis_server = program("redis-server")
        options = ["--port", "0", "--unixsocket", f"{self.folder}/redis"]
        options += ["--save", "", "--appendonly", "no", "--dir", self.folder]
        options += ["--loglevel", "warning", "--logfile", str(self.log)]
        server, clients = processors()
        self._connect(self._run(become("exec", redis_server, *options), clients))
        return self._run((*self.command(), self.folder), server)

    def _connect(self, process: subprocess.Popen[str]) -> None:
        from redis import Redis
        from redis.exceptions import ConnectionError

        redis = Redis(unix_socket_path=f"{self.folder}/redis")
        self.redis: Any = self.at_end.enter_context(redis)

        def attempt() -> object:
            try:
                return self.redis.ping()
            except ConnectionError:
                return None

        self._until(process, attempt)
        self.app = self.at_end.enter_context(served.celery_app(self.folder))

    def _ask(self, process: subprocess.Popen[str], n: int, *, count: bool) -> Sample:
        until = self.sent + n
        for number in range(self.sent, until):
            self.app.send_task(served.TASK, (number, until), queue=STAGED)
        self.sent = until
        start = clock()
        self.redis.rename(STAGED, QUEUE)
        took_part = self._until(process, lambda: self.redis.blpop(served.DONE, 1))
        elapsed = clock() - start
        # All tasks there have ever been, each once, and no other ones.
        expected = f"{until} {sum(range(until))}".encode()
        right = took_part[1] == expected and not self.redis.llen(QUEUE)
        return Sample(elapsed, n, n if right else 0)


BOTH = (orm.GREENLET, orm.IN_PLACE)


def _plan(
    case: Case,
    settings: Settings,
    *,
    work: type[ServerWork],
    subjects: Sequence[str] = BOTH,
    variants: Sequence[str] = ("",),
) -> Plan:
    who = product(variants, subjects)
    # Seconds under load; or as many tasks as take about as long.
    seconds = max(1, round(settings.round_ms / 1000))
    n = settings.round_ms if work is CeleryWork else seconds
    return plan_processes(case, "serve", work, who, n=n, unit=RATE)


CASES: tuple[Case, ...] = (
    Case(
        "gunicorn",
        "requests to one line of WSGI, by `gunicorn -k gevent`",
        partial(_plan, work=HttpWork, variants=(NO_KEEP_ALIVE, KEEP_ALIVE)),
    ),
    Case(
        "celery",
        "empty tasks, by `celery worker -P gevent` and Redis",
        partial(_plan, work=CeleryWork),
    ),
    Case(
        "fastapi",
        "pages of FastAPI with SQLAlchemy's asyncio, by uvicorn",
        partial(_plan, work=HttpWork, subjects=(*orm.WAYS,)),
    ),
)
