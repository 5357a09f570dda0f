"""Serve pages whose templates load what they show while it is rendered.

FastAPI calls the endpoints below in uvicorn's loop, which lets plain functions wait:
an attribute of SQLAlchemy's that has not been loaded loads itself where it is touched,
in a Jinja template or by Pydantic, and the loop goes on meanwhile. Nothing is loaded
by hand.

    python examples/fastapi_sqlalchemy.py            # sends itself 500 requests at once
    python examples/fastapi_sqlalchemy.py --serve    # serves until interrupted

Any server that takes a factory of loops does it; in the folder of this file:

    uvicorn --loop copool.aio:new_event_loop --factory fastapi_sqlalchemy:create_app

Endpoints and dependencies have to be `async def`. FastAPI calls a plain `def` in a
thread of its pool, where no task can wait: there it is an error to touch what is not
loaded. It needs FastAPI, uvicorn, Jinja, SQLAlchemy and aiosqlite, or the driver of
another `--database`.
"""

import argparse
import asyncio
import json
import resource
import socket
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import copool.aio
import copool.greenlet

# Before SQLAlchemy imports greenlet, whose own greenlets would not do.
copool.greenlet.install()

import uvicorn  # noqa: E402
from fastapi import Depends, FastAPI, HTTPException, Request  # noqa: E402
from fastapi.responses import HTMLResponse  # noqa: E402
from fastapi.templating import Jinja2Templates  # noqa: E402
from jinja2 import DictLoader, Environment  # noqa: E402
from pydantic import BaseModel, ConfigDict  # noqa: E402
from sqlalchemy import ForeignKey, event, select  # noqa: E402
from sqlalchemy.ext.asyncio import (  # noqa: E402
    AsyncEngine,
    AsyncSession,
    create_async_engine,
)
from sqlalchemy.orm import (  # noqa: E402
    DeclarativeBase,
    Mapped,
    mapped_column,
    relationship,
)

POOL = 10

# --- what there is --------------------------------------------------------------------


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list["Book"]] = relationship(order_by="Book.id")


class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    reviews: Mapped[list["Review"]] = relationship(order_by="Review.id")


class Review(Base):
    __tablename__ = "review"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    book_id: Mapped[int] = mapped_column(ForeignKey("book.id"))
    reader_id: Mapped[int] = mapped_column(ForeignKey("reader.id"))
    reader: Mapped["Reader"] = relationship()


class Reader(Base):
    __tablename__ = "reader"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


AUTHORS = 50


def authors() -> list[Author]:
    """Make authors with two books each, which a reader each has reviewed."""

    def book(title: str) -> Book:
        review = Review(text=f"On {title}", reader=Reader(name=f"Reader of {title}"))
        return Book(title=title, reviews=[review])

    return [
        Author(name=f"Author {n}", books=[book(f"Book {n}{part}") for part in "ab"])
        for n in range(AUTHORS)
    ]


# --- the application ------------------------------------------------------------------

PAGE = """\
<h1>{{ author.name }}</h1>
{% for book in author.books -%}
<h2>{{ book.title }}</h2>
{% for review in book.reviews -%}
<p>{{ review.text }} ({{ review.reader.name }})</p>
{% endfor %}{% endfor %}"""

templates = Jinja2Templates(
    env=Environment(loader=DictLoader({"author.html": PAGE}), autoescape=True)
)


class BookOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    title: str


class AuthorOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    name: str
    books: list[BookOut]


async def session_of(request: Request) -> AsyncIterator[AsyncSession]:
    async with AsyncSession(request.app.state.engine) as session:
        yield session


async def author_of(
    number: int, session: Annotated[AsyncSession, Depends(session_of)]
) -> Author:
    query = select(Author).where(Author.name == f"Author {number}")
    author = await session.scalar(query)
    if author is None:
        raise HTTPException(404)
    return author


class Watch:
    """Counts the connections of a pool, those in use, and the threads that use them."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.opened = self.in_use = self.most_in_use = 0
        self.threads: set[int] = set()
        pool = engine.sync_engine.pool
        event.listen(pool, "connect", self.connect)
        event.listen(pool, "checkout", self.checkout)
        event.listen(pool, "checkin", self.checkin)

    def connect(self, *_: Any) -> None:
        self.opened += 1

    def checkout(self, *_: Any) -> None:
        self.in_use += 1
        self.most_in_use = max(self.most_in_use, self.in_use)
        self.threads.add(threading.get_ident())

    def checkin(self, *_: Any) -> None:
        self.in_use -= 1


def create_app(database: str = "") -> FastAPI:
    """Make the application, with a database of its own unless the URL of one is given.

    Tables that are missing are made, and filled.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with tempfile.TemporaryDirectory() as folder:
            url = database or f"sqlite+aiosqlite:///{folder}/books.sqlite"
            engine = create_async_engine(
                url, pool_size=POOL, max_overflow=0, pool_timeout=60
            )
            app.state.engine, app.state.watch = engine, Watch(engine)
            try:
                await fill(engine)
                yield
            finally:
                await engine.dispose()

    app = FastAPI(lifespan=lifespan)

    @app.get("/authors/{number}", response_class=HTMLResponse)
    async def page(
        request: Request, author: Annotated[Author, Depends(author_of)]
    ) -> Any:
        return templates.TemplateResponse(request, "author.html", {"author": author})

    @app.get("/authors/{number}/json", response_model=AuthorOut)
    async def data(author: Annotated[Author, Depends(author_of)]) -> Any:
        return author

    return app


async def fill(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session, session.begin():
        if await session.scalar(select(Author).limit(1)) is None:
            session.add_all(authors())


# --- serving and asking ---------------------------------------------------------------


@asynccontextmanager
async def serving(application: Any) -> AsyncIterator[int]:
    """Serve an application in this loop, on a port that the system chooses."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        config = uvicorn.Config(
            application, http="h11", log_level="warning", timeout_graceful_shutdown=5
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not (server.started or task.done()):
                await asyncio.sleep(0.01)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await task


async def ask(port: int, path: str) -> str:
    """Return what the server answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
        )
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    finally:
        writer.close()
    if head.split()[1:2] != ["200"]:
        raise RuntimeError(f"unexpected answer: {head}")
    return body


def expectation(number: int) -> tuple[str, str]:
    """Return what a request asks for, a page or JSON, and what is to come."""
    author = number // 2 % AUTHORS
    books = [f"Book {author}{part}" for part in "ab"]
    if number % 2:
        data = {"name": f"Author {author}", "books": [{"title": b} for b in books]}
        return f"/authors/{author}/json", json.dumps(data, separators=(",", ":"))
    page = f"<h1>Author {author}</h1>\n" + "".join(
        f"<h2>{book}</h2>\n<p>On {book} (Reader of {book})</p>\n" for book in books
    )
    return f"/authors/{author}", page


async def ask_itself(database: str, requests: int) -> None:
    """Send all requests at once, and print what came of them."""
    allow_open_files(2 * requests + 100)
    app = create_app(database)
    paths, expected = zip(*map(expectation, range(requests)), strict=True)
    async with serving(app) as port:
        began = time.perf_counter()
        answers = await asyncio.gather(*(ask(port, path) for path in paths))
        seconds = time.perf_counter() - began
        watch = app.state.watch
        drivers = watch.opened if app.state.engine.driver == "aiosqlite" else 0
        others = threading.active_count() - len(watch.threads) - drivers
    print(
        f"{requests:5} requests, sent at once\n"
        f"{sum(map(str.__eq__, answers, expected)):5} right answers\n"
        f"{watch.most_in_use:5} connections in use at a time, at the most\n"
        f"{watch.in_use:5} of them in use at the end\n"
        f"{len(watch.threads):5} thread for the endpoints, the server and the client\n"
        f"{drivers:5} threads of aiosqlite, one for each connection\n"
        f"{others:5} other threads\n"
        f"{seconds:5.2f} seconds"
    )


def allow_open_files(number: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Serve pages that load themselves.")
    parser.add_argument("--requests", type=int, default=500, metavar="N")
    parser.add_argument("--database", default="", metavar="URL", help="for SQLAlchemy")
    parser.add_argument("--serve", action="store_true", help="serve until interrupted")
    parser.add_argument("--port", type=int, default=8000, help="with --serve")
    options = parser.parse_args(arguments)
    if options.serve:
        app = create_app(options.database)
        uvicorn.run(app, port=options.port, loop="copool.aio:new_event_loop")
    else:
        copool.aio.run(ask_itself(options.database, options.requests))


if __name__ == "__main__":
    main(sys.argv[1:])
