"""sqladmin: hooks that touch what belongs to a row while its session is open."""

from fastapi import FastAPI
from sqladmin import Admin, ModelView

from neighbours.models import Base, Hero, Team, client_of, created, teams, text_of


async def hooks_see_what_belongs_to_the_row_that_changes():
    seen = []

    class Teams(ModelView, model=Team):
        column_list = ("name", "heroes")
        form_columns = ("name",)

        async def after_model_change(self, data, model, is_created, request):
            seen.append(str(model))

    class Heroes(ModelView, model=Hero):
        column_list = ("name", "team.name")

        async def on_model_delete(self, model, request):
            seen.append(f"{model.name} leaves {model.team.name}")

    async with created(Base, *teams()) as engine:
        app = FastAPI()
        admin = Admin(app, engine)
        admin.add_view(Teams)
        admin.add_view(Heroes)
        async with client_of(app) as client:
            listed = text_of(await client.get("/admin/hero/list"))
            text_of(await client.post("/admin/team/edit/2", data={"name": "Z"}))
            text_of(await client.delete("/admin/hero/delete?pks=3"))
    assert "Preventers" in listed
    assert seen == ["Z: Deadpond", "Deadpond leaves Z"]
