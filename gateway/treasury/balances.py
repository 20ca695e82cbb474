"""Balances: what each budget has spent and held in its period, and their rows.

A balance is known by budget, subject, unit and the start of its period, and has a number that never
changes. Rows are locked in ascending order of that number by everybody, so nobody deadlocks.

The limit of a balance is the one that its last admission passed, with what was raised and carried
over. When routes.yaml changes it within a period, the change is written down in the transaction
that first uses the new one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import BigInteger, bindparam, insert, literal_column, select, update

from gateway.store.database import Cursor
from gateway.store.statements import INSERTS, ListStatement, RowStatement, prepare
from gateway.store.tables import Balance, Counter, LimitChange
from gateway.treasury.decisions import Line, State

_TABLE = Balance.__table__  # type: ignore[attr-defined]
_COUNTERS = Counter.__table__  # type: ignore[attr-defined]
_CHANGES = LimitChange.__table__  # type: ignore[attr-defined]
_STATE = ("id", "unit", "spent", "held", "overrun", "limit_value", "hard", "carried", "raised")
"""The columns of a State, in its order."""
_REMEMBERED = 20_000
"""Numbers of balances kept in memory; beyond it the memory starts anew."""

_Name = tuple[str, str, str, str, int]


class BalanceTable:
    """Finds, makes, locks and saves balances, inside somebody else's transaction."""

    def __init__(self, org: str, engine: str) -> None:
        self._org = org
        self._numbers: dict[_Name, int] = {}
        self._find = prepare(
            select(_TABLE.c.id, _TABLE.c.period, _TABLE.c.ends_at).where(
                _TABLE.c.org == bindparam("org"),
                _TABLE.c.budget == bindparam("budget"),
                _TABLE.c.subject == bindparam("subject"),
                _TABLE.c.unit == bindparam("unit"),
                _TABLE.c.starts_at == bindparam("starts_at"),
            ),
            engine,
        )
        self._prolong = prepare(
            update(_TABLE)
            .where(_TABLE.c.org == bindparam("in_org"), _TABLE.c.id == bindparam("number"))
            .values(period=bindparam("new_period"), ends_at=bindparam("new_end")),
            engine,
        )
        self._insert = prepare(
            INSERTS[engine](_TABLE).on_conflict_do_nothing(
                index_elements=["org", "budget", "subject", "unit", "starts_at"]
            ),
            engine,
        )
        counters = INSERTS[engine](_COUNTERS).values(
            org=bindparam("org"), name=bindparam("name"), value=bindparam("value")
        )
        self._next = prepare(
            counters.on_conflict_do_update(
                index_elements=["org", "name"],
                set_={"value": _COUNTERS.c.value + literal_column("1", BigInteger)},
            ).returning(_COUNTERS.c.value),
            engine,
        )
        self._lock = ListStatement(
            lambda items: (
                select(*(_TABLE.c[name] for name in _STATE))
                .where(_TABLE.c.org == bindparam("org"), _TABLE.c.id.in_(items))
                .order_by(_TABLE.c.id)
                .with_for_update()
            ),
            engine,
        )
        self._save = RowStatement(
            update(_TABLE)
            .where(_TABLE.c.org == bindparam("in_org"), _TABLE.c.id == bindparam("number"))
            .values(
                spent=bindparam("new_spent"),
                held=bindparam("new_held"),
                overrun=bindparam("new_overrun"),
                limit_value=bindparam("new_limit"),
                hard=bindparam("new_hard"),
                carried=bindparam("new_carried"),
                raised=bindparam("new_raised"),
            ),
            engine,
        )
        self._note = RowStatement(insert(_CHANGES), engine)

    def number(self, cursor: Cursor, line: Line) -> int:
        """The number of the line's balance, which is made when it is not there yet."""
        budget = line.budget
        name = (budget.name, line.subject, budget.unit, budget.period, line.starts_at)
        number = self._numbers.get(name)
        if number is None:
            number = self._look_up(cursor, line) or self._make(cursor, line)
            if len(self._numbers) >= _REMEMBERED:
                self._numbers.clear()
            self._numbers[name] = number
        return number

    def prove(self, cursor: Cursor) -> None:
        """Count up: to read, and to write what is there already, works on a full disk too."""
        cursor.rows(self._next, {"org": self._org, "name": "proofs", "value": 1})

    def forget(self) -> None:
        """Drop remembered numbers: a transaction that made some was rolled back."""
        self._numbers.clear()

    def lock(self, cursor: Cursor, numbers: Iterable[int]) -> dict[int, State]:
        """The balances of these numbers, locked until the commit."""
        return self.locking(cursor, numbers)()

    def locking(self, cursor: Cursor, numbers: Iterable[int]) -> Callable[[], dict[int, State]]:
        """The same, read by calling what is returned: more can be asked for before."""
        wanted = sorted(set(numbers))
        batches = self._lock.batches(wanted, org=self._org) if wanted else ()
        asked = [cursor.ask(text, values) for text, values in batches]
        return lambda: {row[0]: State(*row) for rows in asked for row in rows()}

    def save(self, cursor: Cursor, states: Iterable[State]) -> None:
        """Write back those that changed."""
        rows = [
            {
                "in_org": self._org,
                "number": state.id,
                "new_spent": state.spent,
                "new_held": state.held,
                "new_overrun": state.overrun,
                "new_limit": state.limit,
                "new_hard": state.hard,
                "new_carried": state.carried,
                "new_raised": state.raised,
            }
            for state in states
            if state.changed
        ]
        if rows:
            cursor.run_many(self._save, rows)

    def note_changes(self, cursor: Cursor, states: Iterable[State], now: int, source: str) -> None:
        """Write down whose limit in routes.yaml was another before this transaction."""
        rows = [
            {
                "org": self._org,
                "id": f"lim_{secrets.token_hex(8)}",
                "balance": state.id,
                "old_limit": state.stated_before,
                "new_limit": state.stated,
                "changed_at": now,
                "source": source,
            }
            for state in states
            if state.stated_before is not None
        ]
        if rows:
            cursor.run_many(self._note, rows)

    def _look_up(self, cursor: Cursor, line: Line) -> int | None:
        """The number of a balance that is there; the period of its budget may have changed."""
        budget = line.budget
        values = {
            "org": self._org,
            "budget": budget.name,
            "subject": line.subject,
            "unit": budget.unit,
            "starts_at": line.starts_at,
        }
        rows: Sequence[tuple[int, str, int]] = cursor.rows(self._find, values)
        if not rows:
            return None
        number, period, ends_at = rows[0]
        if (period, ends_at) != (budget.period, line.ends_at):
            new = {"new_period": budget.period, "new_end": line.ends_at}
            cursor.run(self._prolong, {"in_org": self._org, "number": number, **new})
        return number

    def _make(self, cursor: Cursor, line: Line) -> int:
        """Make the balance; two processes at once agree on whichever came first."""
        fresh = cursor.rows(self._next, {"org": self._org, "name": "balances", "value": 1})[0][0]
        cursor.run(
            self._insert,
            {
                "org": self._org,
                "id": fresh,
                "budget": line.budget.name,
                "subject": line.subject,
                "unit": line.budget.unit,
                "period": line.budget.period,
                "hard": line.budget.hard,
                "starts_at": line.starts_at,
                "ends_at": line.ends_at,
                "limit_value": line.budget.limit,
                "spent": 0,
                "held": 0,
                "overrun": 0,
                "carried": None,
                "raised": 0,
            },
        )
        return self._look_up(cursor, line) or fresh
