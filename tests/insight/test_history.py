"""Writing a synthetic history: into books of its own, through the ledger, and once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.commands import app
from gateway.cli.history import Plan, company_rules, parse_months, write_history
from gateway.errors import ConfigurationError
from gateway.jobs.routes import Routes
from gateway.ledger.audit import audit
from gateway.metering.usage import Usage
from gateway.store.database import Database
from tests.insight.conftest import NOW, SCALE, SHIPPED, Past
from tests.ledger.spending import moment
from tests.treasury.booking import Books, opening, rows

SUMS = "SELECT COUNT(*), SUM(amount_nanos), SUM(tokens), MIN(id), MAX(id) FROM entries"


def runs(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--routes", str(SHIPPED)])


def test_the_books_balance(past: Past) -> None:
    assert audit(past.database, "main") == ([], past.written.entries)
    assert past.written.entries > 5_000


def test_every_team_and_key_in_them_is_the_companys(past: Past) -> None:
    teams = {team for (team,) in rows(past.database, "SELECT DISTINCT team FROM entries")}
    assert len(teams) == 5
    assert all(team.startswith("synthetic-") for team in teams)
    assert past.routes.organisation.endswith("(synthetic)")
    unknown = "SELECT COUNT(*) FROM entries WHERE key_id NOT IN (SELECT id FROM keys)"
    assert rows(past.database, unknown) == [(0,)]


def test_the_runaway_agent_was_stopped_by_the_budget_of_a_run(past: Past) -> None:
    assert past.written.refused["one-run"] > 0
    held = "SELECT MAX(spent), MAX(limit_value) FROM balances WHERE budget = 'one-run'"
    spent, limit = rows(past.database, held)[0]
    assert 0.8 * limit < spent <= limit


def test_nothing_is_in_the_future(past: Past) -> None:
    assert rows(past.database, "SELECT MAX(recorded_at) FROM entries")[0][0] <= past.now


def test_a_history_is_continued_and_comes_out_the_same(shipped: Routes, database_url: str) -> None:
    rules = company_rules(shipped, SCALE)
    earlier = moment("2026-11-19T10:17:00+00:00")
    with opening(database_url) as database:
        first = write_history(database, "main", rules, Plan(1, earlier, scale=SCALE))
        second = write_history(database, "main", rules, Plan(1, NOW, scale=SCALE))
        again = write_history(database, "main", rules, Plan(1, NOW, scale=SCALE))
        assert first.entries > second.entries > 0 == again.entries
        assert "there already" in str(again)
        assert audit(database, "main") == ([], first.entries + second.entries)


def test_an_interrupted_history_is_continued(shipped: Routes, tmp_path: Path) -> None:
    rules, plan = company_rules(shipped, SCALE), Plan(1, NOW, scale=SCALE)

    def stop_after_nine(day: object, _days: int) -> None:
        seen.append(day)
        if len(seen) == 10:
            raise KeyboardInterrupt

    def sums(database: Database) -> object:
        return rows(database, SUMS)

    seen: list[object] = []
    with (
        opening(f"sqlite:///{tmp_path}/one.db") as whole,
        opening(f"sqlite:///{tmp_path}/two.db") as broken,
    ):
        write_history(whole, "main", rules, plan)
        with pytest.raises(KeyboardInterrupt):
            write_history(broken, "main", rules, plan, stop_after_nine)
        write_history(broken, "main", rules, plan)
        assert sums(broken) == sums(whole)
        assert audit(broken, "main")[0] == []


def test_it_is_never_mixed_with_real_entries(shipped: Routes, database_url: str) -> None:
    with opening(database_url) as database:
        books = Books(database)
        books.book(Usage(input=10))
        with pytest.raises(ConfigurationError, match="entries of their own"):
            write_history(database, "main", company_rules(shipped, 1), Plan(1, NOW))
        assert audit(database, "main") == ([], 1)
        hold = Books(database, org="other").hold(5)
        with pytest.raises(ConfigurationError, match="entries of their own"):
            write_history(database, "other", company_rules(shipped, 1), Plan(1, NOW))
        assert hold.id


@pytest.mark.parametrize(("text", "months"), [("24mo", 24), ("2y", 24), (" 3 mo ", 3)])
def test_how_long_a_history_is(text: str, months: int) -> None:
    assert parse_months(text) == months


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--history", "long"), "write how long it is, such as 24mo or 2y"),
        (("--history", "0mo"), "write how long it is"),
        (("--history", "11y"), "at most 10 years"),
        (("--history", "1mo", "--scale", "0"), "--scale 0: it is more than 0"),
    ],
)
def test_what_is_asked_for_badly_is_told(
    arguments: tuple[str, ...], said: str, sqlite_url: str
) -> None:
    told = runs("demo", *arguments, "--no-serve", "--database-url", sqlite_url)
    assert told.exit_code == 2
    assert said in told.output


def test_rules_without_the_companys_jobs_are_told(shipped: Routes, sqlite_url: str) -> None:
    bare = replace(company_rules(shipped, 1), jobs={})
    with (
        opening(sqlite_url) as database,
        pytest.raises(ConfigurationError, match="one of the jobs"),
    ):
        write_history(database, "main", bare, Plan(1, NOW))


def test_the_command_writes_and_ends(sqlite_url: str) -> None:
    asked = ("demo", "--history", "1mo", "--scale", "0.05", "--no-serve")
    told = runs(*asked, "--database-url", sqlite_url)
    assert told.exit_code == 0, told.output
    assert "synthetic entries from" in told.output
    with opening(sqlite_url) as database:
        assert audit(database, "main")[0] == []
