"""Temporary raises: more money for a budget until a day, with a reason and an author.

A raise is a row that is never changed: it is in force from when it was granted until its time is
over, in every period that begins or runs meanwhile, and so it expires by itself. To withdraw one
early is to add a row with the opposite amount from then on. Raises are for one subject of a
budget (one team of "each team"), or for every one.

Every change moves a counter in its own transaction; running gateways look at it several times a
second and keep what is in force in memory, so a request asks no database.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import BigInteger, bindparam, insert, literal_column, select

from gateway.callers.changes import By, Change, ChangeLog
from gateway.clock import Clock
from gateway.errors import ConfigurationError, NotFound
from gateway.jobs.problems import nearest
from gateway.jobs.routes import Budget
from gateway.money import parse_dollars
from gateway.store.database import Cursor, Database
from gateway.store.statements import INSERTS, prepare
from gateway.store.tables import BudgetRaise, Counter

REVISION = "raises"
"""Name of the counter that every change to the raises moves."""
RAISE_MAX = 10**18
"""In the budget's unit, for one raise; all that are in force together may add as much."""
EVERYBODY = ""
"""The subject of a raise that is for every subject of its budget."""

_TABLE = BudgetRaise.__table__  # type: ignore[attr-defined]
_COUNTERS = Counter.__table__  # type: ignore[attr-defined]


class Raise(msgspec.Struct, frozen=True):
    """One row; `amount` in the budget's unit, times in microseconds since 1970."""

    id: str
    budget: str
    subject: str
    amount: int
    starts_at: int
    until: int
    reason: str
    author: str
    created_at: int
    withdraws: str = ""

    def in_force(self, at: int) -> bool:
        """Whether it counts at a moment; at `until` itself it does not any more."""
        return self.starts_at <= at < self.until


class Raises:
    """What raises add, at any moment; never changed."""

    def __init__(self, rows: Iterable[Raise] = ()) -> None:
        self._rows: dict[tuple[str, str], list[Raise]] = {}
        for row in rows:
            self._rows.setdefault((row.budget, row.subject), []).append(row)

    def __bool__(self) -> bool:
        return bool(self._rows)

    def of(self, budget: str, subject: str, at: int) -> int:
        """What is added at a moment to the limit of a budget for a subject, in its unit."""
        return sum(row.amount for row in self.for_subject(budget, subject) if row.in_force(at))

    def for_subject(self, budget: str, subject: str) -> list[Raise]:
        """Every row that concerns a subject of a budget, also those that are over."""
        own = self._rows.get((budget, subject), [])
        return own if subject == EVERYBODY else [*own, *self._rows.get((budget, EVERYBODY), ())]


NO_RAISES = Raises()


class RaiseBook:
    """Grants and withdraws raises of one organisation; knows those that are not over."""

    def __init__(self, database: Database, org: str, clock: Clock) -> None:
        self._database, self._org, self._clock = database, org, clock
        engine = database.engine_name
        self._log = ChangeLog(org, engine)
        self._revision = -1
        self.known = NO_RAISES
        """The raises as they were last read."""
        self._insert = prepare(insert(_TABLE), engine)
        columns = [_TABLE.c[name] for name in Raise.__struct_fields__]
        everything = select(*columns).where(_TABLE.c.org == bindparam("org"))
        self._all = prepare(everything.order_by(_TABLE.c.created_at, _TABLE.c.id), engine)
        self._read_revision = prepare(
            select(_COUNTERS.c.value).where(
                _COUNTERS.c.org == bindparam("org"), _COUNTERS.c.name == bindparam("name")
            ),
            engine,
        )
        self._bump = prepare(
            INSERTS[engine](_COUNTERS)
            .values(org=bindparam("org"), name=bindparam("name"), value=bindparam("first"))
            .on_conflict_do_update(
                index_elements=["org", "name"],
                set_={"value": _COUNTERS.c.value + literal_column("1", BigInteger)},
            ),
            engine,
        )

    def refresh(self) -> bool:
        """Read the raises again if any was added; True when one was. Blocks.

        Raises DatabaseDown; what is in memory then stays as it is.
        """
        with self._database.reading() as cursor:
            return self.refresh_in(cursor)

    def refresh_in(self, cursor: Cursor) -> bool:
        """The same, inside a transaction."""
        rows = cursor.rows(self._read_revision, {"org": self._org, "name": REVISION})
        revision = int(rows[0][0]) if rows else 0
        if revision == self._revision:
            return False
        self.known = Raises(self._rows(cursor))
        self._revision = revision
        return True

    def all(self) -> list[Raise]:
        """Every raise and every withdrawal, oldest first. Blocks."""
        with self._database.reading() as cursor:
            return self._rows(cursor)

    def grant(
        self, budget: str, subject: str, amount: int, *, until: int, reason: str, by: By
    ) -> Raise:
        """Add `amount` of the budget's unit from now on, until a moment. Blocks.

        Whether there is such a budget is the caller's to know. Raises ConfigurationError when
        the amount, the time, the reason or who says so makes no sense.
        """
        now = self._clock.now()
        problems = _who_and_why(reason, by)
        if not 0 < amount <= RAISE_MAX:
            problems.append("a raise is more than nothing, and no more than the books can add up")
        if until <= now:
            problems.append("a raise ends in the future: until is over already")
        if problems:
            raise ConfigurationError(problems)
        granted = Raise(
            id=f"raise_{secrets.token_hex(6)}",
            budget=budget,
            subject=subject,
            amount=amount,
            starts_at=now,
            until=until,
            reason=reason.strip(),
            author=by.who.strip(),
            created_at=now,
        )
        with self._database.writing() as cursor:
            self._refuse_too_much(cursor, granted)
            self._add(cursor, granted, by)
        return granted

    def withdraw(self, raise_id: str, *, reason: str, by: By) -> Raise:
        """End a raise now, by a row that takes it back. Blocks.

        Raises NotFound, ConfigurationError when it is not in force, DatabaseConflict when
        somebody else withdraws it at the same moment.
        """
        if problems := _who_and_why(reason, by):
            raise ConfigurationError(problems)
        with self._database.writing() as cursor:
            now = self._clock.now()
            rows = self._rows(cursor)
            found = next((r for r in rows if r.id == raise_id and not r.withdraws), None)
            if found is None:
                raise NotFound(f"there is no raise {raise_id!r}")
            if now >= found.until or any(r.withdraws == raise_id for r in rows):
                raise ConfigurationError([f"{raise_id} is over already"])
            taken_back = msgspec.structs.replace(
                found,
                id=f"{found.id}.withdrawn",
                amount=-found.amount,
                starts_at=max(now, found.starts_at),
                reason=reason.strip(),
                author=by.who.strip(),
                created_at=now,
                withdraws=found.id,
            )
            self._add(cursor, taken_back, by)
        return taken_back

    def _refuse_too_much(self, cursor: Cursor, granted: Raise) -> None:
        """All raises that are in force together have to fit the books beside the limit."""
        others = Raises(row for row in self._rows(cursor) if row.until > granted.starts_at)
        together = granted.amount + sum(
            row.amount for row in others.for_subject(granted.budget, granted.subject)
        )
        if together > RAISE_MAX:
            raise ConfigurationError(["all raises of this budget together are too much"])

    def _add(self, cursor: Cursor, row: Raise, by: By) -> None:
        cursor.run(self._insert, {"org": self._org, **msgspec.structs.asdict(row)})
        cursor.run(self._bump, {"org": self._org, "name": REVISION, "first": 1})
        names = ("budget", "subject", "amount", "until", "reason")
        told = {name: getattr(row, name) for name in names}
        what = "raise.withdraw" if row.withdraws else "raise.grant"
        change = Change(what=what, subject=row.withdraws or row.id, after=told)
        self._log.append(cursor, [change], by, row.created_at)

    def _rows(self, cursor: Cursor) -> list[Raise]:
        return [Raise(*row) for row in cursor.rows(self._all, {"org": self._org})]


def budget_to_raise(budgets: Sequence[Budget], name: str, subject: str) -> Budget:
    """The budget of that name, for a raise of a subject of it; an empty subject is for every one.

    The id of a key is enough to name the key's own budget. Raises ConfigurationError when there is
    none, or when it does not count the subject: a raise for somebody whom a budget does not count
    would never matter.
    """
    names = (name, f"key {name}")
    for budget in budgets:
        if budget.name not in names:
            continue
        scope = budget.scope
        counted = scope.kind != "organisation" and scope.value in (None, subject)
        if subject and not counted:
            raise ConfigurationError([f"subject {subject!r}: budget {name!r} is for {scope}"])
        return budget
    known = [budget.name for budget in budgets]
    raise ConfigurationError([f"there is no budget {name!r}{nearest(name, known)}"])


def parse_amount(text: str, budget: Budget) -> int:
    """Nano-dollars, tokens or requests, as the budget counts. Raises ConfigurationError."""
    try:
        return parse_dollars(text) if budget.unit == "usd" else int(text)
    except ValueError:
        unit = "US dollars, such as 100" if budget.unit == "usd" else budget.unit
        raise ConfigurationError([f"by {text!r}: write a number of {unit}"]) from None


def _who_and_why(reason: str, by: By) -> list[str]:
    problems = []
    if not reason.strip():
        problems.append("reason: say why")
    if not by.who.strip():
        problems.append("author: say who")
    return problems
