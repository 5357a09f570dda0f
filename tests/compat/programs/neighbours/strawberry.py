"""Strawberry: plain resolvers, which load what the query asks for, through ASGI."""

from typing import Any

import strawberry
from sqlalchemy import select
from sqlalchemy.ext.asyncio import async_sessionmaker
from strawberry.asgi import GraphQL

from neighbours import models
from neighbours.models import Base, client_of, created, teams


@strawberry.type
class Hero:
    model: strawberry.Private[models.Hero]

    @strawberry.field
    def name(self) -> str:
        return self.model.name

    @strawberry.field
    def team(self) -> "Team":
        return Team(model=self.model.team)


@strawberry.type
class Team:
    model: strawberry.Private[models.Team]

    @strawberry.field
    def name(self) -> str:
        return self.model.name

    @strawberry.field
    def heroes(self) -> list[Hero]:
        return [Hero(model=hero) for hero in self.model.heroes]


@strawberry.type
class Query:
    @strawberry.field
    async def teams(self, info: strawberry.Info) -> list[Team]:
        found = await info.context["session"].scalars(
            select(models.Team).order_by(models.Team.id)
        )
        return [Team(model=team) for team in found]

    @strawberry.field
    def hero(self, info: strawberry.Info, name: str) -> Hero:
        """A plain function that asks the session itself, without an `await`."""
        wanted = select(models.Hero).where(models.Hero.name == name)
        return Hero(model=info.context["session"].sync_session.scalar(wanted))


class _Served(GraphQL[Any, None]):
    """What a server gets: each query has a session."""

    def __init__(self, sessions: Any) -> None:
        super().__init__(strawberry.Schema(Query))
        self.sessions = sessions

    async def get_context(self, request: Any, response: Any) -> Any:
        return {"session": request.scope["state"]["session"]}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async with self.sessions() as session:
            await super().__call__(
                {**scope, "state": {"session": session}}, receive, send
            )


async def _answer(query: str) -> Any:
    async with (
        created(Base, *teams()) as engine,
        client_of(_Served(async_sessionmaker(engine))) as client,
    ):
        answer = (await client.post("/", json={"query": query})).json()
    if "errors" in answer:
        raise RuntimeError(answer["errors"])
    return answer["data"]


async def plain_resolvers_load_relationships():
    answer = await _answer("{ teams { name heroes { name team { name } } } }")
    assert answer["teams"] == [
        {
            "name": "Preventers",
            "heroes": [
                {"name": "Rusty", "team": {"name": "Preventers"}},
                {"name": "Tarantula", "team": {"name": "Preventers"}},
            ],
        },
        {
            "name": "Z-Force",
            "heroes": [{"name": "Deadpond", "team": {"name": "Z-Force"}}],
        },
    ]


async def a_plain_resolver_asks_the_session():
    answer = await _answer('{ hero(name: "Deadpond") { team { name } } }')
    assert answer["hero"] == {"team": {"name": "Z-Force"}}
