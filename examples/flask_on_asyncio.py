"""Serve a Flask application from within one asyncio loop.

Flask calls its views as plain functions, and a server of threads needs one for each
request that waits. Here uvicorn serves them all in the thread of its loop: an adapter
calls the application with `run_sync()`, and whatever waits below, such as the database
driver aiosqlite, is called with `await_()`, `enter()` and `iterate()`.

The application seats players at tables. Who joins has an answer when the table is full,
so that all who sit at one are in the view at the same time.

    python examples/flask_on_asyncio.py            # fills a table of 500
    python examples/flask_on_asyncio.py --serve    # has tables of two, for you to try

It needs Flask, uvicorn and aiosqlite.
"""

import argparse
import asyncio
import io
import resource
import socket
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    MutableMapping,
)
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias
from urllib.parse import urlencode
from wsgiref.types import WSGIApplication, WSGIEnvironment

import aiosqlite
import uvicorn
from flask import Flask, Response, request, stream_with_context

from copool.aio import await_, enter, iterate, run_sync

# --- WSGI on ASGI ---------------------------------------------------------------------

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ExcInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]
)


class Adapter:
    """An ASGI application that calls a WSGI one in the task that it is called in.

    When the client leaves, what the application waits for raises CancelledError.
    """

    def __init__(self, application: WSGIApplication) -> None:
        self.application = application

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"WSGI is for HTTP, not for {scope['type']}")
        task = asyncio.current_task()
        assert task is not None
        body = Body()
        responder = Responder(send)
        listening = asyncio.create_task(body.listen(receive, task))
        try:
            await run_sync(responder.respond, self.application, environ(scope, body))
        except asyncio.CancelledError:
            if not body.client_left or task.uncancel():
                raise
        finally:
            listening.cancel()
        await send({"type": "http.response.body"})


class Body(io.RawIOBase):
    """The body of a request, as a file."""

    def __init__(self) -> None:
        # One message is held and no more, so that the server stops reading from a
        # client that sends faster than the application reads.
        self.messages: asyncio.Queue[Message] = asyncio.Queue(1)
        self.chunk = b""
        self.ends = False
        self.client_left = False

    async def listen(self, receive: Receive, task: asyncio.Task[Any]) -> None:
        """Take what the client sends, and cancel the task if it leaves."""
        while (message := await receive())["type"] == "http.request":
            await self.messages.put(message)
        self.client_left = True
        task.cancel()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.chunk and not self.ends:
            if self.client_left:
                raise ConnectionResetError("the client left before the body's end")
            message = await_(self.messages.get())
            self.chunk = message.get("body", b"")
            self.ends = not message.get("more_body", False)
        size = min(len(buffer), len(self.chunk))
        buffer[:size], self.chunk = self.chunk[:size], self.chunk[size:]
        return size


class Responder:
    """Sends what an application responds, but for the end of it."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.start: Message | None = None
        self.started = False

    def respond(self, application: WSGIApplication, environ: WSGIEnvironment) -> None:
        chunks: Iterable[bytes] = application(environ, self.start_response)
        try:
            for chunk in chunks:
                if chunk:
                    self.write(chunk)
            self.begin()
        finally:
            if hasattr(chunks, "close"):
                chunks.close()

    def start_response(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: ExcInfo | None = None,
        /,
    ) -> Callable[[bytes], None]:
        if exc_info and exc_info[1] and self.started:
            raise exc_info[1]
        if not exc_info and self.start:
            raise RuntimeError("start_response() was called before")
        self.start = {
            "type": "http.response.start",
            "status": int(status.split()[0]),
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in headers
            ],
        }
        return self.write

    def begin(self) -> None:
        if not self.start:
            raise RuntimeError("the application did not call start_response()")
        if not self.started:
            self.started = True
            await_(self.send(self.start))

    def write(self, chunk: bytes) -> None:
        self.begin()
        await_(
            self.send({"type": "http.response.body", "body": chunk, "more_body": True})
        )
        # Sending need not wait. The others have their turn between two chunks, and it
        # is seen that a client has left.
        await_(asyncio.sleep(0))


def environ(scope: Message, body: Body) -> WSGIEnvironment:
    """Tell of a request in WSGI's words."""
    root = scope.get("root_path", "")
    server, port = scope.get("server") or ("localhost", 80)
    client, _ = scope.get("client") or ("", 0)
    result: WSGIEnvironment = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root.encode().decode("latin-1"),
        "PATH_INFO": scope["path"].removeprefix(root).encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BufferedReader(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_LENGTH", "CONTENT_TYPE"):
            key = f"HTTP_{key}"
        text = value.decode("latin-1")
        if key in result:
            separator = ";" if key == "HTTP_COOKIE" else ","
            text = f"{result[key]}{separator} {text}"
        result[key] = text
    return result


# --- the database ---------------------------------------------------------------------


class Database:
    """A few connections to a file, each with a thread that aiosqlite gives it."""

    def __init__(self) -> None:
        self.idle: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[aiosqlite.Connection]:
        """Borrow a connection; wait until one is idle."""
        connection = await self.idle.get()
        try:
            yield connection
        except BaseException:
            await connection.rollback()
            raise
        finally:
            self.idle.put_nowait(connection)


@asynccontextmanager
async def open_database(path: Path, connections: int = 4) -> AsyncIterator[Database]:
    """Open the file, and create it if need be."""
    database = Database()
    async with AsyncExitStack() as stack:
        for _ in range(connections):
            connection = aiosqlite.connect(path, timeout=60)
            database.idle.put_nowait(await stack.enter_async_context(connection))
        async with database.connection() as connection:
            await connection.execute("PRAGMA journal_mode = WAL")
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS game (player TEXT, seat INTEGER)"
            )
        yield database


# --- the application: plain functions from here on ------------------------------------


class Table:
    """Seats players. It counts those who are in a view, and the views' threads."""

    def __init__(self, seats: int) -> None:
        self.barrier = asyncio.Barrier(seats)
        self.present = 0
        self.peak = 0
        self.threads: set[int] = set()

    def arrive(self) -> None:
        self.present += 1
        self.peak = max(self.peak, self.present)
        self.threads.add(threading.get_ident())

    def leave(self, _error: BaseException | None) -> None:
        self.present -= 1

    def sit(self) -> int:
        """Return the number of a seat, when all seats are taken."""
        return await_(self.barrier.wait())


def count_games(database: Database, player: str) -> int:
    with (
        enter(database.connection()) as connection,
        enter(
            connection.execute("SELECT count(*) FROM game WHERE player = ?", [player])
        ) as cursor,
    ):
        row = await_(cursor.fetchone())
    assert row is not None
    count: int = row[0]
    return count


def add_game(database: Database, player: str, seat: int) -> None:
    with enter(database.connection()) as connection:
        await_(connection.execute("INSERT INTO game VALUES (?, ?)", [player, seat]))
        await_(connection.commit())


def list_games(database: Database) -> Iterator[str]:
    with (
        enter(database.connection()) as connection,
        enter(connection.execute("SELECT player, seat FROM game")) as cursor,
    ):
        for player, seat in iterate(cursor):
            yield f"{player} {seat}\n"


def create_app(database: Database, table: Table) -> Flask:
    app = Flask(__name__)
    app.before_request(table.arrive)
    app.teardown_request(table.leave)

    @app.post("/games")
    def join() -> tuple[dict[str, Any], int]:
        player = request.form["player"]
        games = count_games(database, player)
        seat = table.sit()
        add_game(database, player, seat)
        return {"player": player, "seat": seat, "game": games + 1}, 201

    @app.get("/games")
    def show() -> Response:
        lines = stream_with_context(list_games(database))
        return Response(lines, mimetype="text/plain")

    return app


# --- serving and asking ---------------------------------------------------------------


@asynccontextmanager
async def serving(application: WSGIApplication, port: int = 0) -> AsyncIterator[int]:
    """Serve an application on a port of this machine; 0 lets the system choose it."""
    with socket.create_server(("127.0.0.1", port), backlog=2048) as listener:
        config = uvicorn.Config(
            Adapter(application),
            http="h11",
            lifespan="off",
            log_level="warning",
            timeout_graceful_shutdown=5,
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await task


async def join(port: int, player: str) -> bytes:
    """Join a table; return the answer when the table is full."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        form = urlencode({"player": player})
        writer.write(
            "POST /games HTTP/1.0\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(form)}\r\n\r\n{form}".encode()
        )
        head, _, answer = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    if head.split()[1:2] != [b"201"]:
        raise RuntimeError(f"unexpected answer: {head.decode()}")
    return answer


async def fill_table(path: Path, seats: int) -> None:
    """Send as many requests as the table has seats, and print what came of them."""
    allow_open_files(2 * seats + 100)
    table = Table(seats)
    async with (
        open_database(path) as database,
        serving(create_app(database, table)) as port,
    ):
        began = time.perf_counter()
        async with asyncio.TaskGroup() as players:
            for number in range(seats):
                players.create_task(join(port, f"player{number}"))
        seconds = time.perf_counter() - began
        others = threading.active_count() - len(table.threads)
    with closing(sqlite3.connect(path)) as connection:
        [(rows,)] = connection.execute("SELECT count(DISTINCT seat) FROM game")
    print(
        f"{seats:5} requests, sent at once and answered\n"
        f"{table.peak:5} of them in the view at the same time\n"
        f"{len(table.threads):5} thread for the views, the server and the client\n"
        f"{others:5} threads of aiosqlite, one for each connection\n"
        f"{rows:5} seats taken, says the file\n"
        f"{seconds:5.2f} seconds"
    )


async def serve(path: Path, port: int) -> None:
    """Serve until interrupted."""
    async with (
        open_database(path) as database,
        serving(create_app(database, Table(2)), port) as port,
    ):
        url = f"http://127.0.0.1:{port}/games"
        print(
            "Two players fill a table. Let them join, each from a terminal of its own:",
            f"  curl -d player=Ada {url}",
            f"  curl -d player=Bob {url}",
            "Then see who has played:",
            f"  curl {url}",
            sep="\n",
            flush=True,
        )
        await asyncio.Event().wait()


def allow_open_files(number: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Serve Flask in one asyncio loop.")
    parser.add_argument("--requests", type=int, default=500, metavar="N")
    parser.add_argument("--serve", action="store_true", help="serve until interrupted")
    parser.add_argument("--port", type=int, default=8000, help="with --serve")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, suppress(KeyboardInterrupt):
        path = Path(folder, "games.db")
        if options.serve:
            asyncio.run(serve(path, options.port))
        else:
            asyncio.run(fill_table(path, options.requests))


if __name__ == "__main__":
    main(sys.argv[1:])
