"""Flask's views wait by the hundred in one thread, in an asyncio loop, unchanged."""

import asyncio
import http.client
import io
import json
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, closing
from types import SimpleNamespace
from wsgiref.validate import validator

import flask_on_asyncio as example
import pytest
from flask import Flask, Response, request, stream_with_context

from copool.aio import await_, enter


def run(main):
    """Like `asyncio.run()`, but does not hang."""

    async def limited():
        async with asyncio.timeout(60):
            return await main

    return asyncio.run(limited())


async def ask(port, method, path, body=None):
    """Ask with the client of the standard library, in a thread of its own."""

    def ask():
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with closing(client):
            client.request(method, path, body)
            response = client.getresponse()
            return response.status, response.read()

    return await asyncio.to_thread(ask)


@asynccontextmanager
async def connection(port, start):
    """Connect and send the start of a request, to which the end may be added."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{start} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n".encode())
    try:
        yield reader, writer
    finally:
        writer.close()


def join(player):
    """The end of a request to join a table."""
    body = f"player={player}"
    return (
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


@asynccontextmanager
async def games(path, seats):
    """The example's application, served; and its parts."""
    table, torn_down = example.Table(seats), asyncio.Queue()
    async with example.open_database(path) as database:
        app = example.create_app(database, table)
        app.teardown_request(torn_down.put_nowait)
        async with example.serving(app) as port:
            yield SimpleNamespace(
                app=app, database=database, table=table, torn_down=torn_down, port=port
            )


def rows(path):
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT player, seat FROM game").fetchall()


# --- the application ------------------------------------------------------------------


def test_500_requests_are_in_the_views_at_once_in_one_thread(tmp_path):
    number, path = 500, tmp_path / "games.db"
    example.allow_open_files(2 * number + 100)

    async def play(port, connected, player):
        async with connection(port, "POST /games") as (reader, writer):
            await connected.wait()
            writer.write(join(player))
            return await reader.read()

    async def main():
        connected = asyncio.Barrier(number)
        async with games(path, number) as served:
            players = [f"ann{player:03}" for player in range(number)]
            answers = await asyncio.gather(
                *(play(served.port, connected, player) for player in players)
            )
            table = served.table
            return players, answers, table.peak, table.present, table.threads

    players, answers, peak, present, threads = run(main())
    assert (peak, present, threads) == (number, 0, {threading.get_ident()})
    assert {answer.split(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 201 Created"}
    told = [json.loads(answer.partition(b"\r\n\r\n")[2]) for answer in answers]
    seats = sorted(one["seat"] for one in told)
    assert seats == list(range(number))
    assert told == [
        {"player": player, "seat": one["seat"], "game": 1}
        for player, one in zip(players, told, strict=True)
    ]
    assert sorted(rows(path)) == [(one["player"], one["seat"]) for one in told]


def test_games_of_a_player_are_counted_and_streamed_from_the_file(tmp_path):
    async def main():
        answers = []
        async with games(tmp_path / "games.db", 1) as served:
            for player in ("ann", "bob", "ann"):
                async with connection(served.port, "POST /games") as (reader, writer):
                    writer.write(join(player))
                    answers.append((await reader.read()).split()[-1])
            return answers, await ask(served.port, "GET", "/games")

    answers, streamed = run(main())
    assert [json.loads(answer)["game"] for answer in answers] == [1, 1, 2]
    assert streamed == (200, b"ann 0\nbob 0\nann 0\n")


def test_player_who_leaves_gives_up_the_seat(tmp_path):
    path = tmp_path / "games.db"

    async def main():
        async with games(path, 2) as served:
            waits = asyncio.Event()
            sit = served.table.sit
            served.table.sit = lambda: (waits.set(), sit())[1]
            async with connection(served.port, "POST /games") as (_, writer):
                writer.write(join("gone"))
                await waits.wait()
            error = await served.torn_down.get()
            left = served.table.barrier.n_waiting, served.table.present
            async with (
                connection(served.port, "POST /games") as (reader, writer),
                connection(served.port, "POST /games") as (other_reader, other_writer),
            ):
                writer.write(join("ann"))
                other_writer.write(join("bob"))
                await reader.read()
                await other_reader.read()
            return error, left

    error, left = run(main())
    assert isinstance(error, asyncio.CancelledError)
    assert left == (0, 0)
    assert sorted(player for player, _ in rows(path)) == ["ann", "bob"]


def test_connection_of_a_client_who_leaves_is_rolled_back_and_given_back(tmp_path):
    path = tmp_path / "games.db"

    async def main():
        async with games(path, 2) as served:
            inserted = asyncio.Event()

            @served.app.get("/stay")
            def stay():
                with enter(served.database.connection()) as database:
                    await_(database.execute("INSERT INTO game VALUES ('gone', 0)"))
                    inserted.set()
                    await_(asyncio.Event().wait())

            idle = served.database.idle.qsize()
            async with connection(served.port, "GET /stay") as (_, writer):
                writer.write(b"\r\n")
                await inserted.wait()
                taken = idle - served.database.idle.qsize()
            await served.torn_down.get()
            connections = [served.database.idle.get_nowait() for _ in range(idle)]
            return taken, [connection.in_transaction for connection in connections]

    assert run(main()) == (1, [False] * 4)
    assert rows(path) == []


def test_serves_tables_of_two_until_interrupted():
    command = [sys.executable, example.__file__, "--serve", "--port", "0"]

    async def main(child):
        lines = [await asyncio.to_thread(child.stdout.readline) for _ in range(2)]
        port = int(re.search(r"http://127.0.0.1:(\d+)/games", lines[1])[1])
        async with (
            connection(port, "POST /games") as (reader, writer),
            connection(port, "POST /games") as (other_reader, other_writer),
        ):
            writer.write(join("ann"))
            other_writer.write(join("bob"))
            answers = await reader.read(), await other_reader.read()
        child.send_signal(signal.SIGINT)
        return [answer.split()[1] for answer in answers]

    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            answers = run(main(child))
            _, errors = child.communicate(timeout=60)
        finally:
            child.kill()
    assert answers == [b"201", b"201"]
    assert (child.returncode, errors) == (0, "")


# --- the adapter, below uvicorn -------------------------------------------------------


def test_a_view_reads_the_body_while_it_arrives():
    app, has_read = Flask("test"), asyncio.Event()

    @app.post("/")
    def view():
        first = request.stream.read(3)
        has_read.set()
        return first + b"|" + b"|".join(request.stream)

    async def main():
        async with (
            example.serving(app) as port,
            connection(port, "POST /") as (reader, writer),
        ):
            writer.write(b"Content-Length: 10\r\n\r\nabc")
            await has_read.wait()
            writer.write(b"d\nefg\nh")
            return (await reader.read()).partition(b"\r\n\r\n")[2]

    assert run(main()) == b"abc|d\n|efg\n|h"


def test_a_body_in_chunks_has_an_end():
    app = Flask("test")

    @app.post("/")
    def view():
        return request.get_data()

    async def main():
        async with example.serving(app) as port:
            return await ask(port, "POST", "/", iter([b"ab", b"c" * 70_000, b"d"]))

    assert run(main()) == (200, b"ab" + b"c" * 70_000 + b"d")


def test_a_body_larger_than_all_buffers_arrives_whole():
    app = Flask("test")
    sent = bytes(range(256)) * 20_000

    @app.post("/")
    def view():
        return request.get_data()

    async def main():
        async with example.serving(app) as port:
            return await ask(port, "POST", "/", sent)

    assert run(main()) == (200, sent)


def test_a_body_that_is_not_read_is_not_waited_for():
    app = Flask("test")

    @app.post("/")
    def view():
        return "enough"

    async def main():
        async with (
            example.serving(app) as port,
            connection(port, "POST /") as (reader, writer),
        ):
            writer.write(b"Content-Length: 10\r\n\r\nabc")
            return (await reader.read()).partition(b"\r\n\r\n")[2]

    assert run(main()) == b"enough"


def test_each_chunk_of_a_response_is_sent_before_the_next_is_made():
    app, received = Flask("test"), asyncio.Event()

    @app.get("/<name>")
    def view(name):
        def chunks():
            yield f"{name}:{request.args['x']} "
            await_(received.wait())
            yield f"{name}:{request.args['x']} "

        return Response(stream_with_context(chunks()))

    async def main():
        async with (
            example.serving(app) as port,
            connection(port, "GET /a?x=1") as (reader, writer),
            connection(port, "GET /b?x=2") as (other_reader, other_writer),
        ):
            writer.write(b"\r\n")
            other_writer.write(b"\r\n")
            await reader.readuntil(b"a:1 ")
            await other_reader.readuntil(b"b:2 ")
            received.set()
            return await reader.read(), await other_reader.read()

    assert run(main()) == (b"\r\n4\r\na:1 \r\n0\r\n\r\n", b"\r\n4\r\nb:2 \r\n0\r\n\r\n")


def test_client_that_leaves_cancels_the_view_whose_finally_may_wait():
    app, waits, order = Flask("test"), asyncio.Event(), asyncio.Queue()

    @app.get("/")
    def view():
        try:
            waits.set()
            await_(asyncio.Event().wait())
        except BaseException as error:
            order.put_nowait(type(error))
            raise
        finally:
            await_(asyncio.sleep(0.001))
            order.put_nowait("finally")

    async def main():
        async with example.serving(app) as port:
            async with connection(port, "GET /") as (_, writer):
                writer.write(b"\r\n")
                await waits.wait()
            return [await order.get(), await order.get()]

    assert run(main()) == [asyncio.CancelledError, "finally"]


def test_client_that_leaves_amid_its_body_cancels_the_view():
    app, reads, errors = Flask("test"), asyncio.Event(), asyncio.Queue()
    app.teardown_request(errors.put_nowait)

    @app.post("/")
    def view():
        request.stream.read(3)
        reads.set()
        request.stream.read()

    async def main():
        async with example.serving(app) as port:
            async with connection(port, "POST /") as (_, writer):
                writer.write(b"Content-Length: 10\r\n\r\nabc")
                await reads.wait()
            return await errors.get()

    assert isinstance(run(main()), asyncio.CancelledError)


def test_client_that_leaves_ends_a_stream_that_never_waits():
    app, ended = Flask("test"), asyncio.Event()
    sent_all = []

    @app.get("/")
    def view():
        def chunks():
            try:
                for _ in range(100_000):
                    yield b"more"
                sent_all.append(True)
            finally:
                await_(asyncio.sleep(0))
                ended.set()

        return Response(chunks())

    async def main():
        async with example.serving(app) as port:
            async with connection(port, "GET /") as (reader, writer):
                writer.write(b"\r\n")
                await reader.readuntil(b"more")
            await ended.wait()

    run(main())
    assert sent_all == []


def test_view_that_fails_is_answered_with_500(capsys):
    def app(environ, start_response):
        await_(asyncio.sleep(0))
        raise KeyError("in the view")

    async def main():
        async with example.serving(app) as port:
            return await ask(port, "GET", "/")

    assert run(main()) == (500, b"Internal Server Error")
    assert "in the view" in capsys.readouterr().err


def test_stream_that_fails_is_cut_off_and_closed(capsys):
    app, closed = Flask("test"), []

    @app.get("/")
    def view():
        def chunks():
            yield "some"
            raise KeyError("in the stream")

        response = Response(chunks())
        response.call_on_close(lambda: closed.append(True))
        return response

    async def main():
        async with example.serving(app) as port:
            with pytest.raises(http.client.IncompleteRead) as error:
                await ask(port, "GET", "/")
            return error.value.partial

    assert run(main()) == b"some"
    assert closed == [True]
    assert "in the stream" in capsys.readouterr().err


# --- the adapter by itself ------------------------------------------------------------

BODY = {"type": "http.response.body"}


def begin(*headers, status=200):
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def more(chunk):
    return BODY | {"body": chunk, "more_body": True}


async def exchange(app, sent, received=({"type": "http.request"},), **scope):
    """Call an application as a server does; return how much it did not take."""
    messages = asyncio.Queue()
    for message in received:
        messages.put_nowait(message)

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "query_string": b"",
        "headers": [],
    } | scope
    await example.Adapter(app)(scope, messages.get, send)
    return messages.qsize()


def test_what_applications_may_rely_on_holds():
    sent = []

    @validator
    def app(environ, start_response):
        body = environ["wsgi.input"]
        lines = [body.readline(), body.read(2), *body.readlines()]
        start_response("201 Made", [("Content-Type", "text/plain"), ("X-Y", "\xe9")])
        return lines

    received = [
        {"type": "http.request", "body": b"one\ntwo", "more_body": True},
        {"type": "http.request", "body": b"", "more_body": True},
        {"type": "http.request", "body": b"\nthree"},
    ]
    run(exchange(app, sent, received, method="POST", server=("here", 80)))
    head = begin((b"content-type", b"text/plain"), (b"x-y", b"\xe9"), status=201)
    chunks = [b"one\n", b"tw", b"o\n", b"three"]
    assert sent == [head, *map(more, chunks), BODY]


def test_environ_tells_of_the_request():
    seen = {}

    def app(environ, start_response):
        seen.update(environ)
        start_response("200 OK", [])
        return []

    headers = [
        (b"content-type", b"text/x"),
        (b"content-length", b"3"),
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
        (b"x-list", b"1"),
        (b"x-list", b"\xe9"),
    ]
    request = {
        "method": "PUT",
        "scheme": "https",
        "root_path": "/root",
        "path": "/root/caf\xe9",
        "query_string": b"q=%20",
        "headers": headers,
        "server": ("there", 8443),
        "client": ("10.0.0.1", 1234),
    }
    run(exchange(app, [], **request))
    body = seen["wsgi.input"]
    assert isinstance(body, io.BufferedReader)
    assert seen == {
        "REQUEST_METHOD": "PUT",
        "SCRIPT_NAME": "/root",
        "PATH_INFO": "/caf\xc3\xa9",
        "QUERY_STRING": "q=%20",
        "SERVER_NAME": "there",
        "SERVER_PORT": "8443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "10.0.0.1",
        "CONTENT_TYPE": "text/x",
        "CONTENT_LENGTH": "3",
        "HTTP_COOKIE": "a=1; b=2",
        "HTTP_X_LIST": "1, \xe9",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": seen["wsgi.errors"],
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


class Chunks:
    """An iterable that records when it is closed."""

    def __init__(self, sent, *chunks):
        self.sent, self.chunks = sent, chunks

    def __iter__(self):
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    def close(self):
        await_(asyncio.sleep(0))
        self.sent.append("close")


def test_iterable_is_closed_before_the_response_ends():
    sent = []

    def app(environ, start_response):
        start_response("200 OK", [])
        return Chunks(sent, b"", b"a", b"")

    run(exchange(app, sent))
    assert sent == [begin(), more(b"a"), "close", BODY]


def test_iterable_that_fails_is_closed():
    sent = []

    def app(environ, start_response):
        start_response("200 OK", [])
        return Chunks(sent, b"a", KeyError("b"))

    with pytest.raises(KeyError, match="b"):
        run(exchange(app, sent))
    assert sent == [begin(), more(b"a"), "close"]


def test_response_without_a_body_has_its_head_sent():
    sent = []

    def app(environ, start_response):
        start_response("204 No Content", [])
        return Chunks(sent)

    run(exchange(app, sent))
    assert sent == [begin(status=204), "close", BODY]


def test_what_is_written_comes_before_what_is_returned():
    sent = []

    def app(environ, start_response):
        write = start_response("200 OK", [])
        write(b"first")
        return [b"second"]

    run(exchange(app, sent))
    assert sent == [begin(), more(b"first"), more(b"second"), BODY]


def failing():
    try:
        raise KeyError("in the application")
    except KeyError as error:
        return type(error), error, error.__traceback__


def test_head_that_was_not_sent_is_replaced_after_an_error():
    sent = []

    def app(environ, start_response):
        start_response("200 OK", [("A", "b")])
        start_response("500 Oops", [], failing())
        return [b"sorry"]

    run(exchange(app, sent))
    assert sent == [begin(status=500), more(b"sorry"), BODY]


def test_head_that_was_sent_is_not_replaced_after_an_error():
    sent = []

    def app(environ, start_response):
        start_response("200 OK", [])(b"a")
        start_response("500 Oops", [], failing())
        return []

    with pytest.raises(KeyError, match="in the application"):
        run(exchange(app, sent))
    assert sent == [begin(), more(b"a")]


def test_application_that_starts_its_response_twice_or_never_fails():
    sent = []

    def twice(environ, start_response):
        start_response("200 OK", [])
        start_response("200 OK", [])

    def never(environ, start_response):
        return Chunks(sent, b"a")

    with pytest.raises(RuntimeError, match="called before"):
        run(exchange(twice, sent))
    with pytest.raises(RuntimeError, match="did not call"):
        run(exchange(never, sent))
    assert sent == ["close"]


def test_others_run_between_two_chunks():
    order = []

    def app(environ, start_response):
        start_response("200 OK", [])
        for number in range(3):
            order.append(number)
            yield b"chunk"

    async def main():
        await asyncio.gather(exchange(app, []), exchange(app, []))

    run(main())
    assert order == [0, 0, 1, 1, 2, 2]


def test_cancelling_the_server_s_task_is_not_taken_for_a_client_that_leaves():
    sent = []

    def app(environ, start_response):
        try:
            start_response("200 OK", [])
            yield b"a"
            await_(asyncio.Event().wait())
        finally:
            sent.append("finally")

    async def main():
        task = asyncio.create_task(exchange(app, sent))
        while len(sent) < 2:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert run(main())
    assert sent == [begin(), more(b"a"), "finally"]


def test_task_whose_client_leaves_is_not_cancelled_itself():
    sent = []

    def app(environ, start_response):
        try:
            await_(asyncio.Event().wait())
        finally:
            sent.append("finally")

    async def main():
        await exchange(app, sent, [{"type": "http.disconnect"}])
        return asyncio.current_task().cancelling()

    assert run(main()) == 0
    assert sent == ["finally", BODY]


def test_nothing_goes_on_after_the_response():
    def app(environ, start_response):
        start_response("200 OK", [])
        return [b"a"]

    async def main():
        await exchange(app, [])
        await asyncio.sleep(0)
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert run(main()) == set()


def test_body_of_a_client_that_left_cannot_be_read():
    def app(environ, start_response):
        try:
            environ["wsgi.input"].read()
        finally:
            environ["wsgi.input"].read()

    received = [
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.disconnect"},
    ]
    with pytest.raises(ConnectionResetError, match="left before"):
        run(exchange(app, [], received))


def test_client_that_sends_faster_than_the_application_reads_is_held_up():
    def app(environ, start_response):
        assert environ["wsgi.input"].read(1) == b"a"
        for _ in range(10):
            await_(asyncio.sleep(0))
        start_response("200 OK", [])
        return []

    received = [{"type": "http.request", "body": b"a", "more_body": True}] * 9
    # One was read, one is held, and one waits for its place.
    assert run(exchange(app, [], received)) == 6


def test_other_protocols_than_http_are_refused():
    with pytest.raises(ValueError, match="not for websocket"):
        run(exchange(None, [], type="websocket"))
