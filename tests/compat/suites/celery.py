"""A Celery worker with gevent's pool and a real Redis: no task is lost."""

import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import PROGRAMS, Outcomes, Run, started, tail, verified

CONCURRENCY = 100
TIMEOUT = 300


@contextmanager
def redis_server(directory: Path) -> Iterator[str]:
    """The address of a Redis that keeps nothing on disk."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = (
        f"--bind 127.0.0.1 --port {port} --maxmemory 256mb --appendonly no".split()
    )
    with subprocess.Popen(
        ["redis-server", *options, "--save", "", "--dir", str(directory)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            said = []
            for line in process.stdout:
                said.append(line)
                if "Ready to accept connections" in line:
                    break
            else:
                raise RuntimeError(f"Redis does not start: {''.join(said)}")
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()


def run(run: Run) -> Outcomes:
    from celery import Celery
    from celery.result import ResultSet
    from redis import Redis

    tasks = 1000 if run.quick else 10_000
    outcomes: Outcomes = {}
    log = run.directory / "celery.log"
    with redis_server(run.directory) as url:
        worker = started(
            run.command(
                *("-m", "celery", "-A", "celery_tasks", "worker", "-P", "gevent"),
                *("--concurrency", str(CONCURRENCY), "--loglevel", "WARNING"),
            ),
            log=log,
            cwd=PROGRAMS,
            env=run.environment(COMPAT_REDIS=url),
        )
        with worker as process:
            app, redis = Celery("compat", broker=url, backend=url), Redis.from_url(url)
            got: list[list] = []
            with verified(outcomes, f"{tasks} tasks give their results"):
                sent = ResultSet([app.send_task("work", (n,)) for n in range(tasks)])
                got = sent.join_native(timeout=TIMEOUT)
                assert [square for square, _ in got] == [n * n for n in range(tasks)]
            with verified(outcomes, "each runs in a greenlet of the kind asked for"):
                assert Counter(who for _, who in got) == {run.provider: tasks}
            with verified(outcomes, "each has run once"):
                assert int(redis.get("worked")) == tasks
            with verified(outcomes, "the worker stops when told to"):
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0, tail(log)
                assert "Traceback" not in log.read_text(), tail(log)
            app.close()
            redis.close()
    return outcomes
