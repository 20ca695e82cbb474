"""The list of budgets: however many there are, what is nearest to its limit stands first."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from gateway.clock import FrozenClock
from gateway.insight import outlooks
from gateway.jobs.loading import parse
from gateway.metering.usage import Usage
from gateway.treasury.budgets import Payer
from gateway.web.budget_lists import LINES_AT_MOST
from tests.gateways import BOOK, SECRETS, RunningGateway, routes_for, running
from tests.ledger.spending import Spending
from tests.treasury.booking import opening
from tests.web.visiting import Read, Visitor, visiting

pytestmark = pytest.mark.anyio

NOW = "2026-11-18T15:20:00+01:00"
RUNS, KEYS = 140, 12
BUDGETS = """
  all: {scope: organisation, limit: 50000 USD, period: month}
  tight: {scope: {team: brand}, limit: 900 requests, period: month}
  runs: {scope: {tag: run}, limit: 1000 requests, period: forever}
"""
ROUTES = routes_for("http://127.0.0.1:9", budgets=BUDGETS)
TABLE = "Budgets in their present periods"


@pytest.fixture
async def gateway(sqlite_url: str) -> AsyncIterator[RunningGateway]:
    """A hundred and forty runs, number n with n requests; and keys with budgets of their own."""
    with opening(sqlite_url) as database:
        books = Spending(database).at("2026-11-10T10:00:00+01:00")
        books.budgets = parse(ROUTES, "routes.yaml", BOOK, SECRETS).budgets
        for number in range(RUNS):
            payer = Payer("brand", "site", "key_1", "extraction", {"run": f"r{number:03}"})
            for _ in range(1 + number // 20):
                books.book(Usage(input=5), payer)
    async with running(ROUTES, sqlite_url, clock=FrozenClock(NOW)) as opened:
        for number in range(KEYS):
            opened.key(app=f"app-{number}", budget_nanos=10**9, budget_period="month")
        yield opened


@pytest.fixture
async def finance(gateway: RunningGateway) -> AsyncIterator[Visitor]:
    async with visiting(gateway, "finance") as visitor:
        yield visitor


def lines(page: Read) -> list[tuple[str, str, int]]:
    """Each line of the list: the budget, whom it is for, what is spent."""
    table = page.tables.get(TABLE, [])
    return [(row.cells[0], row.cells[1], row.figures[0]) for row in table if row.figures]


async def test_the_fullest_stand_first_and_others_are_a_link_away(finance: Visitor) -> None:
    page = (await finance.get("/budgets")).page
    found = lines(page)
    names = [name.removesuffix(" warns") for name, _, _ in found]
    assert names[0] == "tight"  # 560 of 900; a run has used at the most 7 of 1,000
    assert names.count("runs") == 8
    assert sum(name.startswith("key ") for name in names) == 8
    assert "all" in names
    assert {spent for name, _, spent in found if name == "runs"} == {7}
    assert "132 more of runs" in page.text
    assert "4 more of the keys' own budgets" in page.text.replace("&#39;", "'")
    assert "/budgets?name=runs" in page.links
    assert "/budgets?own=keys" in page.links
    assert f"{RUNS + KEYS + 2} budgets now" in page.text


async def test_all_of_one_budget_are_shown_page_by_page_each_once(finance: Visitor) -> None:
    place, seen, pages = "/budgets?name=runs", [], 0
    while place:
        page = (await finance.get(place)).page
        found = lines(page)
        assert len(found) <= LINES_AT_MOST
        seen += found
        further = re.search(r'href="([^"]+)">Further from them', page.text)
        place, pages = further[1].replace("&amp;", "&") if further else "", pages + 1
    assert pages == 2
    expected = [("runs", f"r{n:03}", 1 + n // 20) for n in range(RUNS)]
    assert seen == sorted(expected, key=lambda line: (-line[2], line[1]))


async def test_a_budget_is_found_by_a_part_of_its_name_or_of_whom_it_is_for(
    finance: Visitor,
) -> None:
    found = lines((await finance.get("/budgets?find=R03")).page)
    assert [subject for _, subject, _ in found] == [f"r03{n}" for n in range(10)]
    own = lines((await finance.get("/budgets?own=keys")).page)
    assert len(own) == KEYS
    assert [name for name, _, _ in lines((await finance.get("/budgets?find=tigh")).page)] == [
        "tight"
    ]
    nothing = await finance.get("/budgets?find=no-such")
    assert "No budget fits" in nothing.text
    assert nothing.status == 200


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "9" * 12, "²"])
async def test_a_page_that_is_no_number_is_told(finance: Visitor, number: str) -> None:
    assert (await finance.get(f"/budgets?page={number}")).status == 400


async def test_a_page_beyond_the_last_is_the_last(finance: Visitor) -> None:
    last = lines((await finance.get("/budgets?name=runs&page=2")).page)
    assert lines((await finance.get("/budgets?name=runs&page=99")).page) == last


async def test_only_what_is_shown_is_foretold(gateway: RunningGateway, finance: Visitor) -> None:
    """The forecasts of keys that nobody looks at are not made; those that are, are as ever."""
    place = "/budgets?find=tight"
    assert "Working out" in (await finance.get(place)).text
    assert "Working out" not in (await finance.get("/parts/budgets?find=tight&page=1")).text
    assert "Working out" not in (await finance.get(place)).text
    assert "Working out" in (await finance.get("/budgets")).text
    inside = gateway.gateway
    all_of_them = outlooks.look_ahead(
        "budget", inside.database, inside.settings.org, inside.routes, inside.clock.now()
    )
    [expected] = [one.forecast for one in all_of_them if one.name == "tight"]
    [row] = [row for row in (await finance.get(place)).page.tables[TABLE] if row.figures]
    assert row.figures[3] == expected.p50


async def test_the_page_of_a_budget_says_by_itself_where_it_will_end(
    gateway: RunningGateway, finance: Visitor
) -> None:
    """Whoever comes by a link, and never saw the list, is told too, and how good it was before."""
    place = "name=all&subject="
    first = await finance.get(f"/budgets/one?{place}")
    assert 'hx-get="/parts/budget?name=all"' in first.text
    assert "Will probably end at" in first.text
    part = await finance.get(f"/parts/budget?{place}")
    assert "hx-get" not in part.text
    inside = gateway.gateway
    all_of_them = outlooks.look_ahead(
        "budget", inside.database, inside.settings.org, inside.routes, inside.clock.now()
    )
    [expected] = [one.forecast for one in all_of_them if one.name == "all"]
    [row] = [
        row
        for caption, table in part.page.tables.items()
        if caption.startswith("Left at the end of each day")
        for row in table[-1:]
    ]
    limit = 50_000 * 10**9
    assert row.figures[1:] == [limit - told for told in (expected.p90, expected.p50, expected.p10)]
    assert expected.p50 in part.page.figures
    assert "Not expected" in part.text
    again = await finance.get(f"/budgets/one?{place}")
    assert again.page.figures[: len(part.page.figures)] == part.page.figures
    assert 'hx-get="/parts/budget' not in again.text
    assert (await finance.get("/parts/budget?name=no-such")).status == 404
