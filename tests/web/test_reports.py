"""Reports: every figure is the ledger's, files say what the page says, a team sees its own."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.ledger.months import ClosedMonth, month_of, parse_month
from gateway.treasury.closing import MonthClosing
from tests.gateways import TESTER
from tests.stories.front_door import QUESTION, House, a_house
from tests.web.visiting import visiting

pytestmark = pytest.mark.anyio

NANOS = 10**9


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Two teams that have asked for something."""
    async with a_house(tmp_path_factory.mktemp("books")) as opened:
        for team, job, times in (
            ("brand", "extraction", 3),
            ("brand", "volume", 1),
            ("legal", "private", 2),
        ):
            client = opened.gateway.client(opened.gateway.key(team=team, app=f"{team}-{job}"))
            for _ in range(times):
                await client.chat.completions.create(model=job, messages=QUESTION)  # type: ignore[arg-type]
        yield opened


def this_month(house: House) -> str:
    zone = house.gateway.gateway.routes.time_zone
    return str(month_of(house.gateway.gateway.clock.now(), zone))


def booked(house: House, by: str) -> dict[str, int]:
    """What the entries come to."""
    found: dict[str, int] = defaultdict(int)
    for entry in house.gateway.entries():
        found[entry[by]] += entry["amount_nanos"]
    return dict(found)


async def test_each_team_comes_to_what_its_entries_come_to(house: House) -> None:
    async with visiting(house.gateway, "finance") as visitor:
        page = await visitor.get("/reports")

    assert page.status == 200
    assert {name: figures[-1] for name, figures in page.rows("team").items()} == booked(
        house, "team"
    )
    assert {name: figures[-1] for name, figures in page.rows("provider").items()} == booked(
        house, "provider"
    )


async def test_a_statement_and_its_files_say_the_same(house: House) -> None:
    query = f"?team=brand&month={this_month(house)}"
    total = booked(house, "team")["brand"]
    async with visiting(house.gateway, "finance") as visitor:
        page = await visitor.get(f"/reports/statement{query}")
        files = {
            kind: await visitor.get(f"/reports/statement.{kind}{query}")
            for kind in ("html", "csv", "json")
        }

    assert f'data-closing><data value="{total}"' in page.text
    assert sum(figures[-1] for figures in page.rows("charge").values()) == total
    assert json.loads(files["json"].text)["closing"]["amount_nanos"] == total
    rows = list(csv.DictReader(io.StringIO(files["csv"].text)))
    assert [int(r["amount_nanos"]) for r in rows if r["section"] == "closing"] == [total]
    for kind, file in files.items():
        assert file.status == 200
        assert f"statement-brand-{this_month(house)}.{kind}" in str(file.headers)
        assert "attachment" in str(file.headers)


async def test_the_focus_download_adds_up_to_the_ledger(house: House) -> None:
    async with visiting(house.gateway, "finance") as visitor:
        file = await visitor.get(f"/reports/focus.csv?month={this_month(house)}")

    rows = list(csv.DictReader(io.StringIO(file.text)))
    billed = sum(Decimal(row["BilledCost"]) for row in rows)
    assert billed * NANOS == sum(booked(house, "team").values())


async def test_a_role_for_one_team_sees_that_team_alone(house: House) -> None:
    month = this_month(house)
    async with visiting(house.gateway, "finance@legal") as visitor:
        page = await visitor.get("/reports")
        theirs = [
            await visitor.get(f"/reports/statement{kind}?team=brand&month={month}")
            for kind in ("", ".html", ".csv", ".json")
        ]
        own = await visitor.get(f"/reports/statement?team=legal&month={month}")
        file = await visitor.get(f"/reports/focus.csv?month={month}")

    assert set(page.rows("team")) == {"legal"}
    assert "team=brand" not in page.text
    assert [answer.status for answer in theirs] == [403] * 4
    assert own.status == 200
    rows = list(csv.DictReader(io.StringIO(file.text)))
    assert {row["SubAccountId"] for row in rows} == {"legal"}
    assert "brand" not in file.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/reports?month=yesterday", 400),
        ("/reports/statement", 400),
        ("/reports/statement?team=brand", 400),
        ("/reports/statement?team=brand&month=2026-13", 400),
        ("/reports/statement?team=../etc&month=2026-01", 400),
        ("/reports/statement?team=brand&month=2001-01", 404),
        ("/reports/focus.csv", 400),
        ("/reports/focus.csv?month=1", 400),
    ],
)
async def test_what_cannot_be_reported_is_told_plainly(
    path: str, status: int, house: House
) -> None:
    async with visiting(house.gateway, "viewer") as visitor:
        assert (await visitor.get(path)).status == status


async def test_a_closed_month_is_listed_with_what_was_written_down(tmp_path: Path) -> None:
    async with a_house(tmp_path) as house:
        gateway = house.gateway.gateway
        closing = MonthClosing(gateway.settings.org, "sqlite", gateway._calendar)
        with gateway.database.writing() as cursor:
            found = closing.close(cursor, parse_month("2026-01"), TESTER, SystemClock().now())
        assert isinstance(found, ClosedMonth)
        async with visiting(house.gateway, "finance") as visitor:
            page = await visitor.get("/reports?month=2026-01")

    assert "Closed by tester" in page.text
    assert '<a href="/reports?month=2026-01">2026-01</a>' in page.text
