"""The same tests of SQLAlchemy, on copool in anywhere mode: no greenlet is made.

And our own tests of what waits for it, on databases that are really there.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from harness import ENVIRONMENT, HERE, Outcomes, Run, finish, tail, verified

from .sqlalchemy import TESTS, suite

TIMEOUT = 600
# Without those that cancel everything everywhere.
QUICK = ("test/ext/asyncio/test_session.py", "test/base/test_concurrency.py")
OURS = HERE.parent / "copool" / "aio" / "test_aio_sqlalchemy.py"
DRIVERS = ("asyncpg", "psycopg")
OLDER = "2.0.58"


def run(run: Run) -> Outcomes:
    is_ours = run.provider == "copool"
    tests = frozenset(test for test in run.only if test.startswith("test/"))
    outcomes: Outcomes = {}
    if tests or not run.only:
        options = ("-p", "pytest_anywhere") if is_ours else ()
        among = QUICK if run.quick else TESTS
        outcomes = suite(replace(run, only=tests), *options, tests=among)
    if is_ours:
        with postgres() as address:
            for driver in DRIVERS:
                url = f"postgresql+{driver}://{address}"
                on_both_greenlets(replace(run, environ=environ(run, url)), outcomes)
        if not run.quick:
            path = {"PYTHONPATH": str(older())}
            on_both_greenlets(replace(run, environ=path), outcomes)
    return outcomes


def environ(run: Run, url: str) -> dict[str, str]:
    every = {} if run.quick else {"COPOOL_EVERY_CANCELLATION": "1"}
    return {"COPOOL_TEST_DATABASE": url} | every


def on_both_greenlets(run: Run, outcomes: Outcomes) -> None:
    """Run our tests; when it has to be quick, the drivers take turns."""
    database = run.environ.get("COPOOL_TEST_DATABASE", "").partition(":")[0]
    name = database or f"SQLAlchemy {OLDER}"
    providers = ("copool", "greenlet")
    if run.quick:
        providers = providers[:1] if "asyncpg" in name else providers[1:]
    for provider in providers:
        with verified(outcomes, f"ours with {name}, on {provider}"):
            ours(replace(run, provider=provider), name)


def ours(run: Run, name: str) -> None:
    log = run.directory / f"ours_{name.replace(' ', '_')}_{run.provider}.log"
    status = finish(
        run.command("-m", "pytest", "-q", "-p", "no:cacheprovider", OURS),
        log=log,
        timeout=TIMEOUT,
        cwd=run.directory,
        env=run.environment(**run.environ),
    )
    assert status == 0, tail(log, 40)


def older() -> Path:
    """A folder with another version of SQLAlchemy than the one that is installed."""
    folder = ENVIRONMENT / f"sqlalchemy-{OLDER}-installed"
    if not folder.exists():
        pip = [sys.executable, "-m", "pip", "--quiet", "install", "--no-deps"]
        package = f"sqlalchemy=={OLDER}"
        subprocess.run([*pip, "--target", folder, package], check=True)
    return folder


# --- a PostgreSQL ---------------------------------------------------------------------

# It refuses to be root, and Debian's package has made somebody for it.
USER = "postgres" if os.geteuid() == 0 else getpass.getuser()
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


@contextmanager
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL that is gone afterwards, with what it kept."""
    with tempfile.TemporaryDirectory(prefix="copool-postgres-") as folder:
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        who = {"user": USER, "extra_groups": []} if os.geteuid() == 0 else {}
        data = str(Path(folder, "data"))
        subprocess.run(
            [
                binary("initdb"),
                *("--pgdata", data, "--username", "test", "--auth", "trust"),
                *("--no-sync", "--locale", "C", "--encoding", "UTF8"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **who,
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        options = [f"--{key}={value}" for key, value in OPTIONS.items()]
        with subprocess.Popen(
            [binary("postgres"), "-D", data, "-p", str(port), *options],
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            **who,
        ) as process:
            try:
                wait_until_ready(process)
                # What else it says must not fill the pipe.
                threading.Thread(target=process.stderr.read).start()
                yield f"test@127.0.0.1:{port}/postgres"
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(60)


def binary(name: str) -> str:
    """Where Debian has it, which is not where one looks for programs."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else name


def wait_until_ready(process: subprocess.Popen[str]) -> None:
    said = []
    for line in process.stderr or ():
        said.append(line)
        if "ready to accept connections" in line:
            return
    raise RuntimeError(f"PostgreSQL does not start: {''.join(said)}")
