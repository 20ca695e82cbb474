"""Every figure on a page is the ledger's: for whatever was spent, whoever looks, on both engines.

What a page says is compared with sums over the entries themselves, never with the roll-ups that
it was made from.
"""

from __future__ import annotations

import asyncio
import csv
import io
import tempfile
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gateway.clock import FrozenClock
from gateway.jobs.loading import parse
from gateway.ledger.entries import COUNTED, REPORTED
from gateway.ledger.months import parse_month
from gateway.metering.usage import Usage
from gateway.prices.rates import INPUT_CLASSES, OUTPUT_CLASSES
from gateway.treasury.budgets import Payer
from tests.gateways import BOOK, SECRETS, RunningGateway, routes_for, running
from tests.ledger.spending import Spending, moment
from tests.treasury.booking import charged, opening, rows
from tests.web.visiting import Visitor, visiting

NOW = "2026-11-18T15:20:00+01:00"
BUDGETS = """
  all: {scope: organisation, limit: 5 USD, period: month}
  teams: {scope: each team, limit: 5 USD, period: month}
  tokens: {scope: each job, limit: 90000000 tokens, period: year}
"""
ROUTES = routes_for("http://127.0.0.1:9", budgets=BUDGETS)
TEAMS = {"brand": "site", "legal": "files", "data": "bot"}
DIMENSIONS = ("team", "app", "job", "target", "stage")
SHOWN = 8


@dataclass(frozen=True)
class Spent:
    """One attempt: who, when, how much, and what became of it."""

    team: str
    job: str
    target: str
    stage: str
    minutes: int
    """After the first of October."""
    usage: Usage
    how: str


numbers = st.integers(0, 5_000)
spent = st.builds(
    Spent,
    team=st.sampled_from(sorted(TEAMS)),
    job=st.sampled_from(["extraction", "narrative", "a-job-that-is-gone"]),
    target=st.sampled_from(["openai/gpt-test", "openai/gpt-spare", "mistral/mistral-test"]),
    stage=st.sampled_from(["", "draft", "final"]),
    minutes=st.integers(0, 48 * 24 * 60),
    usage=st.builds(Usage, input=numbers, output=numbers, cache_read=numbers, reasoning=numbers),
    how=st.sampled_from(["reported", "counted", "lapses", "corrected"]),
)


def write(books: Spending, all_spent: list[Spent]) -> None:
    """Spend it, in order of time."""
    for one in sorted(all_spent, key=lambda one: one.minutes):
        books.at("2026-10-01T00:00:00+02:00").clock.move(one.minutes * 60.0)
        payer = Payer(
            one.team,
            TEAMS[one.team],
            f"key_{one.team}",
            one.job,
            {"stage": one.stage} if one.stage else {},
        )
        if one.how == "lapses":
            books.lapsed(1 + one.usage.input, payer)
            continue
        quality = COUNTED if one.how == "counted" else REPORTED
        hold = books.hold(10**8, 10**6, payer, target=one.target)
        entry = books.end(hold, charged(one.usage, quality=quality))
        if one.how == "corrected":
            books.adjust(entry.id, -(entry.ending.amount_nanos // 3) or 1)


def spending(books: Any, zone: str = "Europe/Berlin") -> Spending:
    """Books with the budgets of the routes."""
    rules = parse(ROUTES, "routes.yaml", BOOK, SECRETS)
    made = Spending(books, zone)
    made.budgets = rules.budgets
    return made


class Truth:
    """What the entries of a month come to."""

    def __init__(self, gateway: RunningGateway, month: str, team: str = "") -> None:
        self.database = gateway.gateway.database
        zone = gateway.gateway.routes.time_zone
        start, end = parse_month(month).bounds(zone)
        self.where = "admitted_at >= :start AND admitted_at < :end"
        self.values: dict[str, object] = {"start": start, "end": end}
        if team:
            self.where += " AND team = :team"
            self.values["team"] = team

    def by(self, column: str, what: str = "amount_nanos") -> dict[str, int]:
        """Sums for each value of a column."""
        found = rows(
            self.database,
            f"SELECT {column}, SUM({what}) FROM entries WHERE {self.where} GROUP BY {column}",
            **self.values,
        )
        return {name or "(none)": int(total) for name, total in found}

    def total(self, what: str = "amount_nanos") -> int:
        """The sum of all."""
        return sum(self.by("org", what).values())


async def check(gateway: RunningGateway, role: str, month: str) -> None:
    """Every page of a month says what its entries say."""
    truth = Truth(gateway, month, role.partition("@")[2])
    async with visiting(gateway, role) as visitor:
        await _overview(visitor, truth, month)
        await _jobs(visitor, truth, month)
        await _requests(visitor, truth, month)


async def _overview(visitor: Visitor, truth: Truth, month: str) -> None:
    seen = await visitor.get(f"/?month={month}")
    assert seen.status == 200
    page = seen.page
    assert page.figures[0] == truth.total()
    for name in DIMENSIONS:
        told = {row: figures[0] for row, figures in seen.rows(name).items()}
        assert told == truth.by(name)
        assert len(told) <= SHOWN
    assert page.amounts("Spend by how the amount is known") == truth.by("quality")
    so_far = page.tables["Spent so far, at the end of each day"]
    assert [row for row in so_far if row.cells[1]][-1].figures[0] == truth.total()


async def _jobs(visitor: Visitor, truth: Truth, month: str) -> None:
    seen = await visitor.get(f"/jobs?month={month}")
    told = seen.rows("job")
    spent_on, requests = truth.by("job"), truth.by("job", "request_count")
    tokens = [
        truth.by("job", " + ".join(sorted(names))) for names in (INPUT_CLASSES, OUTPUT_CLASSES)
    ]
    for job, (nanos, count, *in_and_out) in told.items():
        assert nanos == spent_on.get(job, 0)
        assert count == requests.get(job, 0)
        assert in_and_out == [found.get(job, 0) for found in tokens]
    assert set(spent_on) <= set(told)
    for job in spent_on:
        one = (await visitor.get(f"/jobs/{job}?month={month}")).page
        assert one.figures[0] == spent_on[job]
        assert sum(one.amounts("Spent on each day").values()) == spent_on[job]


async def _requests(visitor: Visitor, truth: Truth, month: str) -> None:
    """What the overview links to comes to what the overview said."""
    overview = await visitor.get(f"/?month={month}")
    for name in DIMENSIONS:
        for value, (nanos, *_) in overview.rows(name).items():
            place = f"none={name}" if value == "(none)" else f"{name}={value}"
            assert f"/requests?{place}&amp;month={month}".replace("/gpt", "%2Fgpt").replace(
                "/mistral", "%2Fmistral"
            ) in overview.text.replace("&month", "&amp;month")
            listed = await visitor.get(f"/requests?{place}&month={month}")
            assert listed.page.figures[1] == nanos
    exported = (await visitor.get(f"/requests.csv?month={month}")).text
    lines = list(csv.DictReader(io.StringIO(exported)))
    assert sum(int(line["amount_nanos"]) for line in lines) == truth.total()
    assert len(lines) == truth.total("1")


async def check_budgets(gateway: RunningGateway) -> None:
    """What is spent of each budget now is what its balance says."""
    balances = {
        (row["budget"], row["subject"]): row["spent"] for row in gateway.balances().values()
    }
    async with visiting(gateway, "finance") as visitor:
        seen = await visitor.get("/budgets")
        table = seen.page.tables["Budgets in their present periods"]
        told = {(row.cells[0], row.cells[1]): row.figures for row in table if row.figures}
        for (budget, subject), spent_of_it in balances.items():
            figures = told[budget, subject or "organisation"]
            limit = figures[1]
            assert figures[:3] == [spent_of_it, limit, limit - spent_of_it]
            one = await visitor.get(f"/budgets/one?name={budget}&subject={subject}")
            assert one.page.figures[:2] == [limit - spent_of_it, spent_of_it]
            days = one.page.tables["Left at the end of each day"]
            left = [row.figures[0] for row in days if len(row.figures) == 2]
            assert left[-1] == limit - spent_of_it


async def check_all(url: str) -> None:
    """All of it, for two kinds of visitors and two months."""
    async with running(ROUTES, url, clock=FrozenClock(NOW)) as gateway:
        for role in ("finance", "viewer@brand"):
            for month in ("2026-10", "2026-11"):
                await check(gateway, role, month)
        await check_budgets(gateway)


@settings(max_examples=6, phases=(Phase.explicit, Phase.generate))
@given(all_spent=st.lists(spent, min_size=1, max_size=12))
def test_whatever_was_spent_every_page_says_what_the_ledger_says(all_spent: list[Spent]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/books.db"
        with opening(url) as database:
            write(spending(database), all_spent)
        asyncio.run(check_all(url))


EXAMPLES = [
    Spent("brand", "extraction", "openai/gpt-test", "draft", 90, Usage(input=7), "reported"),
    Spent("brand", "narrative", "openai/gpt-spare", "", 44_700, Usage(output=3), "counted"),
    Spent("legal", "extraction", "openai/gpt-test", "", 60_000, Usage(input=99), "lapses"),
    Spent(
        "data",
        "a-job-that-is-gone",
        "openai/gpt-test",
        "final",
        65_000,
        Usage(input=500),
        "corrected",
    ),
]


def test_both_engines_say_the_same(database_url: str) -> None:
    with opening(database_url) as database:
        write(spending(database), EXAMPLES)
    asyncio.run(check_all(database_url))


@pytest.fixture(params=["Asia/Kolkata", "America/St_Johns"])
def half_hour_zone(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_zone_of_half_hours_is_as_exact(half_hour_zone: str, sqlite_url: str) -> None:
    """Its midnight is in the middle of an hour: the rest comes from the entries."""
    routes = ROUTES.replace("Europe/Berlin", half_hour_zone)
    edge = moment("2026-11-01T00:00:00+05:30")
    with opening(sqlite_url) as database:
        books = spending(database, half_hour_zone)
        write(books, EXAMPLES)
        for minutes in (-31, -29, -1, 1, 29, 31):
            books.clock.micros = edge + minutes * 60_000_000
            books.book(Usage(input=1_000 + minutes), Payer("brand", "site", "key_1", "x", {}))

    async def ask() -> None:
        async with running(routes, sqlite_url, clock=FrozenClock(NOW)) as gateway:
            for month in ("2026-10", "2026-11"):
                await check(gateway, "finance", month)

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
            books.book(Usage(input=5), Payer(team, TEAMS[team], "key_1", "extraction", {}))
    asyncio.run(ask())
