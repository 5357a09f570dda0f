"""A program to look at from outside: a thousand clients wait, and something hangs.

python examples/clients.py & copool ps $!
"""

import threading

import copool


def receive(client: int) -> None:
    while True:
        copool.yield_(client)


def serve(client: int) -> None:
    receive(client)


def main() -> None:
    clients = [copool.Coroutine(serve, name=f"client-{i}") for i in range(1000)]
    for i, client in enumerate(clients):
        client.enter(i)
    copool.Coroutine(report).enter()


def report() -> None:
    threading.Event().wait()  # which nobody sets


main()
