"""An ORM on aiosqlite that is waited for by plain functions: MODE GREENLET.

MODE is "anywhere" or "run_sync", how await_() is made to work; fails unless the program
then runs on the GREENLET named.
"""

import asyncio
import sys

import copool.aio
import copool.greenlet
from copool.aio import await_, enter, iterate, run_sync

if sys.argv[1] == "anywhere":
    copool.greenlet.install()  # SQLAlchemy imports greenlet at once

from record import provider
from sqlalchemy import ForeignKey, func, select
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    mapped_column,
    relationship,
    selectinload,
)

TASKS = 20


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    addresses: Mapped[list["Address"]] = relationship()


class Address(Base):
    __tablename__ = "address"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    text: Mapped[str]


async def with_await(sessions, n):
    """SQLAlchemy's own way, in a task that may be on a stack of its own."""
    async with sessions() as session:
        session.add(User(id=n, addresses=[Address(text=f"{n} a")]))
        await session.commit()
    async with sessions() as session:
        loaded = select(User).where(User.id == n).options(selectinload(User.addresses))
        user = (await session.execute(loaded)).scalar_one()
        return [address.text for address in user.addresses]


def below(sessions, n):
    """The same in a plain function, with all the ways to load."""
    with enter(sessions()) as session:
        session.add(User(id=n, addresses=[Address(text=f"{n} a")]))
        await_(session.commit())
    with enter(sessions()) as session:
        loaded = select(User).where(User.id == n).options(selectinload(User.addresses))
        user = await_(session.execute(loaded)).scalar_one()
        texts = [address.text for address in user.addresses]
    with enter(sessions()) as session:
        user = await_(session.get_one(User, n))
        assert await_(session.run_sync(lambda _: len(user.addresses))) == 1
        rows = select(Address.text).where(Address.user_id == n)
        assert [row.text for row in iterate(await_(session.stream(rows)))] == texts
    return texts


def is_cancelled_below(sessions):
    with enter(sessions()) as session:
        for _ in iter(int, 1):
            await_(session.execute(select(func.count()).select_from(User)))


async def main(mode):
    engine = create_async_engine("sqlite+aiosqlite:///below.db")
    sessions = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)

    async def call(fn, *args):
        if mode == "anywhere":
            return fn(*args)
        return await run_sync(fn, *args)

    tasks = [with_await(sessions, n) for n in range(TASKS)]
    tasks += [call(below, sessions, n) for n in range(TASKS, 2 * TASKS)]
    assert await asyncio.gather(*tasks) == [[f"{n} a"] for n in range(2 * TASKS)]
    for seconds in (0, 0.001, 0.01):
        try:
            async with asyncio.timeout(seconds):
                await call(is_cancelled_below, sessions)
        except TimeoutError:
            assert engine.pool.checkedout() == 0
    async with sessions() as session:
        count = select(func.count()).select_from(Address)
        assert await session.scalar(count) == 2 * TASKS
    await engine.dispose()


if __name__ == "__main__":
    mode, expected = sys.argv[1:]
    (copool.aio.run if mode == "anywhere" else asyncio.run)(main(mode))
    assert provider() == expected, provider()
