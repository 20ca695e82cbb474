"""/admin/v1/sessions: who is signed in is told to admins, and ended by them at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.callers.roles import Role
from gateway.callers.sessions import Sessions
from gateway.cli.commands import app
from tests.doors.office import Desk, desk
from tests.stories.front_door import House, a_house
from tests.web.visiting import visiting

pytestmark = pytest.mark.anyio

ANN, BOB = "ann@example.com <1>", "<2>"
PEOPLE = ((ANN, "finance"), (ANN, "finance"), (BOB, "viewer@brand"))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with a_house(tmp_path) as opened:
        yield opened


def signed_in(house: House) -> list[str]:
    """Tokens of the people, in their order."""
    inside = house.gateway.gateway
    sessions = Sessions(inside.database, inside.settings.org, inside.clock, inside._keys)
    return [sessions.begin_for_person(name, Role.parse(role), "oidc") for name, role in PEOPLE]


def at(house: House, role: str) -> Desk:
    return Desk(house, house.gateway.key(app="by-" + role.replace("@", "-"), role=role))


async def names(who: Desk) -> list[str]:
    told = await who.get("/sessions")
    return [one["principal"] for one in told["sessions"]]


async def test_an_admin_sees_who_is_signed_in_and_ends_all_that_is_somebodys(
    house: House,
) -> None:
    tokens, admin = signed_in(house), desk(house)
    async with visiting(house.gateway) as visitor:
        visitor.keep(tokens[0])
        assert (await visitor.get("/")).status == 200
        assert await names(admin) == [name for name, _ in PEOPLE]
        told = str(await admin.get("/sessions"))
        assert not any(token in told for token in tokens)

        ended = await admin.ask("POST", "/sessions/end", {"name": ANN})

        assert ended.json == {"ended": 2}
        assert (await visitor.get("/")).status == 303
    assert await names(admin) == [BOB]
    (change,) = (await admin.get(f"/changes?subject={ANN.replace(' ', '%20')}"))["changes"]
    assert (change["what"], change["before"]) == (
        "sessions.end",
        {"role": "finance", "sessions": 2},
    )
    again = await admin.ask("POST", "/sessions/end", {"name": ANN})
    assert (again.status, again.error["code"]) == (404, "not_found")


async def test_an_admin_of_one_team_reaches_its_sessions_alone(house: House) -> None:
    signed_in(house)
    admin = at(house, "admin@brand")
    assert await names(admin) == [BOB]
    assert (await admin.ask("POST", "/sessions/end", {"name": ANN})).status == 404
    assert (await admin.ask("POST", "/sessions/end", {"name": BOB})).json == {"ended": 1}


@pytest.mark.parametrize("role", ["app", "viewer", "finance", "platform", "platform@brand"])
async def test_nobody_else_sees_or_ends_a_session(role: str, house: House) -> None:
    signed_in(house)
    other = at(house, role)
    assert (await other.ask("GET", "/sessions")).status == 403
    assert (await other.ask("POST", "/sessions/end", {"name": ANN})).status == 403
    assert len(await names(desk(house))) == len(PEOPLE)


async def test_the_command_line_ends_them_too(house: House) -> None:
    signed_in(house)
    environment: dict[str, Any] = {
        "COLUMNS": "200",
        "JOBGATE_DATABASE_URL": house.gateway.gateway.settings.database_url,
    }

    def jobgate(*arguments: str) -> tuple[int, str]:
        told = CliRunner().invoke(app, ["sessions", *arguments], env=environment)
        return told.exit_code, told.output

    assert ANN in jobgate("list")[1]
    assert jobgate("end", ANN) == (0, f"2 sessions of {ANN} ended\n")
    status, said = jobgate("end", ANN)
    assert (status, "see `jobgate sessions list`" in said) == (2, True)
