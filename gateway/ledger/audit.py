"""Do the books balance? Each check reads one moment of the books and returns what it found.

To add a law is to write a function and a line: here for what is small and read at once, in `lines`
for what each entry has to be. Entries are read a stretch at a time, so ten million take no more
memory than a few thousand. The sums are made by the database. Many entries are shared out to
several processes, which all read the same moment; what is found does not depend on it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from gateway.callers.changes import ChangeLog
from gateway.jobs.versions import WENT_LIVE, Versions
from gateway.ledger.lines import Lines
from gateway.ledger.months import CLOSED_UNTIL, closed_months, totals
from gateway.ledger.projections import Balances
from gateway.ledger.ranges import Found, Reader, Share, ranges_of, read_range
from gateway.ledger.reading import Books, Finding, Hours
from gateway.store.database import Database
from gateway.store.failing import DatabaseDown
from gateway.store.moments import Moment, NotShared, shared
from gateway.store.processes import Crew

__all__ = ["Finding", "audit"]

Progress = Callable[[int, int], None]
"""Is told how many entries have been read, and how many there should be."""
_ALONE = 500_000
"""Entries that are sooner read than other processes are started."""
_RANGE = 200_000
"""Entries that a process reads before it says how far it is."""
_SECONDS_TO_START = 30.0
_SECONDS_TO_JOIN = 1.0
"""On SQLite nobody can write meanwhile; it takes some milliseconds."""
_Crew = Crew[Moment | Hours | None, Share]
_Shares = Iterator[tuple[int, Share]]


def a_hold_ends_once(books: Books) -> Iterator[Finding]:
    """Law 1: what has an entry is not open any more."""
    for (hold,) in books.rows(
        "SELECT h.id FROM holds h JOIN entries e ON e.org = h.org AND e.id = h.id"
        " WHERE h.org = :org"
    ):
        yield Finding("1", f"hold {hold}", "it is open although its entry is written")


def nobody_overspent(books: Books) -> Iterator[Finding]:
    """Law 4: spent + held is within every hard limit, but for what providers billed beyond."""
    for name, subject, limit, spent, held, overrun in books.rows(
        "SELECT budget, subject, limit_value, spent, held, overrun FROM balances"
        " WHERE org = :org AND hard AND spent + held > limit_value + overrun"
    ):
        yield Finding(
            "4",
            f"budget {name} {subject}",
            f"{spent} spent and {held} held, of {limit} and {overrun} beyond ceilings",
        )


def closed_months_stay_as_they_are(books: Books) -> Iterator[Finding]:
    """Law 7: what was added up when a month was closed is what it adds up to now."""
    engine = "sqlite" if books.sqlite else "postgresql"
    closed = closed_months(books.cursor, books.org, engine)
    for month in closed:
        bounds = (month.starts_at, month.ends_at)
        entries, nanos = totals(books.cursor, books.org, engine, bounds)
        if (entries, nanos) == (month.entries, month.amount_nanos):
            continue
        yield Finding(
            "7",
            f"month {month.month}",
            f"it has {entries} entries of {nanos} nanos, and had {month.entries} of"
            f" {month.amount_nanos} when it was closed",
        )
        for (entry,) in books.rows(
            "SELECT id FROM entries WHERE org = :org AND admitted_at >= :start"
            " AND admitted_at < :end AND recorded_at > :closed ORDER BY recorded_at",
            start=month.starts_at,
            end=month.ends_at,
            closed=month.closed_at,
        ):
            yield Finding("7", f"entry {entry}", f"it was posted into {month.month} when closed")
    until = max((month.ends_at for month in closed), default=0)
    for (said,) in books.rows(
        "SELECT value FROM counters WHERE org = :org AND name = :name AND value <> :until",
        name=CLOSED_UNTIL,
        until=until,
    ):
        yield Finding("7", "closed months", f"they end at {until}, but {said} is kept as their end")
    for (hold,) in books.rows(
        "SELECT id FROM holds WHERE org = :org AND admitted_at < :until", until=until
    ):
        yield Finding("7", f"hold {hold}", "it is open although its month is closed")


def the_log_of_changes_is_whole(books: Books) -> Iterator[Finding]:
    """Law 7, of who changed what: no row of the log was edited, removed or put elsewhere."""
    engine = "sqlite" if books.sqlite else "postgresql"
    for row, message in ChangeLog(books.org, engine).check(books.cursor):
        yield Finding("7", row, message)


def every_version_is_what_went_live(books: Books) -> Iterator[Finding]:
    """Law 7, of the rules: no version that was live was edited or removed."""
    engine = "sqlite" if books.sqlite else "postgresql"
    logged: dict[int, str] = {}
    for row in ChangeLog(books.org, engine).read(books.cursor):
        name, _, number = row.subject.partition(" ")
        said = _hash_in(row.after) if (row.what, name) == (WENT_LIVE, "version") else ""
        if said and number.isdecimal():
            logged[int(number)] = said
    for row_, message in Versions(books.org, engine).check(books.cursor, logged):
        yield Finding("7", row_, message)


def _hash_in(after: str) -> str:
    """The version that a row of the log names; nothing where somebody has made something else of
    the row, which the check of the log tells."""
    try:
        told = json.loads(after)
    except ValueError:
        return ""
    return str(told.get("version", "")) if isinstance(told, dict) else ""


CHECKS: Sequence[Callable[[Books], Iterator[Finding]]] = (
    a_hold_ends_once,
    nobody_overspent,
    closed_months_stay_as_they_are,
    the_log_of_changes_is_whole,
    every_version_is_what_went_live,
)


def audit(
    database: Database,
    org: str,
    *,
    processes: int = 1,
    progress: Progress = lambda _read, _expected: None,
) -> tuple[list[Finding], int]:
    """Run every check; returns the findings and how many entries were looked at.

    Many entries are read by so many processes. `progress` is told again and again how many entries
    have been read, of how many there should be by the roll-ups. Raises DatabaseDown.
    """
    if processes > 1:
        with database.reading() as cursor:
            many = _expected(Books(cursor, org, database.is_sqlite)) > _ALONE
        if many:
            url = database.url.render_as_string(hide_password=False)
            with Crew(partial(Reader, url, org), processes) as crew:
                try:
                    return _together(database, org, crew, progress)
                except NotShared:  # this process alone comes to the same, later
                    pass
    with database.reading() as cursor:
        books = Books(cursor, org, database.is_sqlite)
        return _audited(books, progress, lambda ranges: _read_here(books, ranges, progress))


def _together(
    database: Database, org: str, crew: _Crew, progress: Progress
) -> tuple[list[Finding], int]:
    """The audit with the entries shared out. Raises NotShared, DatabaseDown."""
    try:
        crew.each(None, _SECONDS_TO_START)
    except DatabaseDown as error:
        raise NotShared(str(error)) from error
    with shared(database, lambda moment: crew.each(moment, _SECONDS_TO_JOIN)) as cursor:
        return _audited(Books(cursor, org, database.is_sqlite), progress, crew.share)


def _audited(
    books: Books, progress: Progress, share: Callable[[Sequence[Hours]], _Shares]
) -> tuple[list[Finding], int]:
    """Every check, with the entries read as `share` does it, in whatever order."""
    found, balances, entries, expected = Found(), Balances(), 0, _expected(books)
    progress(0, expected)
    ranges = ranges_of(books, _RANGE)
    in_order = [Found() for _ in ranges]
    shares = share(ranges)
    for check in CHECKS:
        found.add(check.__name__, check(books))
    for place, of_range in shares:
        in_order[place] = of_range.found
        balances.join(of_range.balances)
        entries += of_range.entries
        progress(entries, expected)
        list(books.rows("SELECT 1"))  # a server may hang up on who asks nothing for long
    for of_hours in in_order:
        found.join(of_hours)
    found.add(balances.name, balances.end(books))
    return found.listed(), entries


def _read_here(books: Books, ranges: Sequence[Hours], progress: Progress) -> _Shares:
    lines, expected, before = Lines(), _expected(books), 0
    for place, hours in enumerate(ranges):
        told = partial(_told, progress, before, expected)
        of_range = read_range(books, hours, lines, told)
        before += of_range.entries
        yield place, of_range


def _told(progress: Progress, before: int, expected: int, entries: int) -> None:
    progress(before + entries, expected)


def _expected(books: Books) -> int:
    """How many entries there should be, by the roll-ups."""
    ((counted,),) = books.rows("SELECT SUM(entries) FROM rollups WHERE org = :org")
    return int(counted or 0)
