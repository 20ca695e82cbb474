"""Attempts that are over are booked as if the gateway had been there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.callers.changes import By
from gateway.jobs.routes import Scope
from gateway.ledger.audit import audit
from gateway.ledger.months import parse_month
from gateway.metering.usage import Usage
from gateway.store.database import Database, DatabaseConflict
from gateway.treasury.budgets import Amounts, Payer
from gateway.treasury.closing import MonthClosing
from gateway.treasury.finished import Finished, FinishedAttempts, Posted
from gateway.treasury.holds import Hold
from tests.treasury.booking import (
    BRAND,
    RELEASED,
    Books,
    a_budget,
    a_draft,
    charged,
    cost,
    opening,
)

MINUTE = 60_000_000
DATA = Payer("data", "bot", "key_2", "narrative", {"run": "r1"})
BUDGETS = (
    a_budget("month", 4_000),
    a_budget("teams", 900, scope=Scope("team"), unit="tokens", period="day"),
    a_budget("runs", 1_500, scope=Scope("tag", None, "run"), period="forever"),
    a_budget("narrow", 700, scope=Scope("job", "narrative"), hard=False, period="week"),
    a_budget("kept", 500, period="day", hard=False, rollover=True),
)
KEPT = "SELECT id, admitted_at, balances, amount_nanos, ceiling_nanos FROM entries"

requests = st.lists(
    st.tuples(
        st.sampled_from([BRAND, DATA]),
        st.integers(0, 300),
        st.integers(0, 60),
        st.integers(1, 2_000),
    ),
    max_size=25,
)


def finished(books: Books, number: int, payer: Payer, usage: Usage, ceiling: Amounts) -> Finished:
    """An attempt that was answered within the clock's minute."""
    request_id = f"req_{number:04}"
    return Finished(
        id=f"{request_id}.1",
        draft=a_draft(request_id, payer, {}),
        ending=charged(usage),
        admitted_at=books.clock.now(),
        recorded_at=books.clock.now(),
        ceiling=ceiling,
    )


def posting(books: Books) -> FinishedAttempts:
    return FinishedAttempts(books.org, books.database.engine_name, books.calendar, books.budgets)


def post(books: Books, batch: list[Finished], by: FinishedAttempts | None = None) -> Posted:
    with books.database.writing() as cursor:
        return (by or posting(books)).post(cursor, batch)


@pytest.fixture
def books(database_url: str) -> Iterator[Books]:
    with opening(database_url) as database:
        yield Books(database, BUDGETS)


@settings(max_examples=12, deadline=None)
@given(asked=requests, cut=st.integers(0, 25))
def test_it_comes_out_as_if_the_gateway_had_been_there(
    asked: list[tuple[Payer, int, int, int]], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("books")
    with (
        opening(f"sqlite:///{folder}/live.db") as live_database,
        opening(f"sqlite:///{folder}/past.db") as past_database,
    ):
        live, past = Books(live_database, BUDGETS), Books(past_database, BUDGETS)
        batch, refused = [], 0
        for number, (payer, read, written, minutes) in enumerate(asked):
            usage, more = Usage(input=read, output=written), Amounts(2 * read + 90, 200, 1)
            ceiling = replace(more, nanos=max(more.nanos, cost(usage)))
            for each in (live, past):
                each.clock.move(minutes * 60)
            batch.append(finished(past, number, payer, usage, ceiling))
            request = live.request(ceiling, payer, waits=False, request_id=f"req_{number:04}")
            answer = live.turn([request]).answers[0][1]
            if isinstance(answer, Hold):
                live.end(answer, charged(usage))
            else:
                refused += 1
        by = posting(past)
        told = [post(past, part, by) for part in (batch[:cut], batch[cut:])]
        assert sum(len(each.refused) for each in told) == refused
        assert past.balances() == live.balances()
        assert sorted(past.rows(KEPT)) == sorted(live.rows(KEPT))
        assert audit(past_database, "main")[0] == []


def test_what_a_hard_budget_has_no_room_for_is_told_and_not_posted(books: Books) -> None:
    fits = finished(books, 1, BRAND, Usage(input=2_000), Amounts(3_500, 0, 1))
    too_dear = finished(books, 2, BRAND, Usage(input=1_000), Amounts(1_500, 0, 1))
    further = replace(too_dear, id="req_0002.2", draft=replace(too_dear.draft, attempt=2))
    told = post(books, [fits, too_dear, further])
    assert [entry.id for entry in told.entries] == ["req_0001.1"]
    assert [(each.id, short.line.budget.name) for each, short in told.refused] == [
        ("req_0002.1", "month")
    ]
    assert audit(books.database, "main")[0] == []


def test_a_release_counts_for_nothing(books: Books) -> None:
    released = finished(books, 1, BRAND, Usage(), Amounts(100, 10, 1))
    post(books, [replace(released, ending=RELEASED)])
    assert books.rows("SELECT request_count, amount_nanos FROM entries") == [(0, 0)]
    assert audit(books.database, "main")[0] == []


def test_an_attempt_is_posted_once(books: Books) -> None:
    batch = [finished(books, 1, BRAND, Usage(input=4), Amounts(100, 10, 1))]
    post(books, batch)
    with pytest.raises(DatabaseConflict):
        post(books, batch)
    assert audit(books.database, "main") == ([], 1)


def test_nothing_is_posted_into_a_closed_month(books: Books) -> None:
    attempt = finished(books, 1, BRAND, Usage(input=4), Amounts(100, 10, 1))
    books.clock.move(40 * 24 * 3600)
    close(books.database, books)
    with pytest.raises(ValueError, match="closed"):
        post(books, [attempt])
    assert post(books, []).entries == []


def close(database: Database, books: Books) -> None:
    closing = MonthClosing(books.org, database.engine_name, books.calendar)
    with database.writing() as cursor:
        closing.close(cursor, parse_month("2026-11"), By("ann", "", "test"), books.clock.now())


def test_limits_by_the_minute_do_not_stop_what_is_past(sqlite_url: str) -> None:
    with opening(sqlite_url) as database:
        books = Books(database, (a_budget("rate", 1, unit="requests", period="minute"),))
        batch = [finished(books, n, BRAND, Usage(input=1), Amounts(9, 9, 1)) for n in range(3)]
        assert len(post(books, batch).entries) == 3
        assert books.balances() == {}
