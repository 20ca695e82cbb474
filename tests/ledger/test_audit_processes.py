"""An audit that several processes share finds what one finds, in one moment of the books."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event, Thread

import pytest

from gateway.jobs.routes import Scope
from gateway.ledger import audit as auditing
from gateway.ledger.audit import audit
from gateway.metering.usage import Usage
from gateway.store import database as databases
from gateway.store.database import Database
from tests.treasury.booking import Books, a_budget, change, opening

BUDGETS = (
    a_budget("all", 10**9),
    a_budget("calls", 10**6, scope=Scope("team"), unit="requests"),
)
HOURS, IN_EACH = 7, 30
ENTRIES = HOURS * IN_EACH
HOUR_SECONDS = 3_600
BREAKS = (
    "UPDATE entries SET amount_nanos = amount_nanos + 1 WHERE org = :org AND input / 3 * 3 = input",
    "UPDATE entries SET kind = 'gift' WHERE org = :org AND input / 3 * 3 = input AND input > 15",
    "UPDATE entries SET confined = (1 = 1) WHERE org = :org AND input = 5",
    "UPDATE rollups SET tokens = tokens + 1 WHERE org = :org AND hour / 3 * 3 = hour",
    "UPDATE rollups SET hour = hour + 1000 WHERE org = :org AND hour / 3 * 3 = hour - 1",
    "UPDATE balances SET spent = spent + 1, held = held + 2 WHERE org = :org",
    "UPDATE entries SET balances = '9999' WHERE org = :org AND input = 7",
)
"""Each is wrong in several hours, and some are wrong more often than is listed."""


@pytest.fixture(autouse=True)
def small_books_are_many_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A range ends with the hour that makes it forty entries."""
    monkeypatch.setattr(auditing, "_ALONE", 0)
    monkeypatch.setattr(auditing, "_RANGE", 40)


@pytest.fixture
def books(database_url: str) -> Iterator[Books]:
    """Seven hours with thirty entries each."""
    with opening(database_url) as database:
        books = Books(database, BUDGETS, org="main")
        for _ in range(HOURS):
            for number in range(IN_EACH):
                books.book(Usage(input=number))
            books.clock.move(HOUR_SECONDS)
        yield books


def test_two_processes_find_what_one_finds(books: Books) -> None:
    told: list[tuple[int, int]] = []
    assert audit(books.database, "main") == ([], ENTRIES)
    found = audit(books.database, "main", processes=2, progress=lambda *now: told.append(now))
    assert found == ([], ENTRIES)
    assert told == sorted(told)
    assert told[-1] == (ENTRIES, ENTRIES)
    assert len(told) > 3


def test_two_processes_find_in_broken_books_what_one_finds(books: Books) -> None:
    for broken in BREAKS:
        change(books.database, broken, org="main")
    alone, entries = audit(books.database, "main")
    assert {finding.law for finding in alone} == {"3", "7", "9", "11"}
    assert [finding for finding in alone if "more like these" in finding.message]
    assert audit(books.database, "main", processes=2) == (alone, entries)


def test_books_whose_roll_ups_are_gone_are_still_read_whole(books: Books) -> None:
    every_other = "DELETE FROM rollups WHERE org = :org AND hour / 2 * 2 = hour"
    change(books.database, every_other, org="main")
    findings, entries = audit(books.database, "main", processes=2)
    assert entries == ENTRIES
    assert {finding.message for finding in findings} == {"it is missing"}


def test_what_is_written_after_the_moment_is_read_by_no_process(books: Books) -> None:
    """The first is written before any process has been given anything to read."""
    written: list[object] = []

    def write(_read: int, _expected: int) -> None:
        written.append(books.book(Usage(input=3)))

    assert audit(books.database, "main", processes=2, progress=write) == ([], ENTRIES)
    assert len(written) > 3
    assert audit(books.database, "main") == ([], ENTRIES + len(written))


def test_processes_read_one_moment_while_others_write(books: Books) -> None:
    """Entries of every hour are written from before the processes start until they are done."""
    url = books.database.url.render_as_string(hide_password=False)
    written, begun, over = [0], Event(), Event()

    def write() -> None:
        with opening(url) as database:
            later = Books(database, BUDGETS, org="main")
            later.clock.move(2 * HOUR_SECONDS)
            while not over.is_set():
                later.book(Usage(input=9), request_id=f"later-{written[0]}")
                written[0] += 1
                begun.set()

    writer = Thread(target=write)
    writer.start()
    try:
        assert begun.wait(20)
        before = written[0]
        findings, entries = audit(books.database, "main", processes=2)
        after = written[0]
    finally:
        over.set()
        writer.join()
    assert findings == []
    assert ENTRIES + before < entries <= ENTRIES + after + 1
    assert audit(books.database, "main") == ([], ENTRIES + written[0])


def test_sqlite_that_somebody_else_holds_is_read_by_one_process(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "BUSY_SECONDS", 0)
    with opening(sqlite_url) as database:
        Books(database, BUDGETS, org="main").book(Usage(input=1))
        with database.writing():
            told = _audit_of_its_own(sqlite_url)
    assert told == ([], 1)


def _audit_of_its_own(url: str) -> object:
    database = Database(url)
    try:
        return audit(database, "main", processes=2)
    finally:
        database.close()
