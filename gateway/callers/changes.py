"""The log of changes: who changed what, from what to what, from where, and when.

A row is written in the transaction of the change itself, so neither is there without the other.
Each row has the hash of the one before it within its own, and its number: to edit, remove or
reorder rows afterwards breaks the chain, and `check` says where. The database refuses to update
or delete rows; the chain is for those who can make it do so. Whoever could do that to all rows
could also compute a new chain, so the newest hash is worth keeping elsewhere: each export has it.

Writers take turns: the row that counts them is locked from the append to the end of the
transaction. So `append` comes last in it.

There is no secret in it: who changes a key writes down what the key may do, never the key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import BigInteger, bindparam, insert, literal_column, select

from gateway.store.database import Cursor
from gateway.store.statements import INSERTS, prepare
from gateway.store.tables import ChangeRow, Counter

COUNTER = "changes"
"""Name of the counter of rows; the last row has its number."""

_TABLE = ChangeRow.__table__  # type: ignore[attr-defined]
_COUNTERS = Counter.__table__  # type: ignore[attr-defined]
_FIRST = ""
"""What stands for the hash before the first row."""
PAGE = 1000
"""Rows that are read at a time."""

_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True)
class By:
    """Who makes a change: a name, the role it is made with, and the place it is made from."""

    who: str
    role: str
    origin: str


ITSELF = By("gateway", "", "its own start")
"""What the gateway does without being told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change. `before` is None for what is made, `after` for what is gone."""

    what: str
    """Such as key.create."""
    subject: str
    """What was changed: the id of a key, the name of a team."""
    team: str = ""
    """The team that it belongs to; empty when it concerns the organisation."""
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the log; `at` in microseconds since 1970, `before` and `after` as JSON."""

    number: int
    at: int
    who: str
    role: str
    origin: str
    what: str
    subject: str
    team: str
    before: str
    after: str
    previous: str
    hash: str

    def expected_hash(self, org: str) -> str:
        """The hash that goes with what the row says now."""
        told = [getattr(self, name) for name in self.__struct_fields__ if name != "hash"]
        return hashlib.sha256(_encode([org, *told])).hexdigest()


_COLUMNS = [_TABLE.c[name] for name in Recorded.__struct_fields__]


class ChangeLog:
    """Appends to, and reads, the log of one organisation, inside somebody else's transaction."""

    def __init__(self, org: str, engine: str) -> None:
        self._org = org
        count = bindparam("count", type_=BigInteger)
        self._take = prepare(
            INSERTS[engine](_COUNTERS)
            .values(org=bindparam("org"), name=bindparam("name"), value=count)
            .on_conflict_do_update(
                index_elements=["org", "name"], set_={"value": _COUNTERS.c.value + count}
            )
            .returning(_COUNTERS.c.value),
            engine,
        )
        self._hash_of = prepare(
            select(_TABLE.c.hash).where(
                _TABLE.c.org == bindparam("org"), _TABLE.c.number == bindparam("number")
            ),
            engine,
        )
        self._insert = prepare(insert(_TABLE), engine)
        self._page = prepare(
            select(*_COLUMNS)
            .where(
                _TABLE.c.org == bindparam("org"),
                _TABLE.c.number > bindparam("number"),
            )
            .order_by(_TABLE.c.number)
            .limit(bindparam("size"))
            .offset(literal_column("0")),  # SQLite would be given one as a constant
            engine,
        )
        self._count = prepare(
            select(_COUNTERS.c.value).where(
                _COUNTERS.c.org == bindparam("org"), _COUNTERS.c.name == bindparam("name")
            ),
            engine,
        )

    def append(self, cursor: Cursor, changes: Sequence[Change], by: By, now: int) -> None:
        """Write changes down, in their order; the caller commits, and does nothing else before.

        `now` is in microseconds since 1970.
        """
        if not changes:
            return
        values = {"org": self._org, "name": COUNTER, "count": len(changes)}
        last = int(cursor.rows(self._take, values)[0][0])
        number = last - len(changes)
        before = cursor.rows(self._hash_of, {"org": self._org, "number": number})
        previous = str(before[0][0]) if before else _FIRST
        for change in changes:
            number += 1
            row = Recorded(
                number=number,
                at=now,
                who=by.who,
                role=by.role,
                origin=by.origin,
                what=change.what,
                subject=change.subject,
                team=change.team,
                before=_text(change.before),
                after=_text(change.after),
                previous=previous,
                hash="",
            )
            previous = row.expected_hash(self._org)
            values = {"org": self._org, **msgspec.structs.asdict(row), "hash": previous}
            cursor.run(self._insert, values)

    def read(self, cursor: Cursor, after: int = 0) -> Iterator[Recorded]:
        """The rows with a number above `after`, oldest first, a page at a time."""
        while True:
            values = {"org": self._org, "number": after, "size": PAGE}
            page = cursor.rows(self._page, values)
            for columns in page:
                yield Recorded(**dict(zip(Recorded.__struct_fields__, columns, strict=True)))
            if len(page) < PAGE:
                return
            after = int(page[-1][0])

    def check(self, cursor: Cursor) -> Iterator[tuple[str, str]]:
        """What is wrong with the chain: the row, and in words what became of it."""
        number, previous = 0, _FIRST
        for row in self.read(cursor):
            if row.number != number + 1:
                gone = _numbers(number + 1, row.number - 1)
                yield gone, "it is missing: rows of the log were deleted"
            elif row.previous != previous:
                yield f"change {row.number}", f"it does not follow change {number} as it is now"
            if row.expected_hash(self._org) != row.hash:
                yield f"change {row.number}", "it was edited after it was written"
            number, previous = row.number, row.hash
        written = cursor.rows(self._count, {"org": self._org, "name": COUNTER})
        count = int(written[0][0]) if written else 0
        if count > number:
            yield _numbers(number + 1, count), "it is missing: the end of the log was cut off"
        elif count < number:
            yield f"change {number}", f"only {count} changes were ever counted"


def _text(values: Mapping[str, Any] | None) -> str:
    return "" if values is None else _encode(values).decode()


def _numbers(first: int, last: int) -> str:
    return f"change {first}" if first == last else f"changes {first} to {last}"
