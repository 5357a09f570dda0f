"""The servers of ``copool bench --serve``, and what they serve.

`python -m copool.commands.bench.served PARENT CASE SUBJECT ADDRESS` prints a line of
JSON that says in which file the greenlet that it got lies. Then it becomes gunicorn, a
worker of Celery's or uvicorn, told what one tells them on a command line. It ends with
the process that has started it, whose number is PARENT, and so does a PROGRAM that is
started by `... served PARENT exec PROGRAM ...`.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any

from copool.commands.bench import orm
from copool.commands.bench.footprint import emit, greenlet_file
from copool.commands.bench.worker import Way

_PR_SET_PDEATHSIG = 1

GREETING = b"Hello, world!\n"
# So many greenlets carry out tasks.
CONCURRENCY = 100
TASK, DONE = "number", "done"


def wsgi(environ: object, start_response: Callable[..., object]) -> Iterable[bytes]:
    """Greet: what gunicorn serves."""
    start_response("200 OK", [("Content-Length", str(len(GREETING)))])
    return (GREETING,)


def celery_app(folder: str) -> Any:
    """Make Celery's application, which finds its Redis in that folder.

    Its task does nothing but to take part in a count and a sum. The one that makes
    the count what it is told puts both into a list of Redis.
    """
    from celery import Celery
    from redis import Redis

    app = Celery("copool", broker=f"redis+socket://{folder}/redis")
    app.conf.task_ignore_result = True
    redis = Redis(unix_socket_path=f"{folder}/redis")
    count = total = 0

    def number(own: int, until: int) -> None:
        nonlocal count, total
        count += 1
        total += own
        if count == until:
            redis.lpush(DONE, f"{count} {total}")

    app.task(name=TASK)(number)
    return app


# --- the servers: told by whose way, and where they are to be found -----------


def _gunicorn(way: Way, address: str) -> None:
    bind = ("--bind", f"fd://{address}")
    sys.argv = ["gunicorn", "-k", "gevent", *bind, f"{__spec__.name}:wsgi"]
    runpy.run_module("gunicorn", run_name="__main__", alter_sys=True)


def _celery(way: Way, address: str) -> None:
    import celery

    arguments = ["worker", "-P", "gevent", "--concurrency", str(CONCURRENCY)]
    arguments += ["--loglevel", "WARNING"]
    # Of other workers it shall know nothing.
    arguments += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    celery.maybe_patch_concurrency(["celery", *arguments])
    celery_app(address).worker_main(arguments)


def _fastapi(way: Way, address: str) -> None:
    import uvicorn

    with ExitStack() as at_end:
        library = orm.Library(at_end, way)
        app = orm.application(library, orm.JOINED)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        listener = at_end.enter_context(socket.socket(fileno=int(address)))
        library.runner.run(server.serve(sockets=[listener]))


SERVERS: Mapping[str, Callable[[Way, str], None]] = {
    "gunicorn": _gunicorn,
    "celery": _celery,
    "fastapi": _fastapi,
}


def end_with(parent: int) -> None:
    """Have this process told to end when the one that has started it is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it was gone before
        sys.exit(1)


def main(arguments: list[str]) -> None:
    """Entry point of the process."""
    parent, what, *more = arguments
    end_with(int(parent))
    if what == "exec":
        os.execv(more[0], more)
    subject, address = more
    emit({"greenlet": greenlet_file()})
    SERVERS[what](orm.WAYS[subject], address)


if __name__ == "__main__":
    main(sys.argv[1:])
