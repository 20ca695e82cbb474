"""Every query of the spend dashboard, on a real PostgreSQL, as the reader that Grafana is.

The books of these tests are written by the gateway's own writer, so the panels are compared with
the ledger that they claim to show.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from sqlalchemy import insert

from gateway.clock import MICROS, to_micros
from gateway.ledger.entries import (
    CHARGE,
    COUNTED,
    PRESUMED,
    REPORTED,
    Draft,
    Ending,
    Entry,
    EntryWriter,
)
from gateway.metering.usage import Usage
from gateway.store.database import Database
from gateway.store.schema import migrate
from gateway.store.tables import Balance, BudgetRaise, Hold
from tests.dashboards.asking import PANELS, asked, filled_in, grant
from tests.dashboards.reading import dashboard
from tests.postgres import PostgresServer

NOW = datetime.now(UTC)
"""The queries ask the database for the time, so the books have to be of today."""
HOUR = NOW.replace(minute=0, second=0, microsecond=0)
MONTH = HOUR.replace(day=1, hour=0)
ENTRIES = (
    # team, app, job, target, quality, requests, nanos, admitted at
    ("brand", "studio", "strategic-narrative", "claude", REPORTED, 1, 1_500_000_001, HOUR),
    ("brand", "studio", "extraction", "gpt", REPORTED, 2, 500_000_000, HOUR),
    ("media", "planner", "extraction", "gpt", COUNTED, 1, 250_000_000, HOUR),
    ("media", "planner", "extraction", "gpt", PRESUMED, 0, 750_000_000, HOUR),
    (
        "media",
        "planner",
        "extraction",
        "gpt",
        REPORTED,
        1,
        7_000_000_000,
        MONTH - timedelta(days=40),
    ),
)
USAGE = Usage(input=4, cache_read=3, output=2, reasoning=1)
IN_RANGE = sum(entry[6] for entry in ENTRIES[:4])
QUERIES = {
    f"{title} {n}": sql for title, queries in PANELS.items() for n, sql in enumerate(queries)
}


@pytest.fixture(scope="module")
def books(postgres_server: PostgresServer) -> Iterator[str]:
    """Books with five entries, a budget and a hold; the address at which a reader finds them."""
    with postgres_server.database() as url:
        database = Database(url)
        migrate(database)
        with database.writing() as cursor:
            EntryWriter("acme", "postgresql").write(cursor, map(entry, range(len(ENTRIES))))
        with database.engine.begin() as connection:
            connection.execute(insert(Balance), [balance(1, "usd"), balance(2, "tokens")])
            connection.execute(insert(Hold), [hold()])
            connection.execute(insert(BudgetRaise), [budget_raise()])
        database.close()
        grant(postgres_server, url)
        yield postgres_server.url(url.rpartition("/")[2], user="dashboards")


def entry(number: int) -> Entry:
    """The entry of that number in ENTRIES."""
    team, app, job, target, quality, requests, nanos, at = ENTRIES[number]
    return Entry(
        id=f"h{number}",
        draft=Draft(
            request_id=f"r{number}",
            attempt=1,
            key_id="k",
            team=team,
            app=app,
            job=job,
            target=target,
            provider="p",
            residency="cloud",
            confined=False,
            model="m",
            stream=False,
            tags={},
            rates=None,
        ),
        ending=Ending(
            kind=CHARGE, outcome="ok", quality=quality, amount_nanos=nanos, tokens=10, usage=USAGE
        ),
        admitted_at=to_micros(at),
        recorded_at=to_micros(at),
        request_count=requests,
        ceiling_nanos=nanos,
        ceiling_tokens=10,
        balances="1 2",
    )


def balance(number: int, unit: str) -> dict[str, Any]:
    """A running budget of the organisation."""
    return {
        "org": "acme",
        "id": number,
        "budget": f"house-{unit}",
        "subject": "",
        "unit": unit,
        "period": "month",
        "hard": True,
        "starts_at": to_micros(MONTH),
        "ends_at": to_micros(MONTH + timedelta(days=32)),
        "limit_value": 12_000_000_000,
        "spent": IN_RANGE,
        "held": 2_000_000_000,
        "overrun": 0,
    }


def budget_raise() -> dict[str, Any]:
    """More money for a launch."""
    return {
        "org": "acme",
        "id": "raise",
        "budget": "house-usd",
        "subject": "",
        "amount": 5_000_000_000,
        "starts_at": to_micros(NOW - timedelta(minutes=5)),
        "until": to_micros(NOW + timedelta(days=5)),
        "reason": "launch",
        "author": "fin",
        "created_at": to_micros(NOW - timedelta(minutes=5)),
        "withdraws": "",
    }


def hold() -> dict[str, Any]:
    """A request that is under way."""
    return {
        "org": "acme",
        "id": "open",
        "instance": "i",
        "admitted_at": to_micros(NOW),
        "lapses_at": to_micros(NOW) + 600 * MICROS,
        "ceiling_nanos": 2_000_000_000,
        "ceiling_tokens": 100,
        "request_count": 1,
        "balances": "1 2",
        "draft": "{}",
    }


def ask(url: str, sql: str, **chosen: str) -> list[dict[str, Any]]:
    """The rows of a query of the dashboard, for the last 24 hours."""
    values = {"org": "acme", "bucket": "day", "time_zone": "UTC", "line": "house-usd"} | chosen
    return asked(url, filled_in(sql, NOW - timedelta(days=1), NOW, values))


@pytest.mark.parametrize("sql", QUERIES.values(), ids=QUERIES)
def test_every_query_runs_and_finds_something(books: str, sql: str) -> None:
    assert ask(books, sql)


@pytest.mark.parametrize("sql", QUERIES.values(), ids=QUERIES)
def test_every_query_runs_on_empty_books(books: str, sql: str) -> None:
    for row in ask(books, sql, org="nobody"):
        assert not any(row.values())


@pytest.mark.parametrize("bucket", dashboard("spend")["templating"]["list"][2]["query"].split(","))
def test_every_step_can_be_chosen_in_any_time_zone(books: str, bucket: str) -> None:
    rows = ask(books, PANELS["Spend by job"][0], bucket=bucket, time_zone="Europe/Berlin")
    assert sum(row["amount"] for row in rows) == Decimal(IN_RANGE) / 10**9


@pytest.mark.parametrize(
    "panel",
    [
        *(f"Spend by {dimension}" for dimension in ("job", "team", "app", "target", "quality")),
        "Spent in the chosen range",
        "Everything, to the line",
    ],
)
def test_every_panel_adds_up_to_the_ledger_to_the_nano(books: str, panel: str) -> None:
    rows = ask(books, PANELS[panel][0])
    assert sum(row["amount"] for row in rows) == Decimal(IN_RANGE) / 10**9


def test_the_month_ends_where_its_entries_add_up_to(books: str) -> None:
    spent = sum(nanos for *_, nanos, at in ENTRIES if at >= MONTH)
    rows = ask(books, PANELS["This month against the month's budgets"][0])
    assert rows[-1]["spent"] == Decimal(spent) / 10**9
    assert ask(books, PANELS["Spent this month"][0]) == [{"amount": Decimal(spent) / 10**9}]


def test_a_budget_is_shown_with_what_is_left_of_it(books: str) -> None:
    [row] = ask(books, PANELS["Budgets in dollars"][0])
    assert (row["budget"], row["at the limit"], row["limit"]) == ("house-usd", "refuse", 12)
    assert row["left"] == 12 - Decimal(IN_RANGE) / 10**9 - 2
    assert row["used"] == pytest.approx(Decimal(IN_RANGE) / 12_000_000_000)
    assert 0 <= row["period"] < 1


def test_the_burn_down_of_a_budget_and_who_is_in_it_agree_with_its_entries(books: str) -> None:
    used = Decimal(IN_RANGE) / 10**9
    rows = ask(books, PANELS["Burn-down"][0])
    assert (rows[0]["left"], rows[-1]["left"]) == (12, 12 - used)
    assert sum(row["used"] for row in ask(books, PANELS["Who is in it"][0])) == used
    assert sum(row["amount"] for row in ask(books, PANELS["Used by job"][0])) == used
    tokens = ask(books, PANELS["Who is in it"][0], line="house-tokens")
    assert sum(row["used"] for row in tokens) == 40


def test_the_tokens_of_all_classes_add_up_to_those_of_the_line(books: str) -> None:
    rows = ask(books, PANELS["Tokens in the books"][0])
    assert {row["metric"]: row["amount"] for row in rows} == {
        "input": 16,
        "cache_read": 12,
        "output": 8,
        "reasoning": 4,
    }


def test_a_raise_is_told_with_who_and_why(books: str) -> None:
    [row] = ask(books, PANELS["Raises"][0])
    assert (row["amount"], row["in force"], row["reason"], row["author"]) == (
        5,
        True,
        "launch",
        "fin",
    )


def test_the_share_that_nobody_reported_is_that_of_its_money(books: str) -> None:
    [row] = ask(books, PANELS["Not as the provider reported it"][0])
    assert row["share"] == pytest.approx(Decimal(1_000_000_000) / IN_RANGE)


def test_a_thousand_requests_cost_a_thousand_times_the_mean(books: str) -> None:
    rows = ask(books, PANELS["Cost per 1,000 requests by job"][0])
    assert {row["metric"]: row["amount"] for row in rows} == {
        "strategic-narrative": Decimal("1500.000001"),
        "extraction": 500,
    }


def test_the_organisations_to_choose_from_are_those_in_the_books(books: str) -> None:
    choice = next(v for v in dashboard("spend")["templating"]["list"] if v["type"] == "query")
    assert ask(books, choice["query"]) == [{"org": "acme"}]


@pytest.mark.parametrize("table", ["keys", "entries", "holds", "balances", "rollups"])
def test_grafana_cannot_read_what_no_panel_needs(books: str, table: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask(books, f"SELECT * FROM {table}")


def test_granting_twice_changes_nothing(books: str, postgres_server: PostgresServer) -> None:
    grant(postgres_server, postgres_server.url(books.rpartition("/")[2]))
    assert ask(books, PANELS["Set aside now"][0]) == [{"amount": 2}]
