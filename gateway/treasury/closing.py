"""Closing a month: its totals are written down, and nothing is posted into it any more.

A request counts in the month in which it was admitted, even when it ends after midnight. So a
month can be closed when no hold that was admitted in it is open any more: until then it is said
how many there are and when the last of them lapses. Months are closed in their order, and are
never opened again: what turns out wrong later is corrected in the open month.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, func, insert, select, update

from gateway.callers.changes import By, Change, ChangeLog
from gateway.clock import MICROS, to_text
from gateway.ledger.months import (
    CLOSED_UNTIL,
    ClosedMonth,
    Month,
    closed_months,
    month_of,
    totals,
)
from gateway.store.database import Cursor
from gateway.store.statements import prepare
from gateway.store.tables import ClosedMonth as ClosedMonthRow
from gateway.store.tables import Counter, EntryRow
from gateway.store.tables import Hold as HoldRow
from gateway.treasury.balances import BalanceTable
from gateway.treasury.periods import Calendar
from gateway.treasury.posting import Postings

CLOCKS_DIFFER = 5 * 60 * MICROS
"""How far the clocks of two machines may be apart: so long after its end a month can be closed."""

_HOLDS = HoldRow.__table__  # type: ignore[attr-defined]
_ENTRIES = EntryRow.__table__  # type: ignore[attr-defined]
_COUNTERS = Counter.__table__  # type: ignore[attr-defined]
_CLOSED = ClosedMonthRow.__table__  # type: ignore[attr-defined]


class CannotClose(Exception):
    """The month is not over, is closed already, or an earlier one is open."""


@dataclass(frozen=True, slots=True)
class StillOpen:
    """Why a month that is over cannot be closed yet; amounts in nanos, times in microseconds."""

    month: Month
    holds: int
    held_nanos: int
    lapse_at: int
    """When the last of the holds lapses, if nobody settles it before."""

    def __str__(self) -> str:
        noun = "hold" if self.holds == 1 else "holds"
        return (
            f"{self.month} cannot be closed yet: {self.holds} {noun} of it still open;"
            f" the last one lapses at {to_text(self.lapse_at)}"
        )


class MonthClosing:
    """Closes months of one organisation, inside somebody else's transaction."""

    def __init__(self, org: str, engine: str, calendar: Calendar) -> None:
        self._org, self._engine, self._zone = org, engine, calendar.zone
        self._postings = Postings(org, engine, calendar, BalanceTable(org, engine))
        self._log = ChangeLog(org, engine)

    def close(self, cursor: Cursor, month: Month, by: By, now: int) -> ClosedMonth | StillOpen:
        """Close the month, or say what is open in it; the caller commits. `now`: microseconds.

        The log of changes has it too. Raises CannotClose.
        """
        closed_until = self._postings.lock(cursor)
        starts_at, ends_at = month.bounds(self._zone)
        self._refuse(cursor, month, (starts_at, ends_at), closed_until, now)
        if (open_now := self._still_open(cursor, month, ends_at)) is not None:
            return open_now
        # What the zone was when the month before was closed decides where that one ended.
        starts_at = max(starts_at, closed_until)
        entries, nanos = totals(cursor, self._org, self._engine, (starts_at, ends_at))
        closed = ClosedMonth(str(month), starts_at, ends_at, now, by.who, entries, nanos)
        self._write(cursor, closed)
        after = {"entries": entries, "amount_nanos": nanos}
        change = Change(what="month.close", subject=str(month), after=after)
        self._log.append(cursor, [change], by, now)
        return closed

    def _refuse(
        self,
        cursor: Cursor,
        month: Month,
        bounds: tuple[int, int],
        closed_until: int,
        now: int,
    ) -> None:
        starts_at, ends_at = bounds
        for known in closed_months(cursor, self._org, self._engine):
            if known.month == str(month):
                raise CannotClose(
                    f"{month} was closed by {known.author} at {to_text(known.closed_at)}"
                )
        if ends_at <= closed_until:
            raise CannotClose(f"everything before {to_text(closed_until)} is closed")
        if now < ends_at + CLOCKS_DIFFER:
            raise CannotClose(
                f"{month} is not over: it ends at {to_text(ends_at)} and can be closed from"
                f" {to_text(ends_at + CLOCKS_DIFFER)} on"
            )
        if (earlier := self._earlier(cursor, closed_until, starts_at)) is not None:
            raise CannotClose(
                f"{month_of(earlier, self._zone)} has entries and is open: close it first"
            )

    def _earlier(self, cursor: Cursor, closed_until: int, starts_at: int) -> int | None:
        """The first admission that is neither closed nor in the month to be closed."""
        statement = select(func.min(_ENTRIES.c.admitted_at)).where(
            _ENTRIES.c.org == bindparam("org"),
            _ENTRIES.c.admitted_at >= bindparam("start"),
            _ENTRIES.c.admitted_at < bindparam("end"),
        )
        values = {"org": self._org, "start": closed_until, "end": starts_at}
        found = cursor.rows(prepare(statement, self._engine), values)[0][0]
        return None if found is None else int(found)

    def _still_open(self, cursor: Cursor, month: Month, ends_at: int) -> StillOpen | None:
        statement = select(
            func.count(), func.sum(_HOLDS.c.ceiling_nanos), func.max(_HOLDS.c.lapses_at)
        ).where(_HOLDS.c.org == bindparam("org"), _HOLDS.c.admitted_at < bindparam("end"))
        values = {"org": self._org, "end": ends_at}
        holds, nanos, lapse_at = cursor.rows(prepare(statement, self._engine), values)[0]
        return StillOpen(month, int(holds), int(nanos), int(lapse_at)) if holds else None

    def _write(self, cursor: Cursor, closed: ClosedMonth) -> None:
        row = {name: getattr(closed, name) for name in closed.__slots__}
        cursor.run(prepare(insert(_CLOSED), self._engine), {"org": self._org, **row})
        statement = (
            update(_COUNTERS)
            .where(_COUNTERS.c.org == bindparam("in_org"), _COUNTERS.c.name == bindparam("counter"))
            .values(value=bindparam("moment"))
        )
        values = {"in_org": self._org, "counter": CLOSED_UNTIL, "moment": closed.ends_at}
        cursor.run(prepare(statement, self._engine), values)
