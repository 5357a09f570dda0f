"""Users that send a number of requests each; when all are answered the run ends."""

import os

import gevent
from locust import FastHttpUser, HttpUser, constant, events
from locust.exception import StopUser
from record import provider

EACH = int(os.environ["COMPAT_EACH"])
ALL = int(os.environ["COMPAT_ALL"])


@events.init.add_listener
def quit_after_all(environment, **_):
    answered = 0

    def count(**_):
        nonlocal answered
        answered += 1
        if answered == ALL:
            gevent.spawn(environment.runner.quit)

    environment.events.request.add_listener(count)


def fetch(user):
    if user.sent == EACH:
        raise StopUser
    user.sent += 1
    path = f"/{type(user).__name__}"
    headers = {"X-Provider": provider()}
    with user.client.get(path, headers=headers, catch_response=True) as response:
        if response.text != path:
            response.failure(f"answered {response.text!r}")


class Counting:
    """What users of either of Locust's two clients do."""

    wait_time = constant(0)
    tasks = [fetch]  # noqa: RUF012
    sent = 0


class RequestsUser(Counting, HttpUser):
    pass


class FastUser(Counting, FastHttpUser):
    pass
