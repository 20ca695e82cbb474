"""Every figure on a page is the ledger's: for whatever was spent, whoever looks, on both engines.

What a page says is compared with sums over the entries themselves, never with the roll-ups that
it was made from.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from gateway.clock import FrozenClock
from gateway.jobs.loading import parse
from gateway.metering.usage import Usage
from gateway.treasury.budgets import Payer
from tests.gateways import BOOK, SECRETS, RunningGateway, routes_for, running
from tests.ledger.by_chance import APPS, JOBS, KINDS, STAGES, TARGETS, TEAMS, Spent, spent, write
from tests.ledger.spending import Spending, moment
from tests.treasury.booking import opening
from tests.web.agreeing import (
    DIMENSIONS,
    check_budgets,
    check_jobs,
    check_links,
    check_overview,
    check_requests,
)
from tests.web.agreeing_ahead import check_ahead, check_reckoned
from tests.web.agreeing_reports import check_closed_months, check_reports
from tests.web.truth import Truth
from tests.web.visiting import visiting

NOW = "2026-11-18T15:20:00+01:00"
BUDGETS = """
  all: {scope: organisation, limit: 50000 USD, period: month}
  teams: {scope: each team, limit: 50000 USD, period: month}
  tokens: {scope: each job, limit: 90000000 tokens, period: year}
"""
ROUTES = routes_for("http://127.0.0.1:9", budgets=BUDGETS)


def spending(books: Any, zone: str = "Europe/Berlin") -> Spending:
    """Books with the budgets of the routes."""
    rules = parse(ROUTES, "routes.yaml", BOOK, SECRETS)
    made = Spending(books, zone)
    made.budgets = rules.budgets
    return made


async def check(
    gateway: RunningGateway, role: str, month: str, followed: Sequence[str] = DIMENSIONS
) -> None:
    """Every page of a month says what its entries say; links by these dimensions are followed."""
    truth = Truth.of_month(gateway, month, role.partition("@")[2])
    async with visiting(gateway, role) as visitor:
        await check_overview(visitor, truth, month)
        await check_jobs(visitor, truth, month)
        await check_reckoned(visitor, truth, month)
        await check_links(visitor, truth, month, followed)
        await check_requests(visitor, truth, month)
        await check_reports(visitor, truth, month)


async def check_all(url: str, roles: Sequence[str], closed: str, followed: Sequence[str]) -> None:
    """All of it, for both months."""
    async with running(ROUTES, url, clock=FrozenClock(NOW)) as gateway:
        for role in roles:
            for month in ("2026-10", "2026-11"):
                await check(gateway, role, month, followed)
            async with visiting(gateway, role) as visitor:
                await check_ahead(visitor, gateway, role.partition("@")[2])
        await check_budgets(gateway)
        if closed:
            async with visiting(gateway, "finance") as visitor:
                truth = Truth.of_month(gateway, closed)
                await check_closed_months(visitor, truth, closed)


@seed(26)
@settings(max_examples=6)
@given(
    all_spent=st.lists(spent, min_size=1, max_size=24),
    role=st.sampled_from(["finance", "viewer@brand"]),
    closes=st.sampled_from(["", "2026-10"]),
    followed=st.sampled_from(DIMENSIONS),
)
def test_whatever_was_spent_every_page_says_what_the_ledger_says(
    all_spent: list[Spent], role: str, closes: str, followed: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/books.db"
        with opening(url) as database:
            write(spending(database), all_spent, closes=closes)
        asyncio.run(check_all(url, [role], closes, [followed]))


EVERY_KIND = [
    Spent(
        TEAMS[number % 3],
        APPS[number % 4],
        JOBS[number % 4],
        TARGETS[number // 3 % 4],
        STAGES[number // 2 % 4],
        90 + number * 2_200,
        Usage(input=7 + number, output=3 * number, cache_read=number, reasoning=number % 2),
        10**9 + 7 * number,
        kind,
    )
    for number, kind in enumerate(KINDS * 3)
]
"""All kinds of entries in both months, and more apps than a table shows."""


def test_both_engines_say_the_same(database_url: str) -> None:
    with opening(database_url) as database:
        write(spending(database), EVERY_KIND, closes="2026-10")
    asyncio.run(check_all(database_url, ["finance", "viewer@brand"], "2026-10", ("app", "stage")))


@pytest.fixture(params=["Asia/Kolkata", "America/St_Johns"])
def half_hour_zone(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_zone_of_half_hours_is_as_exact(half_hour_zone: str, sqlite_url: str) -> None:
    """Its midnight is in the middle of an hour: the rest comes from the entries."""
    routes = ROUTES.replace("Europe/Berlin", half_hour_zone)
    edge = moment("2026-11-01T00:00:00+05:30")
    with opening(sqlite_url) as database:
        books = spending(database, half_hour_zone)
        write(books, EVERY_KIND)
        for minutes in (-31, -29, -1, 1, 29, 31):
            books.clock.micros = edge + minutes * 60_000_000
            books.book(Usage(input=1_000 + minutes), Payer("brand", "site", "key_1", "x", {}))

    async def ask() -> None:
        async with running(routes, sqlite_url, clock=FrozenClock(NOW)) as gateway:
            for month in ("2026-10", "2026-11"):
                await check(gateway, "finance", month, ["team"])

    asyncio.run(ask())


def test_pages_of_entries_follow_each_other_without_a_gap(sqlite_url: str) -> None:
    """Page by page, the newest first, each entry once; also where only entries know."""

    async def ask() -> None:
        async with (
            running(ROUTES, sqlite_url, clock=FrozenClock(NOW)) as gateway,
            visiting(gateway, "viewer") as visitor,
        ):
            every = [row["request_id"] for row in gateway.entries()]
            for query in ("", "&job=extraction", "&outcome=ok", "&tag=stage%3Ddraft"):
                place, seen = f"/requests?month=2026-11{query}", []
                while place:
                    page = (await visitor.get(place)).page
                    seen += [link for link in page.links if link.startswith("/requests/req_")]
                    older = [link for link in page.links if "after=" in link]
                    place = older[0] if older else ""
                assert len(seen) == len(set(seen)) == len(every)

    with opening(sqlite_url) as database:
        books = spending(database).at("2026-11-02T10:00:00+01:00")
        payer = Payer("brand", "site", "key_1", "extraction", {"stage": "draft"})
        for number in range(120):
            books.clock.move(0.0 if number % 3 else 3600.0)
            books.book(Usage(input=5), payer)
    asyncio.run(ask())


def test_a_page_that_has_looked_far_enough_says_so_and_leads_on(sqlite_url: str) -> None:
    """What is rare and long ago is found by looking further back, not by waiting for it."""

    async def ask() -> None:
        async with (
            running(ROUTES, sqlite_url, clock=FrozenClock(NOW)) as gateway,
            visiting(gateway, "viewer") as visitor,
        ):
            place, pages = "/requests?from=2020-01-01&team=legal", 0
            while place:
                seen = await visitor.get(place)
                found = [link for link in seen.page.links if link.startswith("/requests/req_")]
                older = [link for link in seen.page.links if "after=" in link]
                assert ("Look further back" in seen.text) is bool(older)
                place, pages = older[0] if older else "", pages + 1
            assert len(found) == 1
            assert pages == 3

    with opening(sqlite_url) as database:
        books = spending(database)
        for day, team in (("2025-10-03", "legal"), ("2025-10-02", "brand"), ("2026-11-01", "data")):
            books.at(f"{day}T10:00:00+01:00")
            books.book(Usage(input=5), Payer(team, f"{team}-app", "key_1", "extraction", {}))
    asyncio.run(ask())
