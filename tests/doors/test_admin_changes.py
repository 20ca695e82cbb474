"""GET /admin/v1/changes: what was done by whom, page by page, and as a file to keep."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.doors.office import Desk, desk
from tests.stories.front_door import House, a_house

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with a_house(tmp_path) as opened:
        yield opened


async def do_everything(admin: Desk) -> list[str]:
    """One of each change; what it should be called."""
    await admin.make("/teams", name="legal")
    await admin.ask("PATCH", "/teams/legal", {"contact": "law@example.com"})
    await admin.make("/apps", name="contracts", team="legal")
    await admin.ask("PATCH", "/apps/contracts", {"contact": "ann"})
    key = (await admin.make("/keys", team="legal", app="contracts"))["id"]
    await admin.ask("PATCH", f"/keys/{key}", {"role": "viewer@legal", "addresses": ["10.0.0.0/8"]})
    await admin.ask("POST", f"/keys/{key}/rotate", {})
    await admin.ask("DELETE", f"/keys/{key}")
    await admin.ask("DELETE", "/apps/contracts")
    await admin.ask("DELETE", "/teams/legal")
    return [
        *("team.create", "team.change", "app.create", "app.change", "key.create", "key.change"),
        *("key.rotate", "key.revoke", "app.remove", "team.remove"),
    ]


async def test_every_change_says_who_what_before_after_from_where(house: House) -> None:
    admin = desk(house)
    known = (await admin.get("/changes"))["changes"][-1]["number"]
    expected = await do_everything(admin)
    me = (await admin.get("/me"))["name"]

    rows = (await admin.get(f"/changes?after={known}"))["changes"]

    assert [row["what"] for row in rows] == expected
    assert {(row["who"], row["role"], row["origin"]) for row in rows} == {
        (me, "admin", "127.0.0.1")
    }
    assert {row["team"] for row in rows} == {"legal"}
    told = {row["what"]: (row["before"], row["after"]) for row in rows}
    assert told["team.create"] == (None, {"contact": ""})
    assert told["team.change"] == ({"contact": ""}, {"contact": "law@example.com"})
    assert told["team.remove"] == ({"contact": "law@example.com"}, None)
    assert told["key.change"] == (
        {"role": "app", "addresses": ""},
        {"role": "viewer@legal", "addresses": "10.0.0.0/8"},
    )
    assert told["key.create"][1]["role"] == "app"
    assert told["key.revoke"][0] == {"revoked_at": None}


async def test_the_first_start_is_in_it_and_what_was_refused_is_not(house: House) -> None:
    admin = desk(house)
    first = (await admin.get("/changes"))["changes"][0]
    before = await admin.get("/changes")

    await admin.ask("POST", "/teams", {"name": "brand"})
    await admin.ask("PATCH", "/teams/brand", {"contact": "a\nb"})
    await desk(house, "viewer", app="people").ask("POST", "/teams", {"name": "x"})

    after = (await admin.get("/changes"))["changes"]
    assert (first["number"], first["who"], first["what"]) == (1, "gateway", "team.create")
    assert [row["what"] for row in after[len(before["changes"]) :]] == ["key.create"]


async def test_pages_follow_each_other_without_a_gap(house: House) -> None:
    admin = desk(house)
    await do_everything(admin)
    whole = (await admin.get("/changes?limit=1000"))["changes"]
    found, after = [], 0
    while after is not None:
        page = await admin.get(f"/changes?limit=3&after={after}")
        found += page["changes"]
        after = page["next"]

    assert found == whole
    assert [row["number"] for row in whole] == list(range(1, len(whole) + 1))


async def test_the_same_as_csv_is_inert_in_a_spreadsheet(house: House) -> None:
    admin = desk(house)
    await admin.make("/teams", name="legal", contact="=cmd|' /C calc'!A0")

    told = await admin.ask("GET", "/changes?format=csv&limit=1000")
    rows = list(csv.DictReader(io.StringIO(told.raw.decode())))

    assert told.headers["content-type"] == "text/csv; charset=utf-8"
    assert rows[-1]["after"] == '{"contact":"=cmd|\' /C calc\'!A0"}'
    listed = (await admin.get("/changes?limit=1000"))["changes"]
    assert [row["hash"] for row in rows] == [row["hash"] for row in listed]


async def test_a_role_for_one_team_reads_of_its_own_alone(house: House) -> None:
    await do_everything(desk(house))

    rows = (await desk(house, "finance@brand").get("/changes?limit=1000"))["changes"]

    assert {row["team"] for row in rows} == {"brand"}


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "after=-1", "after=x", f"after={2**63}", "format=xml"]
)
async def test_a_question_that_makes_no_sense_is_refused(query: str, house: House) -> None:
    assert (await desk(house).ask("GET", f"/changes?{query}")).status == 400
