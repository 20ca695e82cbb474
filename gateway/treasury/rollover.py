"""Rolling over: what a period left of its limit is added to the limit of the next one.

It is worked out once, at the first admission of the new period, and kept beside the balance, so
it never changes afterwards. What is still held at that moment counts as spent, and what ends or
is corrected later moves the old period alone.

What rolls over is the limit of routes.yaml, and what had been carried into the period before it;
a temporary raise ends with its time and is not carried. A period in which nothing was asked for
left everything. Before the first period that has a balance there was no budget, so nothing is
carried from there.
"""

from __future__ import annotations

from sqlalchemy import bindparam, func, select

from gateway.jobs.routes import Budget
from gateway.store.database import Cursor
from gateway.store.statements import prepare
from gateway.store.tables import Balance
from gateway.treasury.decisions import Line
from gateway.treasury.periods import Calendar

CARRIED_MAX = 10**18
"""In the budget's unit: so much fits the books beside the limit and a raise."""

_TABLE = Balance.__table__  # type: ignore[attr-defined]


class Rollover:
    """Works out what is carried over, inside somebody else's transaction."""

    def __init__(self, org: str, engine: str, calendar: Calendar) -> None:
        self._org, self._calendar = org, calendar
        columns = ("ends_at", "limit_value", "carried", "raised", "spent", "held")
        same = [
            _TABLE.c[name] == bindparam(name)
            for name in ("org", "budget", "subject", "unit", "period")
        ]
        newest = (
            select(func.max(_TABLE.c.starts_at))
            .where(*same, _TABLE.c.ends_at <= bindparam("starts_at"))
            .scalar_subquery()
        )
        self._before = prepare(
            select(*(_TABLE.c[name] for name in columns)).where(
                *same, _TABLE.c.starts_at == newest
            ),
            engine,
        )

    def into(self, cursor: Cursor, line: Line) -> int:
        """What is carried into the period of a line, in its budget's unit; 0 or more."""
        budget = line.budget
        if not budget.rollover:
            return 0
        values = {
            "org": self._org,
            "budget": budget.name,
            "subject": line.subject,
            "unit": budget.unit,
            "period": budget.period,
            "starts_at": line.starts_at,
        }
        rows = cursor.rows(self._before, values)
        if not rows:
            return 0
        at, limit, carried, raised, spent, held = rows[0]
        stated = limit - raised - (carried or 0)
        left = _within(budget, limit - raised - spent - held)
        while at < line.starts_at:
            grown = _within(budget, stated + left)
            if grown == left:
                break
            left, at = grown, self._calendar.bounds(budget.period, at)[1]
        return left


def _within(budget: Budget, left: int) -> int:
    most = CARRIED_MAX if budget.rollover_max is None else min(CARRIED_MAX, budget.rollover_max)
    return max(0, min(left, most))
