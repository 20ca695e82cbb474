"""Budgets that recorded traffic would have gone over, had its requests cost what a replay says.

A budget is hit when what is charged to it passes its limit, raises of that moment included. Holds
and what is carried over from a period are not replayed, and nothing is refused in a replay: what
comes after a hit goes on being charged, and is told as what would have been beyond the limit.

What was charged in a period before the replay begins is what the books say was really charged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, select

from gateway.insight.replay import Series
from gateway.jobs.routes import Budget, Routes
from gateway.store.database import Cursor
from gateway.store.statements import prepare
from gateway.store.tables import Balance
from gateway.treasury.periods import Calendar
from gateway.treasury.raises import Raises

_TABLE = Balance.__table__  # type: ignore[attr-defined]

Slot = tuple[int, int]
"""When a slot of time begins (microseconds), and what is charged in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One budget over its limit in one period; amounts in its unit."""

    budget: Budget
    subject: str
    starts_at: int
    """Of the period, in microseconds."""
    slot: int
    """When the slot of time begins in which it happened."""
    charged: int
    """In the period, by the end of the replay."""
    before: int
    """Of it, before that slot of time."""
    limit: int
    since: int
    """From when on what was charged is known, where that is after the period's beginning; or 0."""

    @property
    def beyond(self) -> int:
        """What would have been charged beyond the limit."""
        return self.charged - self.limit


def watched(new: Routes, live: Routes | None) -> tuple[Budget, ...]:
    """The budgets that a replay has to look at.

    Left out are limits on requests and tokens that are in force already and do not become lower:
    the same requests with the same tokens were within them.
    """
    held = () if live is None else live.budgets
    return tuple(b for b in new.budgets if not any(_as_strict(old, b) for old in held))


def slot_of(budgets: Sequence[Budget], longest: int, minute: int) -> int:
    """How long slots of time may be: a minute when a budget is by the minute."""
    return minute if any(budget.period == "minute" for budget in budgets) else longest


def _as_strict(old: Budget, new: Budget) -> bool:
    same = (old.scope, old.unit, old.period) == (new.scope, new.unit, new.period)
    return same and new.unit != "usd" and old.hard and old.limit <= new.limit


@dataclass(frozen=True, slots=True)
class Limits:
    """Finds the hits in the series of a replay that begins at `start`."""

    budgets: Sequence[Budget]
    calendar: Calendar
    raises: Raises
    start: int

    def hits(self, series: Series, cursor: Cursor, org: str, engine: str) -> list[Hit]:
        """Every budget and period that went over, in the order in which it happened."""
        by_period: dict[tuple[int, str, int], list[tuple[int, int, int]]] = defaultdict(list)
        for (number, subject, slot), (new, old) in series.items():
            starts_at, _ends = self.calendar.bounds(self.budgets[number].period, slot)
            by_period[number, subject, starts_at].append((slot, new, old))
        booked = self._booked_before(by_period, cursor, org, engine)
        found = []
        for (number, subject, starts_at), slots in by_period.items():
            earlier = booked.get((number, subject, starts_at))
            hit = self._hit(number, subject, starts_at, sorted(slots), earlier)
            if hit is not None:
                found.append(hit)
        return sorted(found, key=lambda hit: (hit.slot, hit.budget.name, hit.subject))

    def _hit(
        self,
        number: int,
        subject: str,
        starts_at: int,
        slots: Sequence[tuple[int, int, int]],
        earlier: int | None,
    ) -> Hit | None:
        budget, charged, passed = self.budgets[number], earlier or 0, None
        for slot, new, _old in slots:
            limit = budget.limit + self.raises.of(budget.name, subject, slot)
            if passed is None and charged + new > limit:
                passed = (slot, charged, limit)
            charged += new
        if passed is None:
            return None
        known = starts_at >= self.start or earlier is not None
        return Hit(
            budget=budget,
            subject=subject,
            starts_at=starts_at,
            slot=passed[0],
            before=passed[1],
            charged=charged,
            limit=passed[2],
            since=0 if known else self.start,
        )

    def _booked_before(
        self,
        by_period: Mapping[tuple[int, str, int], Sequence[tuple[int, int, int]]],
        cursor: Cursor,
        org: str,
        engine: str,
    ) -> dict[tuple[int, str, int], int]:
        """What was charged before the replay begins, in periods that had begun by then.

        It is what the balance has now, without what the entries of the replay moved it by.
        """
        numbers = {number for number, _, starts_at in by_period if starts_at < self.start}
        found = {}
        for number in numbers:
            for subject, starts_at, spent in _balances(cursor, org, engine, self.budgets[number]):
                key = (number, subject, starts_at)
                if starts_at < self.start and key in by_period:
                    since = sum(old for _slot, _new, old in by_period[key])
                    found[key] = max(0, spent - since)
        return found


def _balances(
    cursor: Cursor, org: str, engine: str, budget: Budget
) -> Iterator[tuple[str, int, int]]:
    """Subject, beginning and what was spent, of every balance of a budget."""
    names = ("org", "budget", "unit", "period")
    statement = select(_TABLE.c.subject, _TABLE.c.starts_at, _TABLE.c.spent).where(
        *(_TABLE.c[name] == bindparam(name) for name in names)
    )
    values = {"org": org, "budget": budget.name, "unit": budget.unit, "period": budget.period}
    for subject, starts_at, spent in cursor.rows(prepare(statement, engine), values):
        yield str(subject), int(starts_at), int(spent)
