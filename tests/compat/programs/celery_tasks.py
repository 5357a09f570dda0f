"""What the Celery worker is asked to do: wait, talk to Redis, and say who did it."""

import os
import time

import greenlet
from celery import Celery
from record import provider
from redis import Redis

URL = os.environ["COMPAT_REDIS"]
app = Celery("compat", broker=URL, backend=URL)
redis = Redis.from_url(URL)


@app.task(name="work")
def work(n: int) -> list[object]:
    time.sleep(0.001 * (n % 5))  # gevent's, as Celery patches it
    redis.incr("worked")
    in_greenlet = greenlet.getcurrent().parent is not None
    return [n * n, provider() if in_greenlet else "no greenlet"]
