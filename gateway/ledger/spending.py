"""What was spent in a period, by every dimension of the roll-ups at once, or hour by hour.

A page shows the same period by team, by app, by job and so on. The roll-ups are read once for all
of them, and added up here: so the parts of a page agree with each other, and with the ledger. What
a period has beyond whole hours is summed from the entries themselves.

Days that were read before need not be grouped again: they are only counted (`remembered_days`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import add
from typing import Any

from sqlalchemy import BigInteger, bindparam, func, literal_column, select

from gateway.ledger.entries import HOUR, REPORTED
from gateway.ledger.queries import Range
from gateway.ledger.remembered_days import RememberedDays
from gateway.store.database import Cursor, Database
from gateway.store.statements import prepare
from gateway.store.tables import ROLLUP_DIMENSIONS, ROLLUP_SUMS, EntryRow, Rollup

_ENTRIES = EntryRow.__table__  # type: ignore[attr-defined]
_ROLLUPS = Rollup.__table__  # type: ignore[attr-defined]
_HOURLY = ("amount_nanos", "request_count", "tokens")
_DAY_HOURS = 24
BASIC = ("entries", "request_count", "tokens", "amount_nanos")
"""The sums that every page needs."""
EVERYTHING = (*BASIC, *(name for name in ROLLUP_SUMS if name not in BASIC))
"""These and each class of tokens; they take twice as long."""


@dataclass(frozen=True, slots=True)
class Total:
    """Sums of entries, in the order of EVERYTHING: the basic ones, or all; without any, zero."""

    sums: tuple[int, ...] = ()

    def __add__(self, other: Total) -> Total:
        if not (self.sums and other.sums):
            return self if self.sums else other
        return Total(tuple(a + b for a, b in zip(self.sums, other.sums, strict=True)))

    @property
    def nanos(self) -> int:
        """Nano-dollars."""
        return self.of("amount_nanos")

    @property
    def entries(self) -> int:
        """How many entries."""
        return self.of("entries")

    @property
    def requests(self) -> int:
        """How many requests that were answered or charged for."""
        return self.of("request_count")

    @property
    def tokens(self) -> int:
        """Tokens of all classes."""
        return self.of("tokens")

    def of(self, name: str) -> int:
        """One of the sums by its name, such as `cache_read`. IndexError when it was not asked."""
        return self.sums[EVERYTHING.index(name)] if self.sums else 0


NOTHING = Total()


@dataclass(frozen=True, slots=True)
class Cube:
    """A period: a total for each combination of team, app, job, target, stage and quality, or of
    those of them that are in `names`."""

    cells: Mapping[tuple[str, ...], Total] = field(default_factory=dict)
    names: tuple[str, ...] = ROLLUP_DIMENSIONS

    @property
    def total(self) -> Total:
        """Everything."""
        return _sum(self.cells.values())

    @property
    def reported(self) -> Total:
        """The part whose amounts are known from what providers reported."""
        return self.by("quality").get(REPORTED, NOTHING)

    def by(self, name: str, **equal: str) -> dict[str, Total]:
        """A total for each value of a dimension, the dearest first; `equal` are other ones."""
        return {key[0]: total for key, total in self.by_all((name,), **equal).items()}

    def by_all(self, names: Sequence[str], **equal: str) -> dict[tuple[str, ...], Total]:
        """The same for each combination of some dimensions."""
        places = [self.names.index(name) for name in names]
        wanted = [(self.names.index(other), value) for other, value in equal.items()]
        found: dict[tuple[str, ...], Total] = {}
        for cell, total in self.cells.items():
            if all(cell[at] == value for at, value in wanted):
                key = tuple(cell[place] for place in places)
                found[key] = found.get(key, NOTHING) + total
        return dict(sorted(found.items(), key=lambda item: (-item[1].nanos, item[0])))


@dataclass(frozen=True, slots=True)
class HourSums:
    """One hour (since 1970) of one value of a dimension."""

    hour: int
    value: str
    nanos: int
    requests: int
    tokens: int


class Spending:
    """Asks the books of one organisation. Every method blocks and raises DatabaseDown.

    With days to remember it is quicker from the second time on; it says the same.
    """

    def __init__(self, database: Database, org: str, days: RememberedDays | None = None) -> None:
        self._database, self._org, self._days = database, org, days

    def is_empty(self) -> bool:
        """Whether there is no entry yet at all."""
        statement = select(_ROLLUPS.c.hour).where(_ROLLUPS.c.org == bindparam("org"))
        text = prepare(_first(statement), self._database.engine_name)
        with self._database.reading() as cursor:
            return not cursor.rows(text, {"org": self._org})

    def cube(
        self,
        period: Range,
        where: Mapping[str, str] | None = None,
        *,
        names: tuple[str, ...] = ROLLUP_DIMENSIONS,
        sums: Sequence[str] = BASIC,
    ) -> Cube:
        """A period, or the part of it where dimensions have these values; `sums` are BASIC or
        EVERYTHING."""
        cells: dict[tuple[str, ...], Total] = {}
        with self._database.reading() as cursor:
            for table, part in parts_of(period):
                for row in self._by_day(cursor, table, part, names, sums, where or {}):
                    key = row[: len(names)]
                    total = Total(tuple(int(value or 0) for value in row[len(names) :]))
                    cells[key] = cells.get(key, NOTHING) + total
        return Cube({key: total for key, total in cells.items() if total.entries}, names)

    def total(self, period: Range, where: Mapping[str, str] | None = None) -> tuple[int, int]:
        """How many entries a period has, or such a part of it, and their nano-dollars."""
        entries = nanos = 0
        with self._database.reading() as cursor:
            for table, part in parts_of(period):
                names = ("entries", "amount_nanos")
                for count, amount in self._rows(cursor, table, part, (), names, where or {}):
                    entries, nanos = entries + int(count or 0), nanos + int(amount or 0)
        return entries, nanos

    def hourly(
        self, period: Range, by: str, where: Mapping[str, str] | None = None
    ) -> list[HourSums]:
        """Hour by hour for each value of a dimension, in order of time."""
        found: list[HourSums] = []
        with self._database.reading() as cursor:
            for table, part in parts_of(period):
                names = ("hour", by)
                for row in self._by_day(cursor, table, part, names, _HOURLY, where or {}):
                    hour, value, *sums = row
                    nanos, requests, tokens = (int(one or 0) for one in sums)
                    found.append(HourSums(int(hour), value, nanos, requests, tokens))
        return sorted(found, key=lambda sums: (sums.hour, sums.value))

    def _by_day(
        self,
        cursor: Cursor,
        table: Any,
        part: Range,
        names: Sequence[str],
        sums: Sequence[str],
        where: Mapping[str, str],
    ) -> Iterator[tuple[Any, ...]]:
        """The same as `_rows`, perhaps with several rows of the same names, of a day each."""
        if table is not _ROLLUPS or self._days is None:
            yield from self._rows(cursor, table, part, names, sums, where)
            return
        counts: dict[int, tuple[int, ...]] = {}
        for hour, *count in self._rows(cursor, table, part, ("hour",), BASIC, where):
            day, added = int(hour) // _DAY_HOURS, map(int, count)
            counts[day] = tuple(map(add, counts.get(day, (0,) * len(BASIC)), added))
        question = tuple(names), tuple(sums), tuple(sorted(where.items()))
        for day, told in sorted(counts.items()):
            start, end = day * _DAY_HOURS * HOUR, (day + 1) * _DAY_HOURS * HOUR
            hours = Range(max(start, part.start), min(end, part.end))
            found = self._days.recall((question, hours), told)
            if found is None:
                rows = self._rows(cursor, table, hours, names, sums, where)
                found = self._days.keep((question, hours), told, rows)
            yield from found

    def _rows(
        self,
        cursor: Cursor,
        table: Any,
        part: Range,
        names: Sequence[str],
        sums: Sequence[str],
        where: Mapping[str, str],
    ) -> list[tuple[Any, ...]]:
        rolled = table is _ROLLUPS
        hour = (
            table.c.hour if rolled else table.c.admitted_at // literal_column(str(HOUR), BigInteger)
        )
        dimensions = [hour if name == "hour" else table.c[name] for name in names]
        time, unit = (table.c.hour, HOUR) if rolled else (table.c.admitted_at, 1)
        columns = [
            func.count() if name == "entries" and not rolled else func.sum(table.c[name])
            for name in sums
        ]
        wanted = [table.c[name] == bindparam(f"is_{name}") for name in where]
        statement = (
            select(*dimensions, *columns)
            .where(
                table.c.org == bindparam("org"),
                time >= bindparam("start"),
                time < bindparam("end"),
                *wanted,
            )
            .group_by(*dimensions)
        )
        values = {"org": self._org, "start": part.start // unit, "end": part.end // unit}
        values |= {f"is_{name}": value for name, value in where.items()}
        return cursor.rows(prepare(statement, self._database.engine_name), values)


def parts_of(period: Range) -> list[tuple[Any, Range]]:
    """A period as whole hours, for the roll-ups, and what is left of it, for the entries."""
    first, after = -(-period.start // HOUR) * HOUR, period.end // HOUR * HOUR
    if first >= after:
        return [(_ENTRIES, period)] if period.start < period.end else []
    edges = [Range(period.start, first), Range(after, period.end)]
    return [
        (_ROLLUPS, Range(first, after)),
        *((_ENTRIES, edge) for edge in edges if edge.start < edge.end),
    ]


def _first(statement: Any) -> Any:
    """The first row of a statement; the offset has to be named for SQLite."""
    return statement.limit(literal_column("1")).offset(literal_column("0", BigInteger))


def _sum(totals: Iterable[Total]) -> Total:
    together = NOTHING
    for total in totals:
        together = together + total
    return together
