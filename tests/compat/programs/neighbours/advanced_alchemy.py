"""Advanced Alchemy below Litestar: a service, its schemas, and DTOs of models."""

import json

from advanced_alchemy.extensions.litestar import (
    AsyncSessionConfig,
    SQLAlchemyAsyncConfig,
    SQLAlchemyDTO,
    SQLAlchemyDTOConfig,
    SQLAlchemyPlugin,
    providers,
    repository,
    service,
)
from litestar import Litestar, get, post
from neighbour import call
from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from neighbours.models import FILE, Base, Hero, Team, client_of, created, teams, text_of


class HeroSchema(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    name: str


class TeamSchema(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    name: str
    heroes: list[HeroSchema]


class TeamService(service.SQLAlchemyAsyncRepositoryService[Team]):
    class Repository(repository.SQLAlchemyAsyncRepository[Team]):
        model_type = Team

    repository_type = Repository


class Heroes(repository.SQLAlchemyAsyncRepository[Hero]):
    model_type = Hero


class TeamDTO(SQLAlchemyDTO[Team]):
    config = SQLAlchemyDTOConfig(max_nested_depth=1)


def _teams_service():
    return {"teams": providers.create_service_provider(TeamService)}


@get("/teams/{team_id:int}", dependencies=_teams_service(), return_dto=TeamDTO)
async def team(teams: TeamService, team_id: int) -> Team:
    return await teams.get(team_id)


@get("/schemas", dependencies=_teams_service())
async def schemas(teams: TeamService) -> service.OffsetPagination[TeamSchema]:
    found, total = await teams.list_and_count(order_by=[("id", False)])
    return teams.to_schema(found, total, schema_type=TeamSchema)


@post("/teams", dependencies=_teams_service())
async def add(teams: TeamService, data: dict[str, str]) -> TeamSchema:
    added = await teams.create(
        Team(id=3, name=data["name"]), auto_commit=True, auto_refresh=False
    )
    return teams.to_schema(added, schema_type=TeamSchema)


@get("/plain/{team_id:int}", sync_to_thread=False)
def plain(db_session: AsyncSession, team_id: int) -> list[str]:
    return [hero.name for hero in db_session.sync_session.get(Team, team_id).heroes]


HANDLERS = [team, schemas, add, plain]
del team, schemas, add  # no checks


def _app():
    config = SQLAlchemyAsyncConfig(
        connection_string=FILE,
        session_config=AsyncSessionConfig(expire_on_commit=True),
    )
    return Litestar(HANDLERS, plugins=[SQLAlchemyPlugin(config)], debug=True)


async def _ask(method, path, **data):
    async with created(Base, *teams()):
        app = _app()
        async with app.lifespan(), client_of(app) as client:
            answer = await client.request(method, path, **data)
    return json.loads(text_of(answer))


async def a_dto_of_a_model_loads_its_relationships():
    found = await _ask("GET", "/teams/1")
    assert [hero["name"] for hero in found["heroes"]] == ["Rusty", "Tarantula"]


async def a_service_makes_schemas_of_what_it_loads():
    found = await _ask("GET", "/schemas")
    assert [(one["name"], len(one["heroes"])) for one in found["items"]] == [
        ("Preventers", 2),
        ("Z-Force", 1),
    ]


async def what_it_has_committed_is_loaded():
    assert await _ask("POST", "/teams", json={"name": "Avengers"}) == {
        "name": "Avengers",
        "heroes": [],
    }


async def a_plain_endpoint_asks_the_session():
    assert await _ask("GET", "/plain/1") == ["Rusty", "Tarantula"]


async def a_repository_s_objects_load_in_a_plain_function():
    async with (
        created(Base, *teams()) as engine,
        async_sessionmaker(engine)() as session,
    ):
        hero = await Heroes(session=session).get_one(name="Deadpond")
        assert await call(lambda: hero.team.name) == "Z-Force"
