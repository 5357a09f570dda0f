"""Locust against a server of our own: both sides count the same requests."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

from harness import PROGRAMS, Outcomes, Run, finish, tail, verified

USERS = 40
TIMEOUT = 120


@contextmanager
def counting_server() -> Iterator[tuple[str, Counter]]:
    """Its address, and what it has been asked: paths, and the greenlets of askers."""
    counts: Counter = Counter()
    lock = Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30
        disable_nagle_algorithm = True

        def do_GET(self):
            with lock:
                counts[self.path, self.headers["X-Provider"]] += 1
            answer = self.path.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 1024

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", counts
        finally:
            server.shutdown()
            thread.join()


def run(run: Run) -> Outcomes:
    each = 25 if run.quick else 100
    requests = USERS * each
    outcomes: Outcomes = {}
    log, summary = run.directory / "locust.log", run.directory / "locust"
    with counting_server() as (address, counts):
        with verified(outcomes, f"{USERS} users end after {each} requests each"):
            status = finish(
                run.command(
                    *("-m", "locust", "-f", PROGRAMS / "locustfile.py", "--headless"),
                    *("--users", str(USERS), "--spawn-rate", str(USERS)),
                    *("--host", address, "--run-time", "100s", "--stop-timeout", "20"),
                    *("--json-file", summary),
                ),
                log=log,
                timeout=TIMEOUT,
                env=run.environment(COMPAT_EACH=str(each), COMPAT_ALL=str(requests)),
            )
            assert status == 0, tail(log)
        with verified(outcomes, "the server was asked by the greenlets asked for"):
            half = requests // 2
            assert counts == {
                ("/RequestsUser", run.provider): half,
                ("/FastUser", run.provider): half,
            }
        with verified(outcomes, "Locust counts what the server counts"):
            kinds = json.loads(summary.with_suffix(".json").read_text())
            assert sum(kind["num_requests"] for kind in kinds) == requests
            assert sum(kind["num_failures"] for kind in kinds) == 0
    return outcomes
