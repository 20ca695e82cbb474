"""Whatever was spent, the views and every panel that shows money say what the entries say.

The views are asked on both engines, the panels' own queries on PostgreSQL, as the reader that
Grafana is. What they say is compared with sums over the entries alone, made here, to the nano.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import accumulate, count
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from gateway.clock import to_datetime, to_micros
from gateway.jobs.routes import Scope
from gateway.ledger.audit import audit
from gateway.ledger.entries import HOUR
from gateway.ledger.months import month_of
from gateway.metering.usage import TOKEN_CLASSES
from gateway.money import NANOS_PER_DOLLAR
from gateway.store.database import Database
from gateway.treasury.raises import RaiseBook
from tests.dashboards.asking import PANELS, asked, filled_in, grant
from tests.gateways import TESTER
from tests.ledger.by_chance import LAST_MINUTE, Spent, spent, write
from tests.ledger.spending import Spending
from tests.postgres import PostgresServer
from tests.treasury.booking import a_budget, opened, rows

NOW = datetime.now(UTC)
"""The panels ask the database for the time, so the books have to be of today."""
SINCE = NOW - timedelta(days=48)
BUDGETS = (
    a_budget("all", 10**17),
    a_budget("teams", 10**17, scope=Scope("team")),
    a_budget("words", 10**12, scope=Scope("job"), unit="tokens", period="year"),
    a_budget("calls", 10**9, unit="requests", period="forever"),
)
OF_LINE = {"all": "", "teams": "team", "words": "job", "calls": ""}
DIMENSIONS = ("team", "app", "job", "target", "stage", "quality")
SUMS = ("amount_nanos", "tokens", "request_count")
WHAT = dict(zip(("usd", "tokens", "requests"), SUMS, strict=True))
_organisations = count(1)

Row = dict[str, Any]


@dataclass(frozen=True)
class Written:
    """Books that were written, and what their entries and open holds are."""

    org: str
    database: Database
    url: str
    """Where Grafana would find them; empty on SQLite."""
    zone: ZoneInfo
    entries: list[Row]
    held: list[Spent]
    raised: int
    """Nano-dollars that were granted to the budget `all`."""

    def view(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a view of this organisation."""
        return rows(self.database, f"{sql} WHERE org = :org", org=self.org)

    def panel(self, title: str, **chosen: str) -> list[Row]:
        """The rows of a panel's first query, over all of the books."""
        values = {"org": self.org, "bucket": "day", "time_zone": str(self.zone)} | chosen
        first, last = SINCE - timedelta(hours=1), NOW
        return asked(self.url, filled_in(PANELS[title][0], first, last, values))


def summed(entries: Sequence[Row], names: Sequence[str], *whats: str) -> dict[Any, list[int]]:
    """Sums for each combination of values."""
    found: dict[Any, list[int]] = defaultdict(lambda: [0] * len(whats))
    for entry in entries:
        sums = found[tuple(entry[name] for name in names)]
        for place, what in enumerate(whats):
            sums[place] += entry[what]
    return dict(found)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def written(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
) -> Iterator[Callable[..., Written]]:
    """Writes books by chance, each time those of another organisation."""
    with ExitStack() as stack:
        url = reader = f"sqlite:///{tmp_path_factory.mktemp('panels')}/books.db"
        if request.param == "postgresql":
            url = stack.enter_context(postgres_server.database())
        database = opened(url)
        stack.callback(database.close)
        if request.param == "postgresql":
            grant(postgres_server, url)
            reader = postgres_server.url(url.rpartition("/")[2], user="dashboards")

        def make(
            all_spent: list[Spent], held: list[Spent], raised: int, zone: str, closes: bool
        ) -> Written:
            org = f"org{next(_organisations)}"
            books = Spending(database, zone, org=org)
            books.budgets = BUDGETS
            month = str(month_of(to_micros(SINCE), books.calendar.zone)) if closes else ""
            write(books, all_spent, since=to_micros(SINCE), closes=month)
            books.clock.micros = to_micros(NOW)
            for one in held:
                books.hold(one.nanos, one.usage.total, one.payer)
            granted = RaiseBook(database, org, books.clock)
            until = to_micros(NOW + timedelta(days=5))
            granted.grant("all", "", raised, until=until, reason="the launch", by=TESTER)
            assert audit(database, org)[0] == []
            zone_info, entries = books.calendar.zone, _entries(database, org)
            return Written(org, database, reader, zone_info, entries, held, raised)

        yield make


def _entries(database: Database, org: str) -> list[Row]:
    names = ("admitted_at", *DIMENSIONS, *SUMS, *TOKEN_CLASSES)
    sql = f"SELECT {', '.join(names)} FROM entries WHERE org = :org"
    found = [dict(zip(names, row, strict=True)) for row in rows(database, sql, org=org)]
    for entry in found:
        entry["time"] = entry["admitted_at"] // HOUR * 3600
        entry["one"] = 1
    return found


by_chance = given(
    all_spent=st.lists(spent, min_size=1, max_size=24),
    held=st.lists(spent, max_size=3),
    raised=st.integers(1, 10**12),
    zone=st.sampled_from(["UTC", "Europe/Berlin"]),
    closes=st.booleans(),
)


@seed(26)
@settings(max_examples=15)
@by_chance
def test_every_view_and_panel_says_what_the_entries_say(
    written: Callable[..., Written],
    all_spent: list[Spent],
    held: list[Spent],
    raised: int,
    zone: str,
    closes: bool,
) -> None:
    books = written(all_spent, held, raised, zone, closes)
    check_views_of_hours(books)
    check_views_of_budgets(books)
    if not books.database.is_sqlite:
        check_panels_of_spend(books)
        check_panels_of_budgets(books)


def check_views_of_hours(books: Written) -> None:
    """spend_by_hour, tokens_by_hour and open_holds."""
    names = ("time", *DIMENSIONS)
    told = books.view(f"SELECT {', '.join(names)}, entries, {', '.join(SUMS)} FROM spend_by_hour")
    found = {tuple(row[: len(names)]): list(map(int, row[len(names) :])) for row in told}
    assert found == summed(books.entries, names, "one", *SUMS)
    for nanos, dollars in books.view("SELECT amount_nanos, amount_usd FROM spend_by_hour"):
        assert round(dollars * NANOS_PER_DOLLAR) == nanos
    classes = (*TOKEN_CLASSES, "tokens")
    told = books.view(f"SELECT {', '.join((*names, *classes))} FROM tokens_by_hour")
    found = {tuple(row[: len(names)]): list(map(int, row[len(names) :])) for row in told}
    assert found == summed(books.entries, names, *classes)
    told = books.view("SELECT ceiling_nanos, ceiling_tokens FROM open_holds")
    assert sorted(told) == sorted((one.nanos, one.usage.total) for one in books.held)


def check_views_of_budgets(books: Written) -> None:
    """budget_status, budget_by_hour and raise_status: each line from the entries it is about."""
    columns = "budget, subject, unit, time, time_end, spent, held"
    places = ("time", "team", "app", "job", "target")
    hours: dict[Any, list[int]] = {}
    for row in books.view(f"SELECT {columns} FROM budget_status"):
        budget, subject, unit, start, end, used, set_aside = row
        mine = _of_line(books.entries, budget, subject, (start, end))
        assert used == sum(entry[WHAT[unit]] for entry in mine)
        assert set_aside == (_held(books, budget, subject, unit) if end > NOW.timestamp() else 0)
        for key, total in summed(mine, places, WHAT[unit]).items():
            hours[budget, subject, start, *key] = total
    names = f"budget, subject, period_time, {', '.join(places)}"
    told = books.view(f"SELECT {names}, amount FROM budget_by_hour")
    assert {tuple(row[:-1]): [int(row[-1])] for row in told} == hours
    assert books.view("SELECT budget, amount FROM raise_status") == [("all", books.raised)]


def _of_line(entries: list[Row], budget: str, subject: str, seconds: tuple[int, int]) -> list[Row]:
    """The entries that a budget's line counts in a period."""
    column = OF_LINE[budget]
    return [
        entry
        for entry in entries
        if seconds[0] <= entry["admitted_at"] // 10**6 < seconds[1]
        and (not column or entry[column] == subject)
    ]


def _held(books: Written, budget: str, subject: str, unit: str) -> int:
    column = OF_LINE[budget]
    mine = [one for one in books.held if not column or getattr(one, column) == subject]
    amounts = {"usd": "nanos", "tokens": "tokens", "requests": "requests"}[unit]
    values = [{"nanos": one.nanos, "tokens": one.usage.total, "requests": 1} for one in mine]
    return sum(value[amounts] for value in values)


def check_panels_of_spend(books: Written) -> None:
    """Money and tokens by every dimension, day by day, and the sums above."""
    total = _usd(sum(entry["amount_nanos"] for entry in books.entries))
    assert books.panel("Spent in the chosen range") == [{"amount": total}]
    aside = _usd(sum(one.nanos for one in books.held))
    assert books.panel("Set aside now") == [{"amount": aside}]
    for entry in books.entries:
        local = to_datetime(entry["admitted_at"]).astimezone(books.zone)
        entry["day"], entry["month"] = local.date(), (local.year, local.month)
    here = NOW.astimezone(books.zone)
    month = [entry for entry in books.entries if entry["month"] == (here.year, here.month)]
    spent_now = _usd(sum(entry["amount_nanos"] for entry in month))
    assert books.panel("Spent this month") == [{"amount": spent_now}]
    hours = sorted((time, nanos) for (time,), (nanos,) in summed(month, ("time",), SUMS[0]).items())
    steps = [row["spent"] for row in books.panel("This month against the month's budgets")]
    assert steps == [_usd(nanos) for nanos in accumulate(nanos for _, nanos in hours)]
    for name in DIMENSIONS:
        expected = summed(books.entries, ("day", name), "amount_nanos")
        told = books.panel(f"Spend by {name}")
        assert {_by_day(row, books.zone): row["amount"] for row in told} == {
            key: _usd(nanos) for key, (nanos,) in expected.items()
        }
    for row in books.panel("Cost per 1,000 requests by job"):
        same = [e for e in books.entries if (e["day"], e["job"]) == _by_day(row, books.zone)]
        assert row["amount"] == _per_thousand(same)
    _check_lines_and_classes(books)


def _check_lines_and_classes(books: Written) -> None:
    names = ("team", "app", "job", "stage", "target")
    expected = summed(books.entries, names, "request_count", "tokens", "amount_nanos")
    lines = books.panel("Everything, to the line")
    assert {
        tuple(row[name] for name in names): [row["requests"], row["tokens"], row["amount"]]
        for row in lines
    } == {key: [*counts, _usd(nanos)] for key, (*counts, nanos) in expected.items()}
    for row in lines:
        same = [e for e in books.entries if all(e[name] == row[name] for name in names)]
        assert row["per 1,000 requests"] == _per_thousand(same)
    tokens: dict[Any, int] = defaultdict(int)
    for row in books.panel("Tokens in the books"):
        tokens[row["metric"]] += row["amount"]
    sums = {name: sum(entry[name] for entry in books.entries) for name in TOKEN_CLASSES}
    assert {name: number for name, number in tokens.items() if number} == {
        name: number for name, number in sums.items() if number
    }
    cells = summed(books.entries, ("time", *DIMENSIONS), "amount_nanos")
    sizes = [(abs(nanos), key[-1] != "reported") for key, (nanos,) in cells.items()]
    [row] = books.panel("Not as the provider reported it")
    whole, others = sum(size for size, _ in sizes), [size for size, is_other in sizes if is_other]
    assert row["share"] == (
        pytest.approx(Decimal(sum(others)) / whole) if whole and others else None
    )


def check_panels_of_budgets(books: Written) -> None:
    """Each line that runs now: how it stands, its burn-down, and who is in it."""
    now = NOW.timestamp()
    if books.view("SELECT budget FROM budget_status"):  # a raise has the unit of its balances
        assert [row["amount"] for row in books.panel("Raises")] == [_usd(books.raised)]
    standing = {
        (row["budget"], row["subject"]): row
        for title in ("Budgets in dollars", "Budgets in tokens and requests")
        for row in books.panel(title)
    }
    columns = "budget, subject, unit, time, time_end, limit_value"
    for budget, subject, unit, *period, limit in books.view(f"SELECT {columns} FROM budget_status"):
        if not period[0] <= now < period[1]:
            continue
        mine = _of_line(books.entries, budget, subject, (period[0], period[1]))
        scale = Decimal(NANOS_PER_DOLLAR if unit == "usd" else 1)
        used, what = Decimal(sum(entry[WHAT[unit]] for entry in mine)) / scale, WHAT[unit]
        set_aside, had = _held(books, budget, subject, unit) / scale, limit / scale
        row = standing[budget, subject]
        assert [row["limit"], row["spent"], row["held"]] == [had, used, set_aside]
        assert row["left"] == had - used - set_aside
        line = f"{budget} of {subject}" if subject else budget
        burnt = books.panel("Burn-down", line=line)
        assert (burnt[0]["left"], burnt[-1]["left"]) == (had, had - used)
        names = ("team", "app", "job", "target")
        told = books.panel("Who is in it", line=line)
        assert {tuple(row[name] for name in names): row["used"] * scale for row in told} == {
            key: total for key, (total,) in summed(mine, names, what).items()
        }
        assert books.panel("Period by period", line=line)[0]["used"] == used
        by_job: dict[str, Decimal] = defaultdict(Decimal)
        for row in books.panel("Used by job", line=line):
            by_job[row["metric"]] += row["amount"] * scale
        everything = _of_line(books.entries, budget, subject, (0, 2**40))
        assert by_job == {job: n for (job,), (n,) in summed(everything, ("job",), what).items()}


def _by_day(row: Row, zone: ZoneInfo) -> tuple[Any, str]:
    """The day and the value that a row of a panel is about."""
    return row["time"].astimezone(zone).date(), row["metric"]


def _usd(nanos: int) -> Decimal:
    return Decimal(nanos) / NANOS_PER_DOLLAR


def _per_thousand(entries: list[Row]) -> Any:
    """Dollars for a thousand requests, as far as PostgreSQL writes them out; None without any."""
    requests = sum(entry["request_count"] for entry in entries)
    if not requests:
        return None
    nanos = sum(entry["amount_nanos"] for entry in entries)
    return pytest.approx(_usd(nanos) * 1000 / requests, rel=Decimal("1e-12"), abs=Decimal("1e-12"))


def test_the_books_end_before_the_present() -> None:
    """Or a panel that ends now would rightly leave some of them out."""
    assert SINCE + timedelta(minutes=LAST_MINUTE + 15) < NOW
