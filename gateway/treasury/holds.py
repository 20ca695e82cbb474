"""Holds: money set aside for one attempt, and their rows.

A hold is written before the provider is asked and deleted in the transaction that writes its
entry. Its row carries all that is needed to let it lapse, by whichever process comes by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import bindparam, delete, insert, select

from gateway.ledger.entries import Draft
from gateway.store.database import Cursor
from gateway.store.statements import ListStatement, RowStatement, prepare
from gateway.store.tables import Hold as HoldRow

_TABLE = HoldRow.__table__  # type: ignore[attr-defined]


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Money set aside; amounts in nano-dollars, tokens and requests, times in microseconds."""

    id: str
    draft: Draft
    admitted_at: int
    lapses_at: int
    ceiling_nanos: int
    ceiling_tokens: int
    request_count: int
    balances: tuple[int, ...]
    """Numbers of the balances that hold it, ascending."""

    def amount(self, unit: str) -> int:
        """What it holds of a balance in that unit."""
        if unit == "usd":
            return self.ceiling_nanos
        return self.ceiling_tokens if unit == "tokens" else self.request_count


class HoldTable:
    """Reads and writes the rows of open holds, inside somebody else's transaction."""

    def __init__(self, org: str, engine: str, instance: str) -> None:
        self._org, self._instance = org, instance
        self._insert = RowStatement(insert(_TABLE), engine)
        columns = [_TABLE.c[name] for name in _STORED]
        everything = select(*columns).where(_TABLE.c.org == bindparam("org"))
        self._expired = prepare(
            everything.where(_TABLE.c.lapses_at <= bindparam("now")).order_by(_TABLE.c.lapses_at),
            engine,
        )
        self._foreign = prepare(
            everything.where(_TABLE.c.instance != bindparam("instance")),
            engine,
        )
        self._of_request = prepare(
            everything.where(
                _TABLE.c.id > bindparam("after"), _TABLE.c.id < bindparam("before")
            ).order_by(_TABLE.c.id),
            engine,
        )
        self._open = ListStatement(
            lambda items: (
                select(_TABLE.c.id)
                .where(_TABLE.c.org == bindparam("org"), _TABLE.c.id.in_(items))
                .order_by(_TABLE.c.id)
                .with_for_update()
            ),
            engine,
        )
        self._delete = ListStatement(
            lambda items: (
                delete(_TABLE)
                .where(_TABLE.c.org == bindparam("org"), _TABLE.c.id.in_(items))
                .returning(_TABLE.c.id)
            ),
            engine,
        )

    def add(self, cursor: Cursor, holds: Sequence[Hold]) -> None:
        """Write new holds."""
        cursor.run_many(
            self._insert,
            [
                {
                    "org": self._org,
                    "id": hold.id,
                    "instance": self._instance,
                    "admitted_at": hold.admitted_at,
                    "lapses_at": hold.lapses_at,
                    "ceiling_nanos": hold.ceiling_nanos,
                    "ceiling_tokens": hold.ceiling_tokens,
                    "request_count": hold.request_count,
                    "balances": balance_list(hold.balances),
                    "draft": _encoder.encode(hold.draft).decode(),
                }
                for hold in holds
            ],
        )

    def of_request(self, cursor: Cursor, request_id: str) -> list[Hold]:
        """The open holds of a request: of the attempt that is under way, if one is."""
        ids = {"after": f"{request_id}.", "before": f"{request_id}/"}  # "/" follows "."
        return [_read(row) for row in cursor.rows(self._of_request, {"org": self._org, **ids})]

    def lock_open(self, cursor: Cursor, ids: Sequence[str]) -> set[str]:
        """Which of these holds are still open; their rows stay locked until the commit."""
        found: set[str] = set()
        for text, values in self._open.batches(sorted(ids), org=self._org):
            found.update(row[0] for row in cursor.rows(text, values))
        return found

    def taking(self, cursor: Cursor, ids: Sequence[str]) -> Callable[[], set[str]]:
        """Delete the rows of holds that end in this transaction.

        Calling what is returned tells which were still open.
        """
        batches = self._delete.batches(sorted(ids), org=self._org)
        asked = [cursor.ask(text, values) for text, values in batches]
        return lambda: {row[0] for rows in asked for row in rows()}

    def expired(self, cursor: Cursor, now: int) -> list[Hold]:
        """The holds whose time is over."""
        return [_read(row) for row in cursor.rows(self._expired, {"org": self._org, "now": now})]

    def foreign(self, cursor: Cursor) -> list[Hold]:
        """The holds that another instance opened."""
        values = {"org": self._org, "instance": self._instance}
        return [_read(row) for row in cursor.rows(self._foreign, values)]


def balance_list(ids: Sequence[int]) -> str:
    """How balance numbers are written beside holds and entries: "3 17 204"."""
    return " ".join(map(str, ids))


def parse_balances(text: str) -> tuple[int, ...]:
    """The reverse of `balance_list`."""
    return tuple(map(int, text.split()))


_STORED = (
    "id",
    "draft",
    "admitted_at",
    "lapses_at",
    "ceiling_nanos",
    "ceiling_tokens",
    "request_count",
    "balances",
)
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Draft)


def _read(row: tuple[object, ...]) -> Hold:
    values = dict(zip(_STORED, row, strict=True))
    draft = _decoder.decode(str(values.pop("draft")))
    balances = parse_balances(str(values.pop("balances")))
    return msgspec.convert(values | {"draft": draft, "balances": balances}, Hold)
