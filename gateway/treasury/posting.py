"""When a correction counts: in the period of what it corrects, or, once that is closed, now.

A request counts in the period in which it was admitted, and so does a correction of it, in the
same balances, as long as the month is open. Nothing is posted into a closed month: the correction
then belongs to the open period, moves the balances of the same budgets there, and says which
month it corrects.

Whoever posts a correction, and whoever closes a month, locks the counter `closed_until` first, so
that no correction slips into a month while its totals are written down. Admissions and ordinary
endings do not touch it: a month with an open hold cannot be closed.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import BigInteger, bindparam, func, literal_column, select

from gateway.jobs.routes import Budget, Scope
from gateway.ledger.months import CLOSED_UNTIL
from gateway.store.database import Cursor
from gateway.store.statements import INSERTS, ListStatement, prepare
from gateway.store.tables import Balance, ClosedMonth, Counter
from gateway.treasury.balances import BalanceTable
from gateway.treasury.decisions import Line
from gateway.treasury.periods import SHORT_PERIODS, Calendar

_BALANCES = Balance.__table__  # type: ignore[attr-defined]
_COUNTERS = Counter.__table__  # type: ignore[attr-defined]
_CLOSED = ClosedMonth.__table__  # type: ignore[attr-defined]


class Posting(msgspec.Struct, frozen=True):
    """Where a correction goes: its moment, the balances it moves, the closed month it is for."""

    admitted_at: int
    balances: tuple[int, ...]
    month: str = ""
    """Such as 2026-10; empty while the month of what is corrected is open."""

    def says(self, reason: str) -> str:
        """The reason as the entry tells it."""
        return f"{reason} [corrects {self.month}, which is closed]" if self.month else reason


def posting_time(closed_until: int, admitted_at: int, now: int) -> int:
    """When a correction of something admitted at a moment counts; all in microseconds.

    The moment itself while it is open, else now; never within what is closed, even when this
    machine's clock is behind that of the machine that closed it.
    """
    return admitted_at if admitted_at >= closed_until else max(now, closed_until)


class Postings:
    """Finds where corrections go, inside somebody else's transaction."""

    def __init__(self, org: str, engine: str, calendar: Calendar, balances: BalanceTable) -> None:
        self._org, self._calendar, self._balances = org, calendar, balances
        self.closed_until = 0
        """The end of what is closed, as it was when last looked at; microseconds since 1970."""
        self._look = prepare(
            select(_COUNTERS.c.value).where(
                _COUNTERS.c.org == bindparam("org"), _COUNTERS.c.name == bindparam("name")
            ),
            engine,
        )
        first = INSERTS[engine](_COUNTERS).values(
            org=bindparam("org"), name=bindparam("name"), value=bindparam("value")
        )
        self._lock = prepare(
            first.on_conflict_do_update(
                index_elements=["org", "name"], set_={"value": _COUNTERS.c.value}
            ).returning(_COUNTERS.c.value),
            engine,
        )
        self._month = prepare(
            select(_CLOSED.c.month).where(
                _CLOSED.c.org == bindparam("org"),
                _CLOSED.c.starts_at <= bindparam("moment"),
                _CLOSED.c.ends_at > bindparam("moment"),
            ),
            engine,
        )
        columns = ("id", "budget", "subject", "unit", "period", "hard", "starts_at", "ends_at")
        # What routes.yaml stated: raises and what was carried over belong to their own period.
        nothing = literal_column("0", BigInteger)
        added = _BALANCES.c.raised + func.coalesce(_BALANCES.c.carried, nothing)
        stated = _BALANCES.c.limit_value - added
        self._known = ListStatement(
            lambda items: (
                select(*(_BALANCES.c[name] for name in columns), stated)
                .where(_BALANCES.c.org == bindparam("org"), _BALANCES.c.id.in_(items))
                .order_by(_BALANCES.c.id)
            ),
            engine,
        )

    def look(self, cursor: Cursor) -> int:
        """Read the end of what is closed, and remember it."""
        rows = cursor.rows(self._look, {"org": self._org, "name": CLOSED_UNTIL})
        self.closed_until = int(rows[0][0]) if rows else 0
        return self.closed_until

    def lock(self, cursor: Cursor) -> int:
        """The same, and nobody closes a month until the commit."""
        values = {"org": self._org, "name": CLOSED_UNTIL, "value": 0}
        self.closed_until = int(cursor.rows(self._lock, values)[0][0])
        return self.closed_until

    def find(self, cursor: Cursor, admitted_at: int, balances: Sequence[int], now: int) -> Posting:
        """Where a correction goes of what was admitted at a moment and moved these balances.

        The caller has called `lock` in this transaction and locks the balances afterwards.
        """
        moment = posting_time(self.closed_until, admitted_at, now)
        if moment == admitted_at:
            return Posting(admitted_at, tuple(balances))
        rows = cursor.rows(self._month, {"org": self._org, "moment": admitted_at})
        month = str(rows[0][0]) if rows else "an earlier month"
        return Posting(moment, self._balances_at(cursor, balances, moment), month)

    def _balances_at(self, cursor: Cursor, numbers: Sequence[int], moment: int) -> tuple[int, ...]:
        """The balances of the same budgets and subjects in the periods that a moment is in.

        Limits by the minute and the hour are left out: they say how fast money may be spent
        now, and a correction of last month spends nothing now.
        """
        found: set[int] = set()
        for text, values in self._known.batches(list(numbers), org=self._org) if numbers else ():
            for number, *name, period, hard, starts_at, ends_at, limit in cursor.rows(text, values):
                if starts_at <= moment < ends_at:
                    found.add(number)
                elif period not in SHORT_PERIODS:
                    line = self._line(name, period, bool(hard), limit, moment)
                    found.add(self._balances.number(cursor, line))
        return tuple(sorted(found))

    def _line(self, name: Sequence[str], period: str, hard: bool, limit: int, moment: int) -> Line:
        budget, subject, unit = name
        starts_at, ends_at = self._calendar.bounds(period, moment)
        like = Budget(budget, _ANY, limit, unit, period, hard, "")  # type: ignore[arg-type]
        return Line(like, subject, starts_at, ends_at, 0)


_ANY = Scope("organisation")
"""A balance does not know its budget's scope, and making one does not ask for it."""
