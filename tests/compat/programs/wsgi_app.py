"""The application that gunicorn serves: says what it did, and on which greenlet."""

import hashlib
import json
import os
from urllib.parse import parse_qs

import gevent
import greenlet
from record import provider

counts = {"served": 0, "running": 0, "peak": 0}


def app(environ, start_response):
    counts["running"] += 1
    counts["peak"] = max(counts["peak"], counts["running"])
    n = int(parse_qs(environ["QUERY_STRING"])["n"][0])
    body = environ["wsgi.input"].read()
    # Waits below C code: each key of the sort is a switch to the hub and back.
    digits = sorted(range(3), key=lambda i: gevent.sleep(0.001 * (n % 3)) or -i)
    counts["running"] -= 1
    counts["served"] += 1
    answer = {
        "n": n,
        "sha256": hashlib.sha256(body).hexdigest(),
        "digits": digits,
        "worker": os.getpid(),
        "served": counts["served"],
        "peak": counts["peak"],
        "provider": provider(),
        "in_greenlet": greenlet.getcurrent().parent is not None,
    }
    reply = json.dumps(answer).encode()
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", f"{len(reply)}"),
    ]
    start_response("200 OK", headers)
    return [reply]
