"""Looking for entries: the newest first, page by page, whatever they are looked for by.

Entries have one index, by the time of their admission. So the roll-ups are asked first in which
hours there is anything of what is looked for, and only those hours are read: a rare job is found
in a year as quickly as a busy one. What roll-ups do not know (an outcome, a tag, a key) is looked
for in the entries of those hours, and no more than LOOKED_AT_MOST of them for one page; a page
that ends before says so, and how far it has come.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import BigInteger, bindparam, func, literal_column, or_, select
from sqlalchemy.sql.elements import ColumnElement

from gateway.ledger.entries import HOUR
from gateway.ledger.queries import Range
from gateway.store.database import Cursor, Database
from gateway.store.statements import prepare
from gateway.store.tables import ROLLUP_DIMENSIONS, EntryRow, Rollup

_ENTRIES = EntryRow.__table__  # type: ignore[attr-defined]
_ROLLUPS = Rollup.__table__  # type: ignore[attr-defined]

OF_ENTRIES = ("provider", "model", "model_served", "key_id", "kind", "outcome", "corrects")
"""What entries can be looked for by besides the dimensions of the roll-ups."""
FILTERS = (*ROLLUP_DIMENSIONS, *OF_ENTRIES)
LOOKED_AT_MOST = 60_000
"""Entries that are looked at for one page, when only they know whether they are wanted."""
PAGE = 50
_EXPORT_PAGE = 5_000
_HOURS_AT_FIRST, _HOURS_AT_ONCE = 24, 24 * 31
"""Mostly the last day has enough for a page; what has not is looked for in more and more."""
_TIMES_AT_MOST = 6
"""How often so many hours are looked through for one page: half a year."""
_COLUMNS = tuple(column.name for column in _ENTRIES.columns if column.name != "org")
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which entries: of a period, where columns and tags have these values."""

    period: Range
    equal: Mapping[str, str] = field(default_factory=dict)
    """By names of FILTERS."""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def rolled(self) -> dict[str, str]:
        """The part that roll-ups know."""
        return {name: v for name, v in self.equal.items() if name in ROLLUP_DIMENSIONS}

    @property
    def is_rolled(self) -> bool:
        """Whether roll-ups know all of it, so that its sum is known without looking."""
        return not self.tags and len(self.rolled) == len(self.equal)


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the order of entries; what follows is older."""

    admitted_at: int
    id: str = _LAST

    def __str__(self) -> str:
        return f"{self.admitted_at}.{'' if self.id == _LAST else self.id}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """What `str` gave. Raises ValueError."""
        moment, _, entry = text.partition(".")
        return cls(int(moment), entry or _LAST)


@dataclass(frozen=True, slots=True)
class Found:
    """A page of entries."""

    rows: list[dict[str, Any]]
    next: Place | None
    """Where the next page begins; None when there is nothing more."""
    unfinished: bool = False
    """Whether it ends because enough was looked at, and not because it is full."""


class Search:
    """Looks for entries of one organisation. Blocks, and raises DatabaseDown."""

    def __init__(self, database: Database, org: str) -> None:
        self._database, self._org = database, org

    def page(self, wanted: Selection, after: Place | None = None, size: int = PAGE) -> Found:
        """The entries that follow a place, the newest first."""
        rows: list[dict[str, Any]] = []
        place = after or Place(wanted.period.end)
        looked = 0
        with self._database.reading() as cursor:
            horizon = self._horizon(cursor, wanted, place)
            near = Selection(
                Range(max(wanted.period.start, horizon), wanted.period.end),
                wanted.equal,
                wanted.tags,
            )
            for start, end, count in self._stretches(cursor, near, place, size):
                stretch = Range(start, end)
                rows += self._rows(cursor, wanted, stretch, place, size + 1 - len(rows))
                if len(rows) > size:
                    last = rows[size - 1]
                    return Found(rows[:size], Place(last["admitted_at"], last["id"]))
                looked += count
                if looked >= LOOKED_AT_MOST and not wanted.is_rolled:
                    return Found(rows, Place(start - 1), unfinished=True)
        if horizon > wanted.period.start:
            return Found(rows, Place(horizon - 1), unfinished=True)
        return Found(rows, None)

    def all(self, wanted: Selection) -> Iterator[list[dict[str, Any]]]:
        """Every entry, in pages of a transaction each: for exports."""
        place: Place | None = None
        while True:
            found = self.page(wanted, place, _EXPORT_PAGE)
            yield found.rows
            place = found.next
            if place is None:
                return

    def _horizon(self, cursor: Cursor, wanted: Selection, place: Place) -> int:
        """How far back one page may look: half a year, or to where there is nothing before."""
        statement = select(func.min(_ROLLUPS.c.hour)).where(_ROLLUPS.c.org == bindparam("org"))
        text = prepare(statement, self._database.engine_name)
        first = cursor.rows(text, {"org": self._org})[0][0]
        until = min(wanted.period.end, place.admitted_at + 1)
        horizon = (until // HOUR - _TIMES_AT_MOST * _HOURS_AT_ONCE) * HOUR
        nothing_before = first is None or horizon <= int(first) * HOUR
        return wanted.period.start if nothing_before else max(wanted.period.start, horizon)

    def _stretches(
        self, cursor: Cursor, wanted: Selection, place: Place, size: int
    ) -> Iterator[tuple[int, int, int]]:
        """Times in which there may be any, and how many entries they have; the newest first.

        One ends as soon as it has enough for a page.
        """
        start, end = wanted.period.start, min(wanted.period.end, place.admitted_at + 1)
        if start >= end:
            return
        enough = size + 1 if wanted.is_rolled else LOOKED_AT_MOST // 3
        last, count, first = 0, 0, 0
        for hour, entries in self._hours(cursor, wanted, start // HOUR, -(-end // HOUR)):
            if count and (hour != first - 1 or count >= enough):
                yield max(start, first * HOUR), min(end, last * HOUR), count
                count = 0
            if not count:
                last = hour + 1
            first, count = hour, count + entries
        if count:
            yield max(start, first * HOUR), min(end, last * HOUR), count

    def _hours(
        self, cursor: Cursor, wanted: Selection, first: int, after: int
    ) -> Iterator[tuple[int, int]]:
        """The hours in which there is something, with the number of entries; the newest first."""
        filters = wanted.rolled
        statement = (
            select(_ROLLUPS.c.hour, func.sum(_ROLLUPS.c.entries))
            .where(
                _ROLLUPS.c.org == bindparam("org"),
                _ROLLUPS.c.hour >= bindparam("first"),
                _ROLLUPS.c.hour < bindparam("after"),
                *(_ROLLUPS.c[name] == bindparam(f"is_{name}") for name in filters),
            )
            .group_by(_ROLLUPS.c.hour)
            .order_by(_ROLLUPS.c.hour.desc())
        )
        text = prepare(statement, self._database.engine_name)
        values = {"org": self._org, **{f"is_{name}": v for name, v in filters.items()}}
        together = _HOURS_AT_FIRST
        while first < after:
            begin = max(first, after - together)
            for hour, entries in cursor.rows(text, {**values, "first": begin, "after": after}):
                yield int(hour), int(entries)
            after, together = begin, min(2 * together, _HOURS_AT_ONCE)

    def _rows(
        self, cursor: Cursor, wanted: Selection, stretch: Range, place: Place, limit: int
    ) -> list[dict[str, Any]]:
        conditions: list[ColumnElement[bool]] = [
            _ENTRIES.c[name] == bindparam(f"is_{name}") for name in wanted.equal
        ]
        values: dict[str, Any] = {f"is_{name}": v for name, v in wanted.equal.items()}
        for number, (tag, value) in enumerate(wanted.tags.items()):
            conditions.append(_ENTRIES.c.tags.like(bindparam(f"tag_{number}"), escape="!"))
            values[f"tag_{number}"] = _like(tag, value)
        statement = (
            select(*(_ENTRIES.c[name] for name in _COLUMNS))
            .where(
                _ENTRIES.c.org == bindparam("org"),
                _ENTRIES.c.admitted_at >= bindparam("start"),
                _ENTRIES.c.admitted_at < bindparam("end"),
                or_(
                    _ENTRIES.c.admitted_at < bindparam("last_at"),
                    (_ENTRIES.c.admitted_at == bindparam("last_at"))
                    & (_ENTRIES.c.id < bindparam("last_id")),
                ),
                *conditions,
            )
            .order_by(_ENTRIES.c.admitted_at.desc(), _ENTRIES.c.id.desc())
            .limit(bindparam("size"))
            .offset(literal_column("0", BigInteger))
        )
        values |= {"org": self._org, "start": stretch.start, "end": stretch.end, "size": limit}
        values |= {"last_at": place.admitted_at, "last_id": place.id}
        found = cursor.rows(prepare(statement, self._database.engine_name), values)
        return [dict(zip(_COLUMNS, row, strict=True)) for row in found]


def _like(tag: str, value: str) -> str:
    """A pattern for the tags of an entry, which are compact JSON."""
    pair = msgspec.json.encode({tag: value}).decode()[1:-1]
    for special in "!%_":
        pair = pair.replace(special, f"!{special}")
    return f"%{pair}%"
