"""/admin/v1/spend: what was spent, to the nano, and to a team nothing but its own."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator

import pytest

from tests.doors.office import desk
from tests.scripted import Script
from tests.stories.front_door import QUESTION, House, a_house

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Two teams have spent 65,000 and 130,000 nano-dollars on text."""
    async with a_house(tmp_path_factory.mktemp("spend")) as opened:
        opened.provider.script = Script(text="Well.", input=10, output=4)
        for team, times in (("brand", 1), ("data", 2)):
            client = opened.gateway.client(opened.gateway.key(team=team, app=f"{team}-app"))
            for _ in range(times):
                await client.chat.completions.create(model="extraction", messages=QUESTION)
        yield opened


EACH = 10 * 2_500 + 4 * 10_000
"""Nano-dollars of one request."""


async def test_spending_is_told_by_dimension_with_its_total(house: House) -> None:
    told = await desk(house, "viewer", app="v1").get("/spend?by=team,job")
    assert told["by"] == ["team", "job"]
    assert [(row["team"], row["job"], row["amount_nanos"]) for row in told["spend"]] == [
        ("data", "extraction", 2 * EACH),
        ("brand", "extraction", EACH),
    ]
    assert told["spend"][0]["amount_usd"] == "0.000130000"
    assert (told["total"]["amount_nanos"], told["total"]["input"]) == (3 * EACH, 30)
    assert told["zone"] == "Europe/Berlin"


async def test_a_role_for_one_team_is_told_that_teams_spending_alone(house: House) -> None:
    told = await desk(house, "finance@brand", app="v2").get("/spend?by=team")
    assert [row["team"] for row in told["spend"]] == ["brand"]
    assert told["total"]["amount_nanos"] == EACH
    by_model = await desk(house, "finance@brand", app="v3").get("/spend?by=model_served")
    assert by_model["total"]["amount_nanos"] == EACH, "from the entries too"


async def test_as_csv_it_is_what_the_command_prints(house: House) -> None:
    asked = await desk(house, "finance", app="v4").ask("GET", "/spend?by=team&format=csv")
    rows = list(csv.DictReader(io.StringIO(asked.raw.decode())))
    assert [(row["team"], row["amount_nanos"]) for row in rows] == [
        ("data", str(2 * EACH)),
        ("brand", str(EACH)),
    ]


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("by=colour", 400, "by: 'colour' is not one of team, app, job"),
        ("from=2026-13-01", 400, "from: '2026-13-01' is not a day such as 2026-11-01"),
        ("to=9999-12-31", 409, "to: '9999-12-31' is not a day"),
        ("from=0001-01-01&zone=Asia/Tokyo", 409, "from: '0001-01-01' is not a day"),
        ("from=2999-01-01", 409, "from 2999-01-01 is not before to today"),
        ("zone=Mars", 404, "zone: there is no time zone 'Mars'"),
        ("zone=/etc/passwd", 404, "there is no time zone"),
        ("format=xml", 400, "format"),
    ],
)
async def test_what_cannot_be_asked_is_told(
    query: str, status: int, said: str, house: House
) -> None:
    told = await desk(house, "finance", app="v5").ask("GET", f"/spend?{query}")
    assert (told.status, said in str(told.json["error"]["message"])) == (status, True), told.raw


async def test_an_app_key_is_told_nothing(house: House) -> None:
    told = await desk(house, "app", app="v6").ask("GET", "/spend")
    assert told.status == 403
