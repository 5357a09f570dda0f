"""Templates of FastAPI load what they show, also where clients leave and servers end.

Which greenlet a process has can't be changed: each test has processes of its own.
That the example answers 500 requests at once is seen by test_examples.py.
"""

import json
import re
import signal
import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

# What the programs below begin with. `hold` takes the file for itself when a page is
# about to load its reviews: this waits in the driver until the file is let go.
BEGIN = """
import asyncio, contextlib, sqlite3, sys
import fastapi_sqlalchemy as example
from sqlalchemy import event

class Held:
    def __init__(self, engine):
        self.engine, self.waits = engine, asyncio.Event()
        event.listen(engine.sync_engine, "before_cursor_execute", self.hold)
        self.holder = sqlite3.connect(engine.url.database, isolation_level=None)

    def hold(self, connection, cursor, statement, *_):
        if "FROM review" in statement and not self.waits.is_set():
            self.holder.execute("BEGIN EXCLUSIVE")
            asyncio.get_running_loop().call_soon(self.waits.set)

    def let_go(self):
        self.holder.execute("ROLLBACK")
        self.holder.close()

async def leave(port, waits):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /authors/3 HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
    await waits.wait()
    writer.close()

async def ask_twenty(port):
    asked = [example.expectation(number) for number in range(20)]
    answers = [example.ask(port, path) for path, _ in asked]
    return await asyncio.gather(*answers) == [right for _, right in asked]

def run(main):
    async def limited():
        async with asyncio.timeout(60):
            await main
    example.copool.aio.run(limited())
"""


def run(code):
    """Run a program in the folder of the example; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        cwd=EXAMPLES,
        timeout=100,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_a_request_cancelled_amid_a_lazy_load_leaves_no_connection_behind():
    # As servers and middlewares do that watch for the client.
    assert run("""
        class Cancelling:
            def __init__(self, app):
                self.app = app
                self.ended = asyncio.Queue()

            async def __call__(self, scope, receive, send):
                if scope["type"] != "http":
                    return await self.app(scope, receive, send)
                task = asyncio.create_task(self.app(scope, receive, send))
                listening = asyncio.create_task(self.listen(receive, task))
                try:
                    await asyncio.wait([task])
                finally:
                    listening.cancel()
                self.ended.put_nowait(task)

            async def listen(self, receive, task):
                while (await receive())["type"] != "http.disconnect":
                    pass
                task.cancel()

        async def main():
            app = example.create_app()
            cancelling = Cancelling(app)
            async with example.serving(cancelling) as port:
                held, watch = Held(app.state.engine), app.state.watch
                await leave(port, held.waits)
                task = await cancelling.ended.get()
                held.let_go()
                print(task.cancelled(), watch.in_use)
                print(await ask_twenty(port))
            print(watch.in_use, watch.most_in_use <= 10)

        run(main())
        """) == ["True 0", "True", "0 True"]


def test_a_page_whose_client_leaves_is_rendered_to_its_end():
    assert run("""
        async def main():
            app = example.create_app()
            async with example.serving(app) as port:
                held, watch = Held(app.state.engine), app.state.watch
                await leave(port, held.waits)
                print(watch.in_use)
                held.let_go()
                while watch.in_use:
                    await asyncio.sleep(0.01)
                print(await ask_twenty(port))
            print(watch.in_use, watch.most_in_use <= 10)

        run(main())
        """) == ["1", "True", "0 True"]


def test_while_a_page_loads_others_are_answered():
    assert run("""
        async def main():
            app = example.create_app()

            @app.get("/ready")
            async def ready():
                return "ready"

            async with example.serving(app) as port:
                held = Held(app.state.engine)
                path, expected = example.expectation(6)
                page = asyncio.create_task(example.ask(port, path))
                await held.waits.wait()
                print(await example.ask(port, "/ready"), page.done())
                held.let_go()
                print(await page == expected)

        run(main())
        """) == ['"ready" False', "True"]


def test_a_plain_endpoint_can_touch_what_is_loaded_only():
    assert run("""
        import warnings

        # SQLAlchemy drops a coroutine of the driver's that it then has no use for.
        warnings.simplefilter("ignore")

        async def main():
            app = example.create_app()
            Loaded = example.Annotated[
                example.Author, example.Depends(example.author_of)
            ]

            @app.get("/plain/{number}")
            def plain(author: Loaded):
                try:
                    return author.books
                except Exception as error:
                    why = getattr(error, "orig", error)
                    print(isinstance(why, example.copool.aio.CantWait))
                    return author.name

            async with example.serving(app) as port:
                print(await example.ask(port, "/plain/3"))
            print(app.state.watch.in_use)

        run(main())
        """) == ["True", '"Author 3"', "0"]


SERVERS = {
    "--serve": [str(EXAMPLES / "fastapi_sqlalchemy.py"), "--serve"],
    "uvicorn": [
        *("-m", "uvicorn", "--loop", "copool.aio:new_event_loop"),
        *("--factory", "fastapi_sqlalchemy:create_app"),
    ],
}


@pytest.mark.parametrize("server", SERVERS)
def test_serves_pages_until_interrupted(server):
    command = [sys.executable, *SERVERS[server], "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=EXAMPLES)
    with process:
        try:
            assert process.stderr
            url = None
            while not url:
                url = re.search(r"running on (http://\S+)", process.stderr.readline())
            answers = []
            for path in ("/authors/7", "/authors/7/json", "/authors/100"):
                try:
                    with urllib.request.urlopen(url[1] + path, timeout=60) as answer:
                        answers.append(answer.read().decode())
                except urllib.error.HTTPError as error:
                    answers.append(error.code)
        finally:
            process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
    assert "Error" not in errors
    page, data, missing = answers
    assert page.count("<h2>") == 2
    assert "<p>On Book 7a (Reader of Book 7a)</p>" in page
    assert json.loads(data) == {
        "name": "Author 7",
        "books": [{"title": "Book 7a"}, {"title": "Book 7b"}],
    }
    assert missing == 404
    assert process.returncode == 0
