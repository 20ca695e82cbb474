"""One moment of the books, read stretch by stretch: what the checks of the audit look at.

A stretch is some thousands of entries that follow each other in the order of their admission. The
database adds them up, so memory and the longest statement stay as they are however many entries
there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.ledger.entries import HOUR
from gateway.store.database import Cursor

Hours = tuple[int, int]
"""The first of them and the one after the last, in hours since 1970."""
FOREVER: Hours = (-(2**62), 2**62)
_PARAMETER = re.compile(r":([a-z]+[0-9]*)")
_ENTRIES_OF_A_PART = 5_000
"""Few enough that a processor's own memory has room to sort them."""
_PARTS = 8
"""Parts of a stretch at the most: what few entries share is added up over all of them at once."""
_END_OF_TIME = 2**63 - 1
IN_STRETCH = "org = :org AND admitted_at BETWEEN :first AND :last"
"""The condition that every statement over a stretch begins with."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it has to be."""

    law: str
    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class Books:
    """One moment of the books of one organisation."""

    cursor: Cursor
    org: str
    sqlite: bool

    def rows(self, sql: str, **values: object) -> Iterator[tuple[Any, ...]]:
        """Rows of a query with parameters such as `:org`, which is always the organisation."""
        if not self.sqlite:
            sql = _PARAMETER.sub(r"%(\1)s", sql.replace("%", "%%"))
        return self.cursor.stream(sql, {"org": self.org, **values})

    def stretches(self, hours: Hours = FOREVER) -> Iterator[Stretch]:
        """All entries of some hours, in stretches of some thousands, in order of admission."""
        first, until = hours[0] * HOUR, hours[1] * HOUR
        moment = self._next(first, until)
        while moment is not None:
            parts: list[tuple[int, int]] = []
            while moment is not None and len(parts) < _PARTS:
                last = self._last_with(moment)
                parts.append((moment, last))
                moment = self._next(last + 1, until)
            yield Stretch(self, tuple(parts))

    def _next(self, moment: int, until: int, skipped: int = 0) -> int | None:
        """When an entry was admitted from one moment until another, so many being skipped."""
        if moment > _END_OF_TIME:
            return None
        found = self.rows(
            "SELECT admitted_at FROM entries WHERE org = :org AND admitted_at BETWEEN :first"
            " AND :last ORDER BY admitted_at LIMIT 1 OFFSET :skipped",
            first=max(moment, -_END_OF_TIME),
            last=min(until - 1, _END_OF_TIME),
            skipped=skipped,
        )
        return next((int(row[0]) for row in found), None)

    def _last_with(self, moment: int) -> int:
        """The last moment of the part that begins at a moment; both are in one hour.

        What was admitted in one microsecond stays together.
        """
        end_of_hour = (moment // HOUR + 1) * HOUR - 1
        after = self._next(moment, end_of_hour + 1, _ENTRIES_OF_A_PART)
        return end_of_hour if after is None else max(moment, min(end_of_hour, after - 1))


@dataclass(frozen=True, slots=True)
class Stretch:
    """Entries that were admitted one after the other."""

    books: Books
    bounds: tuple[tuple[int, int], ...]
    """Of each part: its first and its last moment, in microseconds since 1970."""

    @property
    def hour(self) -> int:
        """In which it begins, and a part ends, in hours since 1970."""
        return self.bounds[0][0] // HOUR

    def rows(self, sql: str, **values: object) -> Iterator[tuple[Any, ...]]:
        """Rows of a query whose condition begins with IN_STRETCH."""
        first, last = self.bounds[0][0], self.bounds[-1][1]
        return self.books.rows(sql, first=first, last=last, **values)

    def parts(self) -> Iterator[Stretch]:
        """The same entries, a few thousand at a time, and never of more than one hour."""
        for part in self.bounds:
            yield Stretch(self.books, (part,))


class EntryCheck(Protocol):
    """A check that is told all entries, stretch by stretch and in order."""

    name: str

    def add(self, stretch: Stretch) -> Iterator[Finding]:
        """Take these entries in; tells what it knows already to be wrong."""
        ...

    def end(self, books: Books) -> Iterator[Finding]:
        """All entries have been added: what else is wrong."""
        ...
