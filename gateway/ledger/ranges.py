"""The entries of some hours, looked at by every check of entries: here, or in another process.

Hours are independent of each other but for balances, which are added up over all of them. So
each range of hours is read by itself, and what it came to is small enough to be sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field

from gateway.ledger.lines import Lines
from gateway.ledger.projections import Balances, Rollups
from gateway.ledger.reading import FOREVER, Books, EntryCheck, Finding, Hours
from gateway.store.database import Cursor, Database
from gateway.store.moments import Moment, joined

_SHOWN = 20
"""Findings of one check that are listed; more of the same are counted."""


@dataclass(slots=True)
class Found:
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

    def join(self, later: Found) -> None:
        """What was found in later entries."""
        for place, kept in later._kept.items():
            ours = self._kept.setdefault(place, [])
            ours += kept[: _SHOWN - len(ours)]
        self._counts += later._counts

    def listed(self) -> list[Finding]:
        """What is shown, and how many more there are."""
        listed: list[Finding] = []
        for place, kept in self._kept.items():
            listed += kept
            if (more := self._counts[place] - len(kept)) > 0:
                check, law = place
                listed.append(Finding(law, check, f"and {more} more like these"))
        return listed


@dataclass(frozen=True, slots=True)
class Share:
    """What the entries of a range came to."""

    entries: int
    balances: Balances
    found: Found


def ranges_of(books: Books, size: int) -> list[Hours]:
    """All hours there can be, in ranges that have so many entries or some more, by the roll-ups.

    Where roll-ups are wrong the ranges are uneven, and still leave no hour out.
    """
    ranges: list[Hours] = []
    (first, end), so_far = FOREVER, 0
    for hour, entries in books.rows(
        "SELECT hour, SUM(entries) FROM rollups WHERE org = :org GROUP BY hour ORDER BY hour"
    ):
        if so_far >= size and first < hour < end:
            ranges.append((first, hour))
            first, so_far = hour, 0
        so_far += int(entries)
    return [*ranges, (first, end)]


def read_range(books: Books, hours: Hours, lines: Lines, told: Callable[[int], None]) -> Share:
    """Look at the entries, and the roll-ups, of some hours.

    `told` hears again and again how many of its entries have been read. Raises DatabaseDown.
    """
    found, balances, rollups = Found(), Balances(), Rollups(hours)
    by_part: tuple[EntryCheck, ...] = (rollups, lines)
    for stretch in books.stretches(hours):
        found.add(balances.name, balances.add(stretch))
        for part in stretch.parts():
            for check in by_part:
                found.add(check.name, check.add(part))
            told(rollups.entries)
    for check in by_part:
        found.add(check.name, check.end(books))
    return Share(rollups.entries, balances, found)


class Reader:
    """Reads ranges in a process of its own: is first told nothing, then the moment, then ranges."""

    def __init__(self, url: str, org: str) -> None:
        self._database, self._org = Database(url), org
        self._lines = Lines()
        self._open = ExitStack()
        self._cursor: Cursor | None = None

    def take(self, asked: Moment | Hours | None) -> Share:
        """What a range came to. Joins a moment; to be told nothing is to connect.

        Raises DatabaseDown.
        """
        if asked is None:
            with self._database.reading() as cursor:
                cursor.rows("SELECT 1", {})
            return Share(0, Balances(), Found())
        if isinstance(asked, Moment):
            self._cursor = self._open.enter_context(joined(self._database, asked))
            return Share(0, Balances(), Found())
        if self._cursor is None:
            raise ValueError("a range is read in a moment, and none was told")
        books = Books(self._cursor, self._org, self._database.is_sqlite)
        return read_range(books, asked, self._lines, lambda _entries: None)

    def close(self) -> None:
        """Let go of the moment, and of the connection."""
        self._open.close()
        self._database.close()
