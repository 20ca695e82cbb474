"""A closed month: nothing is posted into it, and whatever corrects it says so in the open one."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.audit import audit
from gateway.ledger.months import ClosedMonth, closed_months
from gateway.metering.usage import Usage
from gateway.store.database import DatabaseConflict
from gateway.treasury.adjusting import UnknownEntry
from gateway.treasury.closing import CLOCKS_DIFFER, CannotClose, StillOpen
from gateway.treasury.posting import posting_time
from tests.ledger.spending import BRAND, Spending, moment
from tests.treasury.booking import OPEN_SECONDS, change, charged, opened

CLOSING = "2026-11-01T00:05:00+01:00"
"""The first moment at which October can be closed."""
HALLOWEEN = "2026-10-31T23:59:59+01:00"


@pytest.fixture
def books(database_url: str) -> Iterator[Spending]:
    spending = Spending(opened(database_url))
    yield spending
    assert audit(spending.database, spending.org)[0] == []
    spending.database.close()


def entry_of(books: Spending, entry_id: str) -> dict[str, object]:
    (row,) = [r for r in books.ledger.entries_of(entry_id.partition(".")[0]) if r["id"] == entry_id]
    return row


def test_a_month_is_closed_with_what_it_comes_to(books: Spending) -> None:
    books.at("2026-10-01T00:00:00+02:00").book(Usage(input=100))
    books.at(HALLOWEEN).book(Usage(input=10))
    books.at("2026-11-01T00:00:00+01:00").book(Usage(input=1000))
    closed = books.at(CLOSING).close("2026-10")
    assert isinstance(closed, ClosedMonth)
    assert (closed.month, closed.entries, closed.amount_nanos) == ("2026-10", 2, 165)
    assert (closed.author, closed.closed_at) == ("ann", moment(CLOSING))
    with books.database.reading() as cursor:
        assert closed_months(cursor, "main", books.database.engine_name) == [closed]


def test_a_month_that_is_not_over_for_every_clock_is_not_closed(books: Spending) -> None:
    for at in ("2026-10-31T12:00:00+01:00", "2026-11-01T00:04:59+01:00"):
        with pytest.raises(CannotClose, match=r"can be closed from 2026-10-31T23:05:00"):
            books.at(at).close("2026-10")
    assert CLOCKS_DIFFER == 300 * 10**6


def test_months_are_closed_once_and_in_their_order(books: Spending) -> None:
    books.at("2026-08-10T00:00:00+02:00").book(Usage(input=2))
    books.at("2026-10-10T00:00:00+02:00").book(Usage(input=2))
    books.at(CLOSING)
    with pytest.raises(CannotClose, match="2026-08 has entries and is open: close it first"):
        books.close("2026-10")
    assert isinstance(books.close("2026-08"), ClosedMonth)
    assert isinstance(books.close("2026-10"), ClosedMonth)
    with pytest.raises(CannotClose, match="2026-10 was closed by ann"):
        books.close("2026-10")
    with pytest.raises(CannotClose, match="everything before 2026-10-31T23:00:00"):
        books.close("2026-09")


def test_an_open_hold_of_the_month_keeps_it_open_and_is_told(books: Spending) -> None:
    """Law 37: a request that began before midnight counts in the month before it."""
    hold = books.at(HALLOWEEN).hold(500, 50)
    books.at(CLOSING).hold(7, 7)
    waiting = books.close("2026-10")
    assert isinstance(waiting, StillOpen)
    assert (waiting.holds, waiting.held_nanos, waiting.lapse_at) == (1, 500, hold.lapses_at)
    assert "1 hold of it still open; the last one lapses at 2026-10-31T23:09:59" in str(waiting)

    entry = books.end(hold, charged(Usage(input=100)))
    closed = books.close("2026-10")
    assert isinstance(closed, ClosedMonth)
    assert entry.admitted_at == moment(HALLOWEEN)
    assert (closed.entries, closed.amount_nanos) == (1, 150)
    books.clock.move(OPEN_SECONDS + 1)
    books.lapse()


@pytest.mark.parametrize("closed", [False, True])
def test_a_correction_counts_where_its_month_is_open(books: Spending, closed: bool) -> None:
    entry = books.at(HALLOWEEN).book(Usage(input=100))
    books.at("2026-11-20T10:00:00+01:00").book(Usage(input=10))
    if closed:
        books.close("2026-10")
    made = books.adjust(entry.id, -40, "too dear")

    if closed:
        assert made.admitted_at == books.clock.now()
        assert made.ending.reason == "too dear [corrects 2026-10, which is closed]"
        assert books.spent("month") == [150, 15 - 40]
    else:
        assert made.admitted_at == entry.admitted_at
        assert made.ending.reason == "too dear"
        assert books.spent("month") == [150 - 40, 15]
    november = moment("2026-11-01T00:00:00+01:00")
    assert [books.sum(0, november), books.sum(november)] == books.spent("month")
    assert books.spent("year") == [150 + 15 - 40]


def test_a_correction_of_a_closed_month_is_the_first_thing_in_the_open_one(
    books: Spending,
) -> None:
    """There are no balances of November yet; limits by the minute are left alone."""
    entry = books.at(HALLOWEEN).book(Usage(input=100))
    books.at(CLOSING).close("2026-10")
    made = books.adjust(entry.id, 1000)
    assert len(made.balances.split()) == 3
    assert books.spent("month") == books.spent("teams") == [150, 1000]
    assert books.spent("year") == [1150]
    assert books.spent("rate") == [150]


def test_a_hold_that_lapsed_before_the_closing_is_corrected_after_it(books: Spending) -> None:
    hold = books.at(HALLOWEEN).hold(500, 50)
    books.clock.move(OPEN_SECONDS + 1)
    books.lapse()
    closed = books.close("2026-10")
    assert isinstance(closed, ClosedMonth)
    assert closed.amount_nanos == 500
    books.lapse()  # a second has passed: the gateway has noticed

    told = books.end(hold, charged(Usage(input=100)))
    taken_back = entry_of(books, f"{hold.id}.late-1")
    assert told.id == f"{hold.id}.late-2"
    assert told.admitted_at == taken_back["admitted_at"] == books.clock.now()
    assert str(taken_back["reason"]).endswith("[corrects 2026-10, which is closed]")
    assert books.sum(moment("2026-11-01T00:00:00+01:00")) == 150 - 500
    again = books.end(hold, charged(Usage(input=100)))
    assert again.id == hold.id
    assert books.sum() == 150


def test_it_is_noticed_without_having_been_told(books: Spending) -> None:
    """The same in the very second in which the month is closed."""
    hold = books.at(HALLOWEEN).hold(500, 50)
    books.clock.move(OPEN_SECONDS + 1)
    books.lapse()
    books.close("2026-10")
    assert books.end(hold, charged(Usage(input=100))).admitted_at == books.clock.now()


def test_a_machine_whose_clock_is_behind_admits_nothing_into_a_closed_month(
    books: Spending,
) -> None:
    books.at(HALLOWEEN).book(Usage(input=2))
    books.at(CLOSING).close("2026-10")
    books.lapse()
    hold = books.at(HALLOWEEN).hold(500, 50)
    entry = books.end(hold, charged(Usage(input=100)))
    assert entry.admitted_at == moment("2026-11-01T00:00:00+01:00")
    assert ("month", "", "usd", moment("2026-11-01T00:00:00+01:00")) in books.balances()


@given(st.integers(0, 10**4), st.integers(0, 10**4), st.integers(0, 10**4))
def test_nothing_is_ever_posted_before_the_end_of_what_is_closed(
    closed_until: int, admitted_at: int, now: int
) -> None:
    found = posting_time(closed_until, admitted_at, now)
    assert found >= closed_until
    assert found in (admitted_at, now, closed_until)
    assert found == admitted_at or admitted_at < closed_until


def test_the_audit_finds_a_closed_month_that_is_not_what_it_was(sqlite_url: str) -> None:
    books = Spending(opened(sqlite_url))
    books.at(HALLOWEEN).book(Usage(input=100))
    books.at(CLOSING).close("2026-10")
    change(books.database, "UPDATE rollups SET amount_nanos = amount_nanos + 1")
    found = {finding.subject: finding.message for finding in audit(books.database, "main")[0]}
    books.database.close()
    assert found["month 2026-10"].startswith("it has 1 entries of 151 nanos, and had 1 of 150")


def test_the_audit_names_the_entry_that_was_posted_into_a_closed_month(sqlite_url: str) -> None:
    books = Spending(opened(sqlite_url))
    books.at(HALLOWEEN).book(Usage(input=100))
    books.at(CLOSING).close("2026-10")
    behind = Spending(books.database, instance="a clock behind, and not told in time")
    hold = behind.at(HALLOWEEN).hold(500, 50, request_id="req_late")
    late = behind.at("2026-11-01T00:06:00+01:00").end(hold, charged(Usage(input=100)))
    found = {f.subject: f.message for f in audit(books.database, "main")[0]}
    books.database.close()
    assert found[f"entry {late.id}"] == "it was posted into 2026-10 when closed"
    assert found["month 2026-10"].startswith("it has 2 entries of 300 nanos, and had 1 of 150")


def test_an_open_hold_in_a_closed_month_and_a_wrong_end_are_findings(sqlite_url: str) -> None:
    books = Spending(opened(sqlite_url))
    books.at(HALLOWEEN).book(Usage(input=100))
    hold = books.hold(10, 10)
    change(books.database, "UPDATE holds SET admitted_at = admitted_at + 10000000")
    books.at(CLOSING).close("2026-10")
    change(books.database, "UPDATE holds SET admitted_at = admitted_at - 10000000")
    change(books.database, "UPDATE counters SET value = 1 WHERE name = 'closed_until'")
    subjects = {finding.subject for finding in audit(books.database, "main")[0]}
    books.database.close()
    assert subjects == {f"hold {hold.id}", "closed months"}


@pytest.mark.parametrize(("reason", "author"), [("", "ann"), ("  ", "ann"), ("why", " ")])
def test_a_correction_without_a_reason_or_an_author_is_refused(
    books: Spending, reason: str, author: str
) -> None:
    entry = books.book(Usage(input=2))
    with pytest.raises(ValueError, match="says why, and who"):
        books.adjust(entry.id, -1, reason, author=author)


def test_a_correction_of_nothing_known_is_refused_and_writes_nothing(books: Spending) -> None:
    with pytest.raises(UnknownEntry):
        books.adjust("req_none.1", -1)
    assert books.sum() == 0


def test_a_named_correction_is_posted_once(books: Spending) -> None:
    entry = books.book(Usage(input=100))
    books.adjust(entry.id, -1, name="bill-7")
    with pytest.raises(DatabaseConflict):
        books.adjust(entry.id, -1, name="bill-7")
    assert books.sum() == 149


def test_corrections_keep_what_is_known_of_the_request(books: Spending) -> None:
    entry = books.book(Usage(input=100), BRAND, stream=True, tags={"stage": "draft"})
    made = entry_of(books, books.adjust(entry.id, -1).id)
    original = entry_of(books, entry.id)
    same = {"team", "app", "job", "target", "provider", "model", "model_served", "stage", "tags"}
    same |= {"stream", "confined", "residency", "key_id", "request_id", "attempt", "quality"}
    assert {n: made[n] for n in same} == {n: original[n] for n in same}
    assert (made["kind"], made["corrects"], made["request_count"]) == ("adjust", entry.id, 0)


def test_closing_waits_for_a_correction_under_way_and_counts_it(postgres_url: str) -> None:
    """Two transactions at once: the totals are written down after the correction, or before."""
    books = Spending(opened(postgres_url))
    entry = books.at(HALLOWEEN).book(Usage(input=100))
    books.at(CLOSING)
    closed: list[ClosedMonth | StillOpen] = []
    closer = threading.Thread(target=lambda: closed.append(books.close("2026-10")))
    with books.database.writing() as cursor:
        books.adjustments._postings.lock(cursor)
        closer.start()
        closer.join(0.2)
        assert closed == []
        cursor.run("SELECT 1", {})
    closer.join()
    (month,) = closed
    assert isinstance(month, ClosedMonth)
    assert month.amount_nanos == 150
    assert books.adjust(entry.id, -1).admitted_at == books.clock.now()
    assert audit(books.database, "main")[0] == []
    books.database.close()
