"""/admin/v1/teams and /apps: made, told, changed and removed; a team's role sees its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.doors.office import Desk, desk
from tests.stories.front_door import House, a_house

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with a_house(tmp_path) as opened:
        yield opened


@pytest.fixture
def admin(house: House) -> Desk:
    return desk(house)


async def test_a_team_and_its_app_live_from_their_making_to_their_removal(
    house: House, admin: Desk
) -> None:
    team = await admin.make("/teams", name="legal", contact="law@example.com")
    app = await admin.make("/apps", name="contracts", team="legal")
    key = await admin.make("/keys", team="legal", app="contracts")

    assert await admin.get("/teams/legal") == team
    assert (team["contact"], team["created_at"][-1]) == ("law@example.com", "Z")
    assert await admin.get("/apps?team=legal") == {"apps": [app]}
    changed = await admin.ask("PATCH", "/apps/contracts", {"contact": "ann"})
    assert changed.json == {**app, "contact": "ann"}
    assert (await admin.ask("DELETE", "/teams/legal")).status == 409
    assert (await admin.ask("DELETE", "/apps/contracts")).status == 409
    assert (await admin.ask("DELETE", f"/keys/{key['id']}")).status == 204
    assert (await admin.ask("DELETE", "/apps/contracts")).status == 204
    assert (await admin.ask("DELETE", "/teams/legal")).status == 204
    assert (await admin.ask("GET", "/teams/legal")).status == 404
    assert (await admin.ask("DELETE", "/teams/legal")).status == 404
    assert {team["name"] for team in (await admin.get("/teams"))["teams"]} == {"brand", "platform"}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/teams", {"name": "brand"}, 409),
        ("/teams", {"name": "a b"}, 400),
        ("/teams", {"name": ""}, 400),
        ("/teams", {"name": "x" * 65}, 400),
        ("/teams", {"name": "x\n"}, 400),
        ("/teams", {"name": "x", "created_at": 0}, 400),
        ("/teams", {"name": "x", "contact": "a\nb"}, 400),
        ("/teams", {"name": "x", "contact": "\x00"}, 400),
        ("/teams", {"name": "x", "contact": "\ud800"}, 400),
        ("/teams", {"name": "x", "contact": "x" * 201}, 400),
        ("/apps", {"name": "site", "team": "brand"}, 409),
        ("/apps", {"name": "x", "team": "nobody"}, 404),
        ("/apps", {"name": "x"}, 400),
    ],
)
async def test_what_makes_no_sense_is_not_made(
    path: str, body: Any, status: int, admin: Desk
) -> None:
    before = [await admin.get("/teams"), await admin.get("/apps")]

    assert (await admin.ask("POST", path, body)).status == status

    assert [await admin.get("/teams"), await admin.get("/apps")] == before


@pytest.mark.parametrize("body", [{"team": "legal"}, {"name": "other"}, {}, {"contact": None}])
async def test_an_app_keeps_its_name_and_its_team(body: Any, admin: Desk) -> None:
    before = await admin.get("/apps/site")

    assert (await admin.ask("PATCH", "/apps/site", body)).status == 400

    assert await admin.get("/apps/site") == before


async def test_a_role_for_one_team_sees_and_changes_its_own_alone(house: House) -> None:
    house.gateway.key(team="legal", app="contracts")
    own = desk(house, "platform@brand")

    assert [team["name"] for team in (await own.get("/teams"))["teams"]] == ["brand"]
    assert {app["team"] for app in (await own.get("/apps"))["apps"]} == {"brand"}
    assert (await own.ask("GET", "/teams/legal")).status == 404
    assert (await own.ask("PATCH", "/apps/contracts", {"contact": "x"})).status == 404
    assert (await own.ask("DELETE", "/apps/contracts")).status == 404
    assert (await own.ask("POST", "/apps", {"name": "x", "team": "legal"})).status == 403
    assert (await own.ask("POST", "/apps", {"name": "x", "team": "brand"})).status == 201
    assert (await own.ask("PATCH", "/apps/x", {"contact": "me"})).status == 200
    assert (await own.ask("DELETE", "/apps/x")).status == 204


async def test_the_books_of_one_team_are_not_shown_to_another(house: House) -> None:
    told = await house.ask("private")
    path = f"/entries?request_id={told.headers['x-jobgate-request-id']}"
    legal = desk(house, "finance@legal", app="lawyers", team="legal")

    assert (await desk(house, "finance@brand").ask("GET", path)).status == 200
    assert (await legal.ask("GET", path)).status == 404


async def test_who_i_am_and_which_rules_are_live(house: House) -> None:
    viewer = desk(house, "viewer@brand")

    me, rules = await viewer.get("/me"), await viewer.get("/routes")

    assert (me["role"], me["team"]) == ("viewer@brand", "brand")
    assert me["permissions"] == ["read the books", "see teams, apps and keys", "see the routes"]
    assert rules["version"] == house.gateway.gateway.routes.version
    assert {job["name"] for job in rules["jobs"]} == set(house.gateway.gateway.routes.jobs)
    assert rules["aliases"] == {"gpt-4o": "extraction"}
