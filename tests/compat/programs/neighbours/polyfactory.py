"""Polyfactory: rows made for tests, committed and looked at by plain functions."""

from neighbour import call
from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory
from sqlalchemy.ext.asyncio import async_sessionmaker

from neighbours.models import Base, Hero, Team, created


class Teams(SQLAlchemyFactory[Team]):
    __set_relationships__ = False


class Heroes(SQLAlchemyFactory[Hero]):
    __set_relationships__ = False


async def what_it_has_made_is_loaded_after_the_commit():
    async with created(Base) as engine, async_sessionmaker(engine)() as session:
        Teams.__async_session__ = Heroes.__async_session__ = session
        team = await Teams.create_async(name="Preventers")
        for name in ("Rusty", "Tarantula"):
            await Heroes.create_async(name=name, team_id=await call(lambda: team.id))
        await session.commit()
        assert sorted(await call(lambda: [hero.name for hero in team.heroes])) == [
            "Rusty",
            "Tarantula",
        ]
