"""Forecasts from the books: what they are of, and that what is spent is what the ledger says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from gateway.cli.commands import app
from gateway.clock import FrozenClock
from gateway.insight.outlooks import Outlook, Outlooks, look_ahead, told
from gateway.jobs.routes import Budget, Routes, Scope
from gateway.ledger.queries import Ledger, Range
from gateway.metering.usage import Usage
from gateway.treasury.budgets import Payer
from gateway.treasury.periods import Calendar
from gateway.treasury.raises import NO_RAISES
from gateway.treasury.standing import Standings
from tests.insight.conftest import SHIPPED, Past
from tests.ledger.spending import moment
from tests.treasury.booking import Books, a_budget, opening, rows

NOVEMBER = Range(moment("2026-11-01T00:00:00+00:00"), moment("2026-12-01T00:00:00+00:00"))
NIGHTLY = Payer("data", "agent", "key_1", "extraction", {"campaign": "spring", "run": "r1"})
SITE = Payer("brand", "site", "key_2", "narrative", {"stage": "draft"})
BUDGETS = (
    a_budget("all", 10**12),
    a_budget("site", 10**12, scope=Scope("app", "site"), period="quarter"),
    a_budget("each-key", 10**12, scope=Scope("key"), unit="tokens"),
    a_budget("spring", 10**12, scope=Scope("tag", "spring", "campaign"), period="forever"),
    a_budget("draft", 10**6, scope=Scope("tag", "draft", "stage"), unit="requests"),
    a_budget("each-run", 10**12, scope=Scope("tag", None, "run"), period="forever"),
    a_budget("rate", 10**12, period="minute"),
    a_budget("unasked", 10**12, scope=Scope("team", "nobody")),
)


def by(past: Past, what: str) -> list[Outlook]:
    return look_ahead(what, past.database, "main", past.routes, past.now)


@pytest.mark.parametrize("what", ["organisation", "team", "job"])
def test_what_is_spent_so_far_is_what_the_ledger_says(past: Past, what: str) -> None:
    names = [] if what == "organisation" else [what]
    ledger = Ledger(past.database, "main").spend(names, NOVEMBER)
    expected = {str(row.get(what, "")): row["amount_nanos"] for row in ledger}
    found = by(past, what)
    assert {one.name: one.forecast.spent for one in found} == expected
    assert {one.period_ends for one in found} == {date(2026, 12, 1)}
    p50 = [one.forecast.p50 for one in found]
    assert p50 == sorted(p50, reverse=True)


def test_teams_that_have_stopped_long_ago_are_not_shown(shipped: Routes, sqlite_url: str) -> None:
    with opening(sqlite_url) as database:
        books = Books(database, clock=FrozenClock("2026-01-05T12:00:00+00:00"))
        books.book(Usage(input=100), SITE)
        now = moment("2026-11-05T12:00:00+00:00")
        assert look_ahead("team", database, "main", shipped, now) == []
        (whole,) = look_ahead("organisation", database, "main", shipped, now)
        assert whole.forecast.p90 == 0


def test_past_forecasts_stand_beside_the_figure(past: Past) -> None:
    whole = by(past, "organisation")[0]
    assert whole.backtest is not None
    assert whole.backtest.forecasts > 15
    assert 0 <= whole.backtest.coverage <= 1
    assert whole.forecast.history_days == 92


def test_a_budget_is_foretold_from_what_its_balance_says(past: Past) -> None:
    found = {one.name: one for one in by(past, "budget")}
    assert set(found) == {"everything", "writing"}
    spent = dict(
        rows(
            past.database,
            "SELECT budget, spent FROM balances WHERE starts_at = :start AND period = 'month'",
            start=NOVEMBER.start,
        )
    )
    assert {name: one.forecast.spent for name, one in found.items()} == spent
    assert found["everything"].limit == 200 * 10**9
    assert found["everything"].forecast.exhaustion is not None


@pytest.fixture
def mixed(database_url: str) -> Iterator[Books]:
    """Forty days of the same two requests, then half a day."""
    with opening(database_url) as database:
        clock = FrozenClock("2026-10-01T10:00:00+00:00")
        books = Books(database, BUDGETS, clock=clock)
        for _day in range(40):
            books.book(Usage(input=100_000), NIGHTLY)
            books.book(Usage(output=9_000), SITE)
            clock.move(24 * 3600)
        clock.move(2 * 3600)
        yield books


def outlooks(books: Books, routes: Routes) -> dict[str, Outlook]:
    rules = replace(routes, budgets=books.budgets)
    found = look_ahead("budget", books.database, "main", rules, books.clock.now())
    return {f"{one.name} {one.subject}".strip(): one for one in found}


def test_every_scope_and_unit_of_a_budget_is_foretold(mixed: Books, shipped: Routes) -> None:
    """Nine days of November are in, and 20 to come: today, nothing comes after eleven."""
    found = outlooks(mixed, shipped)
    a_day = {
        "all": 180_000,
        "spring spring": 150_000,
        "each-key key_1": 100_000,
        "each-key key_2": 9_000,
    }
    for name, amount in a_day.items():
        one, before = found[name], 40 if name == "spring spring" else 9
        assert one.forecast.spent == before * amount
        assert abs(one.forecast.p50 - (before + 20) * amount) <= 2 * amount, name
    assert found["draft draft"].unit == "requests"
    assert found["draft draft"].forecast.spent == 9
    assert found["site site"].period_ends == date(2027, 1, 1)
    assert found["unasked nobody"].forecast.basis == "none"
    assert "each-run r1" not in found
    assert "rate" not in found


def test_a_key_is_foretold_alike_whoever_is_asked_for_with_it(
    mixed: Books, shipped: Routes
) -> None:
    """Only the entries of the keys that are asked for are read."""
    rules = replace(shipped, budgets=mixed.budgets)
    now = mixed.clock.now()
    calendar = Calendar(rules.time_zone, rules.week_starts, rules.fiscal_year_starts)
    standings = Standings(mixed.database, "main", rules.budgets, calendar).at(now, NO_RAISES)
    scopes = {budget.name: budget.scope for budget in rules.budgets}
    keys = [standing for standing in standings if standing.budget == "each-key"]
    asked = Outlooks(mixed.database, "main", calendar)
    together = asked.budgets(standings, scopes, now)
    alone = [one for key in keys for one in asked.budgets([key], scopes, now)]
    assert len(alone) == 2
    assert alone == [one for one in together if one.name == "each-key"]


def test_it_says_on_which_day_a_budget_is_gone(mixed: Books, shipped: Routes) -> None:
    small = Budget("all", Scope("organisation"), 180_000 * 15, "usd", "month", True, "")
    rules = replace(shipped, budgets=(small,))
    (one,) = look_ahead("budget", mixed.database, "main", rules, mixed.clock.now())[:1]
    assert one.name == "all"
    assert one.forecast.exhaustion is not None
    expected = one.forecast.exhaustion.expected
    assert expected is not None
    assert abs(expected - date(2026, 11, 16)) <= timedelta(days=1)


def test_a_day_begins_where_the_organisation_is(shipped: Routes, sqlite_url: str) -> None:
    """Half past eleven in the evening of October in New York is November in UTC."""
    with opening(sqlite_url) as database:
        books = Books(database, clock=FrozenClock("2026-11-01T03:30:00+00:00"))
        books.book(Usage(input=1_000), SITE)
        there = replace(shipped, time_zone=ZoneInfo("America/New_York"))
        now = moment("2026-11-05T12:00:00+00:00")
        spent = [
            look_ahead("organisation", database, "main", rules, now)[0].forecast.spent
            for rules in (there, shipped)
        ]
        assert spent == [0, 1_500]


def test_nothing_else_can_be_asked_for(past: Past) -> None:
    with pytest.raises(ValueError, match="'app' is not one of"):
        by(past, "app")


def test_empty_books_are_foretold_to_stay_empty(shipped: Routes, database_url: str) -> None:
    with opening(database_url) as database:
        now = NOVEMBER.start
        whole = look_ahead("organisation", database, "main", shipped, now)
        assert [(one.forecast.p90, one.forecast.basis) for one in whole] == [(0, "none")]
        assert look_ahead("job", database, "main", shipped, now) == []
        assert {o.forecast.p90 for o in look_ahead("budget", database, "main", shipped, now)} == {0}


def test_an_outlook_is_told_in_json_as_it_is(past: Past) -> None:
    outlook = by(past, "budget")[0]
    said = json.loads(json.dumps(list(told([outlook]))))[0]
    assert said["name"] == outlook.name
    assert said["p50"] == outlook.forecast.p50
    assert said["unit"] == "nano_usd"
    assert said["period_ends"] == "2026-12-01"
    assert set(said["exhausted"]) == {"early", "expected", "late"}
    assert said["backtest"]["coverage"] >= 0


def test_the_command_shows_the_figures_and_how_good_they_were(past: Past) -> None:
    where = ("--database-url", past.database.url.render_as_string(), "--routes", str(SHIPPED))
    for what in ("organisation", "team", "job", "budget"):
        shown = CliRunner().invoke(app, ["forecast", "--by", what, *where])
        assert shown.exit_code == 0, shown.output
        assert "in range" in shown.output
    said = CliRunner().invoke(app, ["forecast", "--by", "team", "--format", "json", *where])
    assert {one["name"] for one in json.loads(said.output)} >= {"synthetic-data"}
    wrong = CliRunner().invoke(app, ["forecast", "--by", "moon", *where])
    assert wrong.exit_code == 2
    assert "--by moon: it is one of" in wrong.output
