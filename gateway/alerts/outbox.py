"""The outbox: what was told, and what is on its way, in the database of the books.

To tell something is to write its key, which can be there once, and a delivery for each
destination, in one transaction. So it is told once, whatever the number of processes, and not lost
when one of them dies. Any process delivers: it takes a delivery for a while (`LEASE_SECONDS`), in
which nobody else does. If it dies in between, another delivers it again, with the same id: a
receiver that remembers ids has each once.

What fails is tried again with growing pauses; after the last it is dead, and waits for a person.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Text,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)

from gateway.alerts.messages import Message
from gateway.clock import MICROS
from gateway.store.database import Cursor, Database
from gateway.store.statements import INSERTS, prepare
from gateway.store.tables import AlertClaim, AlertDelivery

WAITING, SENT, DEAD = "waiting", "sent", "dead"
STATES = (WAITING, SENT, DEAD)
PAUSES = (30, 120, 600, 1800, 3600, 10_800, 21_600)
"""Seconds after each failed attempt; after one more it is dead, half a day later."""
LEASE_SECONDS = 300
KEPT_SECONDS = 400 * 86_400
"""How long deliveries can be looked at."""
_AT_ONCE = 20
_ERROR_LENGTH = 300

_CLAIMS = AlertClaim.__table__  # type: ignore[attr-defined]
_DELIVERIES = AlertDelivery.__table__  # type: ignore[attr-defined]


class Letter(msgspec.Struct, frozen=True):
    """A message for a destination, to be delivered at `due_at` (microseconds since 1970)."""

    destination: str
    message: Message
    urgent: bool
    due_at: int


class Alert(msgspec.Struct, frozen=True):
    """What is told once: its key, until when that has to be remembered, and to whom."""

    key: str
    expires_at: int
    letters: Sequence[Letter] = ()


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A row; times in microseconds since 1970. `ended_at` is 0 while it waits."""

    id: str
    alert: str
    destination: str
    message: str
    urgent: bool
    state: str
    attempts: int
    due_at: int
    created_at: int
    ended_at: int
    error: str

    def read(self) -> Message:
        """What it says."""
        return msgspec.json.decode(self.message, type=Message)


_COLUMNS = [_DELIVERIES.c[name] for name in Delivery.__struct_fields__]
_MINE = _DELIVERIES.c.org == bindparam("in_org")
_THIS = _MINE & (_DELIVERIES.c.id == bindparam("delivery"))
_IN_STATE = _DELIVERIES.c.state == bindparam("is_state")
_DUE = _DELIVERIES.c.due_at <= bindparam("now")
_OUR_CLAIMS = _CLAIMS.c.org == bindparam("in_org")
_NEWEST_FIRST = (_DELIVERIES.c.created_at.desc(), _DELIVERIES.c.id)


class Outbox:
    """The alerts of one organisation. Every method blocks, and raises DatabaseDown."""

    def __init__(self, database: Database, org: str) -> None:
        self._database, self._org = database, org
        engine = database.engine_name
        self._claim = prepare(
            INSERTS[engine](_CLAIMS).on_conflict_do_nothing(index_elements=["org", "key"]), engine
        )
        self._claimed = prepare(
            select(_CLAIMS.c.key).where(_OUR_CLAIMS & (_CLAIMS.c.key == bindparam("claim"))), engine
        )
        self._insert = prepare(insert(_DELIVERIES), engine)
        self._take, self._end, self._retry = (prepare(text, engine) for text in _updates())
        self._forget = [prepare(text, engine) for text in _deletes()]
        everything = select(*_COLUMNS).where(_MINE)
        self._one = prepare(everything.where(_DELIVERIES.c.id == bindparam("delivery")), engine)
        waiting = everything.where(_IN_STATE, _DUE)
        self._due = prepare(_first(waiting.order_by(_DELIVERIES.c.due_at)), engine)
        self._list = prepare(_first(everything.order_by(*_NEWEST_FIRST)), engine)
        in_state = everything.where(_IN_STATE).order_by(*_NEWEST_FIRST)
        self._list_state = prepare(_first(in_state), engine)
        count = select(func.count()).select_from(_DELIVERIES)
        self._count = prepare(count.where(_MINE, _IN_STATE), engine)

    def tell(self, alerts: Sequence[Alert], now: int) -> list[str]:
        """Tell what was not told yet, all of it or nothing; returns the keys that were new.

        Alerts that belong together are to be given in the same order by everybody.
        """
        new = []
        with self._database.writing() as cursor:
            for alert in alerts:
                claim = {"org": self._org, "key": alert.key, "expires_at": alert.expires_at}
                if cursor.changed(self._claim, claim) == 1:
                    new.append(alert.key)
                    for letter in alert.letters:
                        self._put(cursor, alert.key, letter, now)
        return new

    def was_told(self, key: str) -> bool:
        """Whether a key is there already."""
        with self._database.reading() as cursor:
            return bool(cursor.rows(self._claimed, {"in_org": self._org, "claim": key}))

    def take(self, now: int) -> list[Delivery]:
        """Take what is due, for LEASE_SECONDS."""
        values = {"in_org": self._org, "is_state": WAITING, "now": now, "most": _AT_ONCE}
        with self._database.reading() as cursor:
            found = [_delivery(row) for row in cursor.rows(self._due, values)]
        return self._taken(found, now) if found else []

    def tell_and_take(self, alert: Alert, now: int) -> list[Delivery]:
        """Tell something that is new for sure, and take its deliveries at once."""
        until = now + LEASE_SECONDS * MICROS
        with self._database.writing() as cursor:
            claim = {"org": self._org, "key": alert.key, "expires_at": alert.expires_at}
            cursor.run(self._claim, claim)
            return [
                self._put(
                    cursor,
                    alert.key,
                    msgspec.structs.replace(letter, due_at=until),
                    now,
                    attempts=1,
                )
                for letter in alert.letters
            ]

    def sent(self, delivery: Delivery, now: int, note: str = "") -> Delivery:
        """It has arrived; `note` is what was odd about it."""
        return self._ended(delivery, SENT, now, note)

    def failed(self, delivery: Delivery, now: int, why: str, due_at: int | None) -> Delivery:
        """It did not arrive: try again at a moment, or never by itself (None)."""
        if due_at is None:
            return self._ended(delivery, DEAD, now, why)
        return self._ended(msgspec.structs.replace(delivery, due_at=due_at), WAITING, 0, why)

    def retry(self, ids: Sequence[str], now: int) -> int:
        """Bring the dead among these back to life, due now; returns how many."""
        with self._database.writing() as cursor:
            return sum(
                cursor.changed(
                    self._retry,
                    {
                        "in_org": self._org,
                        "delivery": one,
                        "is_state": DEAD,
                        "becomes": WAITING,
                        "until": now,
                    },
                )
                for one in ids
            )

    def newest(self, state: str | None = None, most: int = 100) -> list[Delivery]:
        """Deliveries, the newest first, all or in one of STATES."""
        text = self._list if state is None else self._list_state
        with self._database.reading() as cursor:
            values = {"in_org": self._org, "is_state": state, "most": most}
            return [_delivery(row) for row in cursor.rows(text, values)]

    def find(self, delivery: str) -> Delivery | None:
        """One of them by its id."""
        with self._database.reading() as cursor:
            rows = cursor.rows(self._one, {"in_org": self._org, "delivery": delivery})
        return _delivery(rows[0]) if rows else None

    def count(self, state: str) -> int:
        """How many are in a state."""
        with self._database.reading() as cursor:
            values = {"in_org": self._org, "is_state": state}
            return int(cursor.rows(self._count, values)[0][0])

    def forget(self, now: int) -> None:
        """Remove claims that have expired, and deliveries that ended KEPT_SECONDS ago."""
        values = {
            "in_org": self._org,
            "now": now,
            "old": now - KEPT_SECONDS * MICROS,
            "is_state": WAITING,
        }
        with self._database.writing() as cursor:
            for text in self._forget:
                cursor.run(text, values)

    def _put(
        self, cursor: Cursor, key: str, letter: Letter, now: int, attempts: int = 0
    ) -> Delivery:
        delivery = Delivery(
            id=f"dlv_{secrets.token_hex(8)}",
            alert=key,
            destination=letter.destination,
            message=msgspec.json.encode(letter.message).decode(),
            urgent=letter.urgent,
            state=WAITING,
            attempts=attempts,
            due_at=letter.due_at,
            created_at=now,
            ended_at=0,
            error="",
        )
        cursor.run(self._insert, {"org": self._org, **msgspec.structs.asdict(delivery)})
        return delivery

    def _taken(self, found: Sequence[Delivery], now: int) -> list[Delivery]:
        """Those of them that nobody else has taken: one of two is told that a row was touched."""
        until = now + LEASE_SECONDS * MICROS
        values = {"in_org": self._org, "is_state": WAITING, "now": now, "until": until}
        with self._database.writing() as cursor:
            return [
                msgspec.structs.replace(one, attempts=one.attempts + 1, due_at=until)
                for one in found
                if cursor.changed(self._take, {**values, "delivery": one.id}) == 1
            ]

    def _ended(self, delivery: Delivery, state: str, ended: int, why: str) -> Delivery:
        told = msgspec.structs.replace(
            delivery, state=state, ended_at=ended, error=why[:_ERROR_LENGTH]
        )
        values = {
            "in_org": self._org,
            "delivery": told.id,
            "becomes": state,
            "until": told.due_at,
            "ended": ended,
            "why": told.error,
        }
        with self._database.writing() as cursor:
            cursor.run(self._end, values)
        return told


def _updates() -> Sequence[Any]:
    """Taking a delivery, ending an attempt, and bringing a dead one back."""
    state, until = bindparam("becomes", type_=Text), bindparam("until", type_=BigInteger)
    one, none = literal_column("1", BigInteger), literal_column("0", BigInteger)
    return (
        update(_DELIVERIES)
        .where(_THIS & _IN_STATE & _DUE)
        .values(due_at=until, attempts=_DELIVERIES.c.attempts + one),
        update(_DELIVERIES)
        .where(_THIS)
        .values(
            state=state,
            due_at=until,
            ended_at=bindparam("ended", type_=BigInteger),
            error=bindparam("why", type_=Text),
        ),
        update(_DELIVERIES)
        .where(_THIS & _IN_STATE)
        .values(state=state, due_at=until, attempts=none, ended_at=none),
    )


def _deletes() -> Sequence[Any]:
    over = _DELIVERIES.c.created_at <= bindparam("old")
    still = _DELIVERIES.c.state != bindparam("is_state")
    return (
        delete(_CLAIMS).where(_OUR_CLAIMS & (_CLAIMS.c.expires_at <= bindparam("now"))),
        delete(_DELIVERIES).where(_MINE & still & over),
    )


def _first(statement: Any) -> Any:
    """So many rows of a statement; the offset has to be named for SQLite."""
    most = bindparam("most", type_=BigInteger)
    return statement.limit(most).offset(literal_column("0", BigInteger))


def _delivery(row: tuple[Any, ...]) -> Delivery:
    values = dict(zip(Delivery.__struct_fields__, row, strict=True))
    return Delivery(**{**values, "urgent": bool(values["urgent"])})
