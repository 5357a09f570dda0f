"""A gunicorn server with gevent's workers under load; each answer is checked."""

import hashlib
import json
import signal
import socket
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import chain

from harness import PROGRAMS, Outcomes, Run, started, tail, verified

CLIENTS, WORKERS = 50, 2
TIMEOUT = 30


def run(run: Run) -> Outcomes:
    requests = 1000 if run.quick else 5000
    outcomes: Outcomes = {}
    log = run.directory / "gunicorn.log"
    # It listens before gunicorn starts: nobody need wait for that.
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        port = listener.getsockname()[1]
        server = started(
            run.command(
                *("-m", "gunicorn", "-k", "gevent", "--workers", str(WORKERS)),
                *("--bind", f"fd://{listener.fileno()}", "wsgi_app:app"),
            ),
            log=log,
            cwd=PROGRAMS,
            env=run.environment(),
            pass_fds=[listener.fileno()],
        )
        with server as process:
            listener.close()
            answers = []
            with verified(outcomes, f"{requests} requests are answered rightly"):
                answers = load(port, requests)
            with verified(outcomes, "each runs in a greenlet of the kind asked for"):
                assert answers
                for answer in answers:
                    assert answer["provider"] == run.provider, answer
                    assert answer["in_greenlet"], answer
            with verified(outcomes, "the workers have served as many as were answered"):
                served: dict[int, list[int]] = defaultdict(list)
                for answer in answers:
                    served[answer["worker"]].append(answer["served"])
                assert served
                for numbers in served.values():
                    assert sorted(numbers) == list(range(1, len(numbers) + 1))
            with verified(outcomes, "requests are served side by side"):
                # One by one it would be 1; how many depends on the machine's load.
                assert max(answer["peak"] for answer in answers) >= 5
            with verified(outcomes, "the server stops when told to"):
                process.send_signal(signal.SIGTERM)
                assert process.wait(TIMEOUT) == 0, tail(log)
                text = log.read_text()
                assert "Traceback" not in text, text
                assert "[ERROR]" not in text, text
    return outcomes


def load(port: int, requests: int) -> list[dict]:
    """Sends that many requests over CLIENTS connections, and checks the answers."""

    def client(first: int) -> list[dict]:
        answers = []
        connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        for n in range(first, requests, CLIENTS):
            body = bytes([n % 256]) * (n * 17 % 5000)
            connection.request("POST", f"/?n={n}", body)
            response = connection.getresponse()
            answer = json.loads(response.read())
            assert response.status == 200
            assert answer["n"] == n
            assert answer["sha256"] == hashlib.sha256(body).hexdigest()
            assert answer["digits"] == [2, 1, 0]
            answers.append(answer)
        connection.close()
        return answers

    with ThreadPoolExecutor(CLIENTS) as threads:
        answers = [*chain.from_iterable(threads.map(client, range(CLIENTS)))]
    assert len(answers) == requests
    return answers
