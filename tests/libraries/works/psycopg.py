"""psycopg: libpq, with a PostgreSQL that is started for it."""

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

import psycopg
from hosts import Missing, pause

DISTRIBUTION = "psycopg"
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
if not PROGRAMS:
    raise Missing("there is no PostgreSQL: apt install postgresql")


def _as_user():
    """What a process is started with: PostgreSQL refuses to run as root."""
    if os.getuid():
        return {}
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        raise Missing("PostgreSQL needs a user other than root") from None
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@cache
def _server():
    """Its folder, in which its socket is; it ends with this process' group."""
    folder = Path(tempfile.mkdtemp())
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    options |= {"cwd": folder} | _as_user()
    if "user" in options:
        os.chown(folder, options["user"], options["group"])
    data = folder / "data"
    subprocess.run(
        [PROGRAMS[-1] / "initdb", "-D", data, "-U", "test", "--auth=trust", "-N"],
        check=True,
        **options,
    )
    settings = ("listen_addresses=", f"unix_socket_directories={folder}", "fsync=off")
    process = subprocess.Popen(
        [PROGRAMS[-1] / "postgres", "-D", data, *(f"--{one}" for one in settings)],
        **options,
    )

    def stop():
        process.send_signal(signal.SIGINT)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    return folder


def _connected():
    return psycopg.connect(
        f"host={_server()} user=test dbname=postgres", autocommit=True
    )


def _wait_for_server():
    for _ in range(300):
        try:
            return _connected().close()
        except psycopg.OperationalError as error:
            failed = error
            time.sleep(0.1)
    raise failed


_server()
_wait_for_server()


def small():
    with _connected() as db:
        return db.execute("select 40 + 2, upper(%s)", ["a"]).fetchall()


def heavy():
    with _connected() as db:
        db.execute("create temp table t (a int, b text)")
        with db.cursor().copy("copy t from stdin") as copy:
            for number in range(20_000):
                copy.write_row((number * 7 % 101, f"text {number}"))
        rows = db.execute("select a, count(*), max(b) from t group by a order by a")
        with db.cursor().copy("copy (select * from t order by b) to stdout") as copy:
            length = sum(len(data) for data in copy)
        with db.pipeline():
            cursors = [db.execute("select %s::int", [n]) for n in range(100)]
        return [rows.fetchall(), length, [c.fetchone() for c in cursors]]


def callback(number):
    """A handler of notices, which libpq calls."""
    with _connected() as db:
        seen = []
        db.add_notice_handler(lambda n: pause() or seen.append(n.message_primary))
        for turn in range(3):
            db.execute(f"do $$ begin raise notice 'n {number} {turn}'; end $$")
        return seen


def exception():
    with _connected() as db:
        db.execute("select * from missing")
