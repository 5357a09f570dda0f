"""FastAPI Pagination: pages whose items load their relationships."""

from fastapi import FastAPI
from fastapi_pagination import Page, add_pagination
from fastapi_pagination.ext.sqlalchemy import apaginate
from neighbour import passes
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.ext.asyncio import async_sessionmaker

from neighbours.models import Base, Team, client_of, created, teams


class HeroOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    name: str


class TeamOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    name: str
    heroes: list[HeroOut]


# It makes the page below SQLAlchemy's greenlet_spawn(), here or there.
@passes("anywhere", "bridged", "not")
async def the_items_of_a_page_load_their_relationships():
    async with created(Base, *teams()) as engine:
        sessions, app = async_sessionmaker(engine), FastAPI()

        @app.get("/teams", response_model=Page[TeamOut])
        async def read():
            async with sessions() as session:
                return await apaginate(session, select(Team).order_by(Team.id))

        add_pagination(app)
        async with client_of(app) as client:
            page = (await client.get("/teams", params={"size": 1, "page": 2})).json()
    assert (page["total"], page["items"]) == (
        2,
        [{"name": "Z-Force", "heroes": [{"name": "Deadpond"}]}],
    )
