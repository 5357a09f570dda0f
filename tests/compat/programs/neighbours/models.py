"""Teams and heroes, as SQLAlchemy's own models, and a file with some of them."""

from contextlib import asynccontextmanager

import httpx
from neighbour import application
from sqlalchemy import ForeignKey
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

FILE = "sqlite+aiosqlite:///neighbours.db"


class Base(DeclarativeBase):
    pass


class Team(Base):
    __tablename__ = "team"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    heroes: Mapped[list["Hero"]] = relationship(
        back_populates="team", order_by="Hero.id"
    )

    def __str__(self):
        return f"{self.name}: {', '.join(hero.name for hero in self.heroes)}"


class Hero(Base):
    __tablename__ = "hero"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    team_id: Mapped[int] = mapped_column(ForeignKey("team.id"))
    team: Mapped[Team] = relationship(back_populates="heroes")


@asynccontextmanager
async def created(base, *rows):
    """An engine with a file that has those rows and no others."""
    engine = create_async_engine(FILE)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(base.metadata.drop_all)
            await connection.run_sync(base.metadata.create_all)
        async with async_sessionmaker(engine)() as session:
            session.add_all(rows)
            await session.commit()
        yield engine
        assert engine.pool.checkedout() == 0
    finally:
        await engine.dispose()


def teams():
    return [
        Team(
            id=1, name="Preventers", heroes=[Hero(name="Rusty"), Hero(name="Tarantula")]
        ),
        Team(id=2, name="Z-Force", heroes=[Hero(name="Deadpond")]),
    ]


@asynccontextmanager
async def client_of(app):
    """A client of an ASGI application, which gets the errors of it."""
    transport = httpx.ASGITransport(application(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        yield client


def text_of(answer):
    """What a page says, or RuntimeError with it if the page is about an error."""
    if answer.is_error:
        raise RuntimeError(answer.text)
    return answer.text
