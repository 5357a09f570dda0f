"""SQLModel below FastAPI: what its tutorial shows for plain sessions, with others."""

import asyncio
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI
from neighbour import call, passes
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlmodel import Field, Relationship, SQLModel, select
from sqlmodel.ext.asyncio.session import AsyncSession

from neighbours.models import client_of, created

REQUESTS = 30  # more than the pool has connections


class TeamBase(SQLModel):
    name: str


class Team(TeamBase, table=True):
    __tablename__ = "sqlmodel_team"
    id: int | None = Field(default=None, primary_key=True)
    heroes: list["Hero"] = Relationship(back_populates="team")


class HeroBase(SQLModel):
    name: str


class Hero(HeroBase, table=True):
    __tablename__ = "sqlmodel_hero"
    id: int | None = Field(default=None, primary_key=True)
    team_id: int | None = Field(default=None, foreign_key="sqlmodel_team.id")
    team: Team | None = Relationship(back_populates="heroes")


class HeroPublic(HeroBase):
    id: int


class HeroPublicWithTeam(HeroPublic):
    team: TeamBase | None = None


class TeamPublicWithHeroes(TeamBase):
    id: int
    heroes: list[HeroPublic] = []


@asynccontextmanager
async def _sessions():
    rows = [
        Team(id=1, name="Preventers", heroes=[Hero(name="Rusty"), Hero(name="Dive")]),
        Team(id=2, name="Z-Force", heroes=[Hero(name="Deadpond")]),
    ]
    async with created(SQLModel, *rows) as engine:
        yield async_sessionmaker(engine, class_=AsyncSession)


def _app(sessions):
    app = FastAPI()

    async def get_session():
        async with sessions() as session:
            yield session

    Session = Annotated[AsyncSession, Depends(get_session)]

    @app.get("/teams/{team_id}", response_model=TeamPublicWithHeroes)
    async def read_team(team_id: int, session: Session):
        return await session.get(Team, team_id)

    @app.get("/heroes", response_model=list[HeroPublicWithTeam])
    async def read_heroes(session: Session):
        return (await session.exec(select(Hero).order_by(Hero.id))).all()

    @app.post("/heroes", response_model=HeroPublicWithTeam)
    async def create_hero(hero: HeroBase, session: Session):
        created = Hero.model_validate(hero, update={"team_id": 2})
        session.add(created)
        await session.commit()
        return created  # expired, and not refreshed

    @app.get("/in_a_thread/{team_id}", response_model=TeamPublicWithHeroes)
    def read_in_a_thread(team_id: int, session: Session):
        return session.sync_session.get(Team, team_id)

    return app


async def a_response_model_loads_its_relationships():
    async with _sessions() as sessions, client_of(_app(sessions)) as client:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(client.get(f"/teams/{1 + n % 2}"))
                for n in range(REQUESTS)
            ]
        answers = [task.result().json() for task in tasks]
        names = [[hero["name"] for hero in answer["heroes"]] for answer in answers]
        assert names == [["Rusty", "Dive"], ["Deadpond"]] * (REQUESTS // 2)


async def a_list_of_them_loads_what_each_belongs_to():
    async with _sessions() as sessions, client_of(_app(sessions)) as client:
        heroes = (await client.get("/heroes")).json()
        found = [(hero["name"], hero["team"]["name"]) for hero in heroes]
        assert sorted(found) == [
            ("Deadpond", "Z-Force"),
            ("Dive", "Preventers"),
            ("Rusty", "Preventers"),
        ]


async def what_a_commit_has_expired_is_loaded():
    async with _sessions() as sessions, client_of(_app(sessions)) as client:
        answer = await client.post("/heroes", json={"name": "Spider-Boy"})
        expected = {"name": "Spider-Boy", "id": 4, "team": {"name": "Z-Force"}}
        assert answer.json() == expected


async def a_plain_function_validates_what_it_has():
    async with _sessions() as sessions, sessions() as session:
        team = await session.get(Team, 1)
        public = await call(TeamPublicWithHeroes.model_validate, team)
        assert [hero.name for hero in public.heroes] == ["Rusty", "Dive"]


@passes()
async def a_plain_endpoint_is_refused_in_its_thread():
    async with _sessions() as sessions, client_of(_app(sessions)) as client:
        await client.get("/in_a_thread/1")
