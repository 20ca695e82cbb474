"""Months as finance names them, and which of them are closed.

A month is a calendar month in the organisation's time zone. When it is closed its totals are
written down and nothing is posted into it any more: everything before `closed_until` is history,
and a correction of it is an entry of the open month that says which one it corrects.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, func, select

from gateway.clock import midnight, to_datetime
from gateway.errors import ConfigurationError
from gateway.ledger.entries import HOUR
from gateway.store.database import Cursor
from gateway.store.statements import prepare
from gateway.store.tables import ClosedMonth as ClosedMonthRow
from gateway.store.tables import EntryRow, Rollup

CLOSED_UNTIL = "closed_until"
"""The counter that has the end of the last closed month, in microseconds since 1970."""

_ENTRIES = EntryRow.__table__  # type: ignore[attr-defined]
_ROLLUPS = Rollup.__table__  # type: ignore[attr-defined]
_CLOSED = ClosedMonthRow.__table__  # type: ignore[attr-defined]
_WRITTEN = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
_COLUMNS = ("month", "starts_at", "ends_at", "closed_at", "author", "entries", "amount_nanos")


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """One calendar month, wherever it is counted."""

    year: int
    number: int

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"

    @property
    def after(self) -> Month:
        """The month that follows."""
        return Month(self.year + self.number // 12, self.number % 12 + 1)

    def bounds(self, zone: ZoneInfo) -> tuple[int, int]:
        """Its first moment and that of the next one, in microseconds since 1970."""
        first, next_first = (date(month.year, month.number, 1) for month in (self, self.after))
        return midnight(first, zone), midnight(next_first, zone)


@dataclass(frozen=True, slots=True)
class ClosedMonth:
    """What was written down when a month was closed; times in microseconds since 1970."""

    month: str
    starts_at: int
    ends_at: int
    closed_at: int
    author: str
    entries: int
    amount_nanos: int


def parse_month(text: str) -> Month:
    """The month that a person wrote as 2026-10. Raises ConfigurationError."""
    found = _WRITTEN.fullmatch(text.strip())
    if found is None or not 1970 < int(found[1]) < 9999:
        raise ConfigurationError([f"{text!r} is not a month such as 2026-10"])
    return Month(int(found[1]), int(found[2]))


def month_of(moment: int, zone: ZoneInfo) -> Month:
    """The month that a moment (microseconds since 1970) is in."""
    local = to_datetime(moment).astimezone(zone)
    return Month(local.year, local.month)


def closed_months(cursor: Cursor, org: str, engine: str) -> list[ClosedMonth]:
    """Every closed month, the oldest first."""
    statement = (
        select(*(_CLOSED.c[name] for name in _COLUMNS))
        .where(_CLOSED.c.org == bindparam("org"))
        .order_by(_CLOSED.c.starts_at)
    )
    return [ClosedMonth(*row) for row in cursor.rows(prepare(statement, engine), {"org": org})]


def totals(
    cursor: Cursor, org: str, engine: str, bounds: tuple[int, int], team: str | None = None
) -> tuple[int, int]:
    """How many entries were admitted from one moment to another, and their nano-dollars; of one
    team, or of all.

    Whole hours come from the roll-ups, so a month takes milliseconds however many entries it
    has; what a zone of half hours leaves at either end comes from the entries.
    """
    start, end = bounds
    first, after = -(-start // HOUR), end // HOUR
    values: dict[str, Any] = {"org": org} if team is None else {"org": org, "team": team}
    if first >= after:
        return _sum_of_entries(cursor, values, engine, start, end)
    statement = select(func.sum(_ROLLUPS.c.entries), func.sum(_ROLLUPS.c.amount_nanos)).where(
        _ROLLUPS.c.org == bindparam("org"),
        _ROLLUPS.c.hour >= bindparam("first"),
        _ROLLUPS.c.hour < bindparam("after"),
    )
    if team is not None:
        statement = statement.where(_ROLLUPS.c.team == bindparam("team"))
    hours = {**values, "first": first, "after": after}
    parts = [cursor.rows(prepare(statement, engine), hours)[0]]
    for edge in ((start, first * HOUR), (after * HOUR, end)):
        if edge[0] < edge[1]:
            parts.append(_sum_of_entries(cursor, values, engine, *edge))
    return sum(int(part[0] or 0) for part in parts), sum(int(part[1] or 0) for part in parts)


def _sum_of_entries(
    cursor: Cursor, whose: Mapping[str, Any], engine: str, start: int, end: int
) -> tuple[int, int]:
    """The same from the entries themselves; `whose` is the organisation, and the team if any."""
    statement = select(func.count(), func.sum(_ENTRIES.c.amount_nanos)).where(
        _ENTRIES.c.org == bindparam("org"),
        _ENTRIES.c.admitted_at >= bindparam("start"),
        _ENTRIES.c.admitted_at < bindparam("end"),
    )
    if "team" in whose:
        statement = statement.where(_ENTRIES.c.team == bindparam("team"))
    values = {**whose, "start": start, "end": end}
    entries, nanos = cursor.rows(prepare(statement, engine), values)[0]
    return int(entries), int(nanos or 0)
