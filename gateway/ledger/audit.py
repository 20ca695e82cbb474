"""Do the books balance? Each check reads one moment of the books and returns what it found.

To add a law is to write a function and a line: here for what is small and read at once, in `lines`
for what each entry has to be. Entries are read a stretch at a time, so ten million take no more
memory than a few thousand. The sums are made by the database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from gateway.callers.changes import ChangeLog
from gateway.ledger.lines import Lines
from gateway.ledger.months import CLOSED_UNTIL, closed_months, totals
from gateway.ledger.projections import Balances, Rollups
from gateway.ledger.reading import Books, EntryCheck, Finding
from gateway.store.database import Database

__all__ = ["Finding", "audit"]

_SHOWN = 20
"""Findings of one check that are listed; more of the same are counted."""


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


CHECKS: Sequence[Callable[[Books], Iterator[Finding]]] = (
    a_hold_ends_once,
    nobody_overspent,
    closed_months_stay_as_they_are,
    the_log_of_changes_is_whole,
)


def audit(
    database: Database,
    org: str,
    *,
    progress: Callable[[int, int], None] = lambda _read, _expected: None,
) -> tuple[list[Finding], int]:
    """Run every check; returns the findings and how many entries were looked at.

    `progress` is told again and again how many entries have been read, of how many there should
    be by the roll-ups. Raises DatabaseDown.
    """
    found, balances, rollups = _Found(), Balances(), Rollups()
    by_part: Sequence[EntryCheck] = (rollups, Lines())
    with database.reading() as cursor:
        books = Books(cursor, org, database.is_sqlite)
        ((counted,),) = books.rows("SELECT SUM(entries) FROM rollups WHERE org = :org")
        expected = int(counted or 0)
        progress(0, expected)
        for check in CHECKS:
            found.add(check.__name__, check(books))
        for stretch in books.stretches():
            found.add(balances.name, balances.add(stretch))
            for part in stretch.parts():
                for check_of_part in by_part:
                    found.add(check_of_part.name, check_of_part.add(part))
                progress(rollups.entries, expected)
        for check_of_entries in (balances, *by_part):
            found.add(check_of_entries.name, check_of_entries.end(books))
    return found.listed(), rollups.entries


@dataclass(slots=True)
class _Found:
    """Findings by check and law: some of each are kept, all are counted."""

    _kept: dict[tuple[str, str], list[Finding]] = field(default_factory=dict)
    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, check: str, findings: Iterable[Finding]) -> None:
        """What a check has found now."""
        for finding in findings:
            place = (check, finding.law)
            self._counts[place] += 1
            if self._counts[place] <= _SHOWN:
                self._kept.setdefault(place, []).append(finding)

    def listed(self) -> list[Finding]:
        """What is shown, and how many more there are."""
        listed: list[Finding] = []
        for place, kept in self._kept.items():
            listed += kept
            if (more := self._counts[place] - len(kept)) > 0:
                check, law = place
                listed.append(Finding(law, check, f"and {more} more like these"))
        return listed
