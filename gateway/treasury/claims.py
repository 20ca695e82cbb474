"""Claims: which request was the first with an idempotency key, and what became of it.

A row is written before anything is asked of a provider. It says whose key it is, what was asked
(as a digest) and which request has it; no prompt and no answer is in it. Whether a request whose
process died had spent anything is not written here a second time: the holds and the entries of
the request say it, whenever it is asked.

Promises: of all who come with one key at one moment, in any number of processes, one is told that
it is the first; a claim is ended by the request that has it and by no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.sql.elements import ColumnElement

from gateway.ledger.entries import LAPSE
from gateway.store.database import Database, DatabaseBusy
from gateway.store.statements import INSERTS, prepare
from gateway.store.tables import EntryRow, Idempotency
from gateway.store.tables import Hold as HoldRow

OPEN, DONE = "open", "done"
"""States of a claim: its request is under way; it has ended and is remembered."""

_TRIES = 5

_TABLE = Idempotency.__table__  # type: ignore[attr-defined]
_ENTRIES = EntryRow.__table__  # type: ignore[attr-defined]
_HOLDS = HoldRow.__table__  # type: ignore[attr-defined]


class Name(msgspec.Struct, frozen=True):
    """What a claim is called: an idempotency key, which counts for one API key alone."""

    key_id: str
    digest: str
    """SHA-256 of the idempotency key."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A row; times in microseconds since 1970."""

    body_digest: str
    request_id: str
    instance: str
    """Which running gateway the request came to."""
    state: str = OPEN
    status: int = 0
    """The HTTP status that the request was answered with; 0 while it is open."""
    created_at: int
    open_until: int
    """After this the request cannot be under way any more, wherever it was."""
    expires_at: int
    """After this the key is free again."""


class Booked(msgspec.Struct, frozen=True, kw_only=True):
    """What the books say of a request."""

    held: bool
    """Whether a hold of it is open."""
    lapsed: bool
    """Whether a hold of it lapsed: nobody was left to end it."""
    outcome: str
    """How its last attempt ended; empty when there was none."""
    amount_nanos: int
    tokens: int

    @property
    def counts(self) -> bool:
        """Whether it brought an answer, or cost something."""
        return self.lapsed or self.outcome == "ok" or bool(self.amount_nanos or self.tokens)


class Claims:
    """The rows of one organisation. Every method blocks and may raise DatabaseDown."""

    def __init__(self, database: Database, org: str) -> None:
        self._database, self._org = database, org
        engine = database.engine_name
        fresh = INSERTS[engine](_TABLE).values(
            {name: bindparam(name) for name in ("org", "key_id", "digest", *_COLUMNS)}
        )
        self._claim = prepare(
            fresh.on_conflict_do_update(
                index_elements=["org", "key_id", "digest"],
                set_={name: fresh.excluded[name] for name in _COLUMNS},
                where=_TABLE.c.expires_at <= bindparam("now"),
            ).returning(_TABLE.c.request_id),
            engine,
        )
        self._take = prepare(
            update(_TABLE)
            .where(*_named(), _TABLE.c.request_id == bindparam("old_request_id"))
            .values({name: bindparam(f"new_{name}") for name in _COLUMNS}),
            engine,
        )
        self._find = prepare(select(*(_TABLE.c[n] for n in _COLUMNS)).where(*_named()), engine)
        own = (*_named(), _TABLE.c.request_id == bindparam("old_request_id"))
        self._finish = prepare(
            update(_TABLE)
            .where(*own)
            .values(state=bindparam("new_state"), status=bindparam("new_status")),
            engine,
        )
        self._free = prepare(delete(_TABLE).where(*own), engine)
        self._sweep = prepare(
            delete(_TABLE).where(
                _TABLE.c.org == bindparam("org"), _TABLE.c.expires_at <= bindparam("now")
            ),
            engine,
        )
        self._holds = prepare(select(_HOLDS.c.id).where(*_of_request(_HOLDS)), engine)
        self._entries = prepare(
            select(_ENTRIES.c.kind, _ENTRIES.c.outcome, _ENTRIES.c.amount_nanos, _ENTRIES.c.tokens)
            .where(*_of_request(_ENTRIES))
            .order_by(_ENTRIES.c.attempt, _ENTRIES.c.id),
            engine,
        )

    def claim(self, name: Name, wanted: Claim) -> Claim:
        """Be the first with a name, or learn who is: the claim that stands when it returns."""
        values = {"org": self._org, **_row(name), **_row(wanted), "now": wanted.created_at}
        for _ in range(_TRIES):
            with self._database.writing() as cursor:
                if cursor.rows(self._claim, values):
                    return wanted
                found = cursor.rows(self._find, {"org": self._org, **_row(name)})
            if found:  # else it was freed between the two statements
                return msgspec.convert(dict(zip(_COLUMNS, found[0], strict=True)), Claim)
        raise DatabaseBusy("others claim and free this key all the time")

    def take(self, name: Name, old: Claim, wanted: Claim) -> Claim:
        """Replace the claim of a request that is over and counts for nothing, unless somebody
        else was quicker; returns the claim that then stands."""
        new = {f"new_{column}": value for column, value in _row(wanted).items()}
        with self._database.writing() as cursor:
            if cursor.changed(self._take, {**self._own(name, old.request_id), **new}):
                return wanted
        return self.claim(name, wanted)

    def finish(self, name: Name, request_id: str, status: int) -> None:
        """Remember that the request ended, with an HTTP status."""
        values = {**self._own(name, request_id), "new_state": DONE, "new_status": status}
        with self._database.writing() as cursor:
            cursor.run(self._finish, values)

    def free(self, name: Name, request_id: str) -> None:
        """Forget the request: the next one with the name is the first."""
        with self._database.writing() as cursor:
            cursor.run(self._free, self._own(name, request_id))

    def sweep(self, now: int) -> None:
        """Delete what has expired."""
        with self._database.writing() as cursor:
            cursor.run(self._sweep, {"org": self._org, "now": now})

    def booked(self, request_id: str) -> Booked:
        """What the books say of a request."""
        values = {"org": self._org, "after": f"{request_id}.", "before": f"{request_id}/"}
        with self._database.reading() as cursor:
            held = bool(cursor.rows(self._holds, values))
            entries = cursor.rows(self._entries, values)
        return Booked(
            held=held,
            lapsed=any(entry[0] == LAPSE for entry in entries),
            outcome=str(entries[-1][1]) if entries else "",
            amount_nanos=sum(int(entry[2]) for entry in entries),
            tokens=sum(int(entry[3]) for entry in entries),
        )

    def _own(self, name: Name, request_id: str) -> dict[str, Any]:
        return {"org": self._org, **_row(name), "old_request_id": request_id}


_COLUMNS = Claim.__struct_fields__


def _row(of: Name | Claim) -> dict[str, Any]:
    return msgspec.structs.asdict(of)


def _named() -> Sequence[ColumnElement[bool]]:
    return (
        _TABLE.c.org == bindparam("org"),
        _TABLE.c.key_id == bindparam("key_id"),
        _TABLE.c.digest == bindparam("digest"),
    )


def _of_request(table: Any) -> Sequence[ColumnElement[bool]]:
    """The ids of a request's holds and entries are a range: "/" follows "."."""
    return (
        table.c.org == bindparam("org"),
        table.c.id > bindparam("after"),
        table.c.id < bindparam("before"),
    )
