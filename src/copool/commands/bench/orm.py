"""The process that does a case of ``copool bench --aio`` with SQLAlchemy in it.

`python -m copool.commands.bench.orm CASE SUBJECT VARIANT` obeys as the `worker` does.
Who has which greenlet is the launcher's doing; here it matters how what is not loaded
comes: in anywhere mode it loads itself, elsewhere it is asked for by an `await`, or
eagerly.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack
from itertools import repeat
from time import perf_counter_ns as clock
from typing import Any

import copool.aio
from copool.commands.bench.model import Extra, Sample, Work
from copool.commands.bench.worker import Way, obey

EXTRA = Extra(
    "aio", frozenset(("aiosqlite", "fastapi", "greenlet", "jinja2", "sqlalchemy"))
)


OURS = ("-m", "copool", "run")
GREENLET, IN_PLACE, ANYWHERE = "greenlet", "copool's greenlet", "copool anywhere"
WAYS: Mapping[str, Way] = {
    GREENLET: Way((), "greenlet"),
    IN_PLACE: Way(OURS, "copool"),
    ANYWHERE: Way(OURS, "copool", anywhere=True),
}

# How a page gets its three collections.
LAZY, SELECTIN, JOINED = "lazy loads", "selectinload", "joinedload"

PARTS = ("books", "prizes", "letters")
AUTHORS, EACH = 10, 2


# --- the database -----------------------------------------------------------


class Library:
    """Authors with three collections each, in a file; and a loop to ask for them in."""

    def __init__(self, at_end: ExitStack, way: Way) -> None:
        from sqlalchemy import Column, ForeignKey, Integer, String, Table
        from sqlalchemy.ext.asyncio import AsyncAttrs, create_async_engine
        from sqlalchemy.orm import registry, relationship

        # Two threads wait for one another. It takes twice as long when the kernel
        # runs them on two processors, and for long stretches it does, or it doesn't.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        mapping = registry()
        self.metadata = mapping.metadata
        self.table = Table(
            "authors",
            mapping.metadata,
            Column("key", Integer, primary_key=True),
            Column("name", String),
        )
        self.parts: dict[str, Table] = {}
        relationships = {}
        for name in PARTS:
            self.parts[name] = Table(
                name,
                mapping.metadata,
                Column("key", Integer, primary_key=True),
                Column("title", String),
                Column("author", ForeignKey("authors.key"), index=True),
            )
            part = type(name, (), {})
            mapping.map_imperatively(part, self.parts[name])
            order = self.parts[name].c.key
            relationships[name] = relationship(part, order_by=order)
        self.author: Any = type("Author", (AsyncAttrs,), {})
        mapping.map_imperatively(self.author, self.table, properties=relationships)
        folder = at_end.enter_context(tempfile.TemporaryDirectory())
        url = f"sqlite+aiosqlite:///{folder}/library.sqlite"
        self.engine = create_async_engine(url)
        factory = copool.aio.new_event_loop if way.anywhere else None
        self.runner = at_end.enter_context(asyncio.Runner(loop_factory=factory))
        at_end.callback(lambda: self.runner.run(self.engine.dispose()))
        self.runner.run(self._fill())

    async def _fill(self) -> None:
        authors = [{"key": n, "name": f"author {n}"} for n in range(AUTHORS)]
        async with self.engine.begin() as connection:
            await connection.run_sync(self.metadata.create_all)
            await connection.execute(self.table.insert(), authors)
            for name, part in self.parts.items():
                rows = [
                    {"author": n, "title": f"{n} {name} {each}"}
                    for n in range(AUTHORS)
                    for each in range(EACH)
                ]
                await connection.execute(part.insert(), rows)

    def query(self, *options: Any) -> Any:
        """Return the query for an author, the seventh."""
        from sqlalchemy import select

        return select(self.author).where(self.table.c.key == 7).options(*options)

    def work(
        self, operations: Callable[[Any, int], Coroutine[Any, Any, Sample]]
    ) -> Work:
        """Return: do so many operations in a session that has a connection."""

        def work(n: int, *, count: bool) -> Sample:
            async def main() -> Sample:
                from sqlalchemy.ext.asyncio import AsyncSession

                async with AsyncSession(self.engine) as session:
                    return await operations(session, n)

            return self.runner.run(main())

        return work


# --- the cases: what is needed is imported and made, then the work returned ---


def _session_execute(at_end: ExitStack, way: Way, variant: str) -> Work:
    library = Library(at_end, way)
    query = library.query()

    async def operations(session: Any, n: int) -> Sample:
        found = 0
        await session.execute(query)  # connects
        start = clock()
        for _ in repeat(None, n):
            author = (await session.execute(query)).scalar_one()
            found += author.name == "author 7"
        return Sample(clock() - start, n, found)

    return library.work(operations)


def _lazy_load(at_end: ExitStack, way: Way, variant: str) -> Work:
    library = Library(at_end, way)

    async def touching(session: Any, n: int) -> Sample:
        found = 0
        author = await session.scalar(library.query())
        start = clock()
        for _ in repeat(None, n):
            session.expire(author, ("books",))
            found += len(author.books) == EACH
        return Sample(clock() - start, n, found)

    async def awaiting(session: Any, n: int) -> Sample:
        found = 0
        author = await session.scalar(library.query())
        start = clock()
        for _ in repeat(None, n):
            session.expire(author, ("books",))
            found += len(await author.awaitable_attrs.books) == EACH
        return Sample(clock() - start, n, found)

    return library.work(touching if way.anywhere else awaiting)


PAGE = """<h1>{{ author.name }}</h1>
{% for part in author.books %}<p>{{ part.title }}</p>
{% endfor %}{% for part in author.prizes %}<p>{{ part.title }}</p>
{% endfor %}{% for part in author.letters %}<p>{{ part.title }}</p>
{% endfor %}"""


def expected_page() -> bytes:
    """Return what a request for the page gets."""
    parts = (f"7 {name} {each}" for name in PARTS for each in range(EACH))
    lines = ["<h1>author 7</h1>", *(f"<p>{part}</p>" for part in parts)]
    return "\n".join([*lines, ""]).encode()


def application(library: Library, variant: str) -> Any:
    """Make the application: a page of FastAPI's with a session of its own."""
    from fastapi import Depends, FastAPI
    from fastapi.responses import HTMLResponse
    from jinja2 import Environment
    from sqlalchemy import orm
    from sqlalchemy.ext.asyncio import AsyncSession

    eager = {LAZY: (), SELECTIN: ("selectinload",), JOINED: ("joinedload",)}[variant]
    options = [
        getattr(orm, load)(getattr(library.author, name))
        for load in eager
        for name in PARTS
    ]
    query = library.query(*options)
    template = Environment(autoescape=True, keep_trailing_newline=True).from_string(
        PAGE
    )
    app = FastAPI()

    async def open_session() -> Any:
        async with AsyncSession(library.engine) as session:
            yield session

    # What it is told by annotations can't be local names that are strings.
    async def page(session=Depends(open_session)):  # type: ignore[no-untyped-def]  # noqa: B008
        author = await session.scalar(query)
        return HTMLResponse(template.render(author=author))

    app.get("/page", response_model=None)(page)
    return app


async def request(app: Any) -> bytes:
    """Call the application as a server does, but without one; return the body."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/page",
        "raw_path": b"/page",
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    body = b""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal body
        body += message.get("body", b"")

    await app(scope, receive, send)
    return body


def _request(at_end: ExitStack, way: Way, variant: str) -> Work:
    library = Library(at_end, way)
    app, expected = application(library, variant), expected_page()

    def work(n: int, *, count: bool) -> Sample:
        async def main() -> Sample:
            found = 0
            start = clock()
            for _ in repeat(None, n):
                found += await request(app) == expected
            return Sample(clock() - start, n, found)

        return library.runner.run(main())

    return work


WORKS: Mapping[str, Callable[[ExitStack, Way, str], Work]] = {
    "session-execute": _session_execute,
    "lazy-load": _lazy_load,
    "request": _request,
}


def main(arguments: list[str]) -> None:
    """Entry point of the process."""
    case, subject, variant = arguments
    obey(lambda at_end: WORKS[case](at_end, WAYS[subject], variant), EXTRA)


if __name__ == "__main__":
    main(sys.argv[1:])
