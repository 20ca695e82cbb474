"""How budgets stand at a moment: the limit in force, what is spent, held and left of it.

It is worked out as the next admission would: the limit that routes.yaml states now, the raises
that are in force now, and what was carried over. So it can differ from the limit beside a
balance, which is the one that the last admission passed.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import bindparam, select

from gateway.callers.callers import own_budget
from gateway.jobs.routes import Budget
from gateway.store.database import Cursor, Database
from gateway.store.statements import prepare
from gateway.store.tables import Balance
from gateway.treasury.decisions import Line, State
from gateway.treasury.periods import Calendar
from gateway.treasury.raises import Raise, Raises
from gateway.treasury.rollover import Rollover

_TABLE = Balance.__table__  # type: ignore[attr-defined]
_COLUMNS = ("budget", "subject", "period", "starts_at", "ends_at")
_STATE = ("id", "unit", "spent", "held", "overrun", "limit_value", "hard", "carried", "raised")


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One budget for one subject; amounts in its unit, times in microseconds since 1970."""

    budget: str
    subject: str
    """Empty for the organisation, and for each subject while none has asked for anything."""
    scope: str
    unit: str
    period: str
    hard: bool
    limit: int
    raised: int
    carried: int
    spent: int
    held: int
    left: int
    """Below zero when more is spent than a limit that was lowered, or than a raise that ended."""
    starts_at: int
    ends_at: int
    raises: tuple[Raise, ...]
    """Those in force."""


class Standings:
    """Looks at the budgets of one organisation."""

    def __init__(
        self, database: Database, org: str, budgets: Sequence[Budget], calendar: Calendar
    ) -> None:
        self._database, self._org = database, org
        self._budgets, self._calendar = budgets, calendar
        self._rollover = Rollover(org, database.engine_name, calendar)
        now = (
            select(*(_TABLE.c[name] for name in (*_COLUMNS, *_STATE)))
            .where(
                _TABLE.c.org == bindparam("org"),
                _TABLE.c.starts_at <= bindparam("moment"),
                _TABLE.c.ends_at > bindparam("moment"),
            )
            .order_by(_TABLE.c.budget, _TABLE.c.subject)
        )
        one = now.where(_TABLE.c.budget == bindparam("only"))
        self._now, self._one = (prepare(text, database.engine_name) for text in (now, one))

    def at(self, moment: int, raises: Raises, only: str = "") -> list[Standing]:
        """Every budget in the period that a moment is in, those of keys and of the file; or the
        one of a name, for all its subjects."""
        known = {b.name: b for b in self._budgets if only in ("", b.name)}
        values = {"org": self._org, "moment": moment}
        found = []
        with self._database.reading() as cursor:
            rows = (
                cursor.rows(self._one, {**values, "only": only})
                if only
                else cursor.rows(self._now, values)
            )
            for name, subject, period, starts_at, ends_at, *columns in rows:
                state = State(*columns)
                budget = known.get(name) or own_budget(subject, state.stated, period)
                if budget.name != name:
                    continue  # routes.yaml has it no more: it limits nothing
                if (budget.unit, budget.period) != (state.unit, period):
                    continue  # routes.yaml says otherwise by now; its own balance comes later
                raised = raises.of(name, subject, moment)
                line = Line(budget, subject, starts_at, ends_at, 0, raised)
                found.append(self._standing(cursor, line, state, moment, raises))
            seen = {standing.budget for standing in found}
            for budget in known.values():
                if budget.name not in seen:
                    line = self._unasked(budget, moment, raises)
                    state = State(0, budget.unit, 0, 0, 0, budget.limit, budget.hard, None)
                    found.append(self._standing(cursor, line, state, moment, raises))
        return sorted(found, key=lambda standing: (standing.budget, standing.subject))

    def _unasked(self, budget: Budget, moment: int, raises: Raises) -> Line:
        """The line of a budget that nobody has asked for anything in this period."""
        subject = budget.scope.value or ""
        starts_at, ends_at = self._calendar.bounds(budget.period, moment)
        raised = raises.of(budget.name, subject, moment)
        return Line(budget, subject, starts_at, ends_at, 0, raised)

    def _standing(
        self, cursor: Cursor, line: Line, state: State, moment: int, raises: Raises
    ) -> Standing:
        carried = state.carried
        if carried is None:
            carried = self._rollover.into(cursor, line)
        budget, limit = line.budget, line.limit + carried
        concerning = raises.for_subject(budget.name, line.subject)
        return Standing(
            budget=budget.name,
            subject=line.subject,
            scope=str(budget.scope),
            unit=budget.unit,
            period=budget.period,
            hard=budget.hard,
            limit=limit,
            raised=line.raised,
            carried=carried,
            spent=state.spent,
            held=state.held,
            left=limit - state.spent - state.held,
            starts_at=line.starts_at,
            ends_at=line.ends_at,
            raises=tuple(
                row for row in concerning if row.in_force(moment) and not _ended(row, concerning)
            ),
        )


def _ended(row: Raise, others: Sequence[Raise]) -> bool:
    """Whether it is a withdrawal, or was withdrawn."""
    return bool(row.withdraws) or any(other.withdraws == row.id for other in others)
