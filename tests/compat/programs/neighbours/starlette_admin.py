"""starlette-admin: pages that show rows by plain functions of these."""

from neighbour import passes
from starlette.applications import Starlette
from starlette_admin.contrib.sqla import Admin, ModelView

from neighbours.models import Base, Hero, Team, client_of, created, teams, text_of


# Its middleware makes a task for the page, which only anywhere mode gets below.
@passes("anywhere")
async def a_page_shows_what_rows_load_to_name_themselves():
    Team.__admin_repr__ = lambda self, request: str(self)
    async with created(Base, *teams()) as engine:
        app = Starlette()
        admin = Admin(engine, secret_key="none")
        admin.add_view(ModelView(Team))
        admin.add_view(ModelView(Hero))
        admin.mount_to(app)
        async with client_of(app) as client:
            text = text_of(await client.get("/admin/hero/detail?pk=1"))
            assert "Preventers: Rusty, Tarantula" in text, text
