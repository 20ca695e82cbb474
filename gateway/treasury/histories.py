"""Which books are made up: the mark on them, and how far their history is written.

Made-up entries are written only into books that have none of anybody else's, and the mark that
says so is written first. The history is written in groups, and the mark moves in the transaction
of each: what was interrupted is continued where it stopped, and nothing is written twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, func, select, update

from gateway.errors import ConfigurationError
from gateway.store.database import Cursor
from gateway.store.statements import INSERTS, prepare
from gateway.store.tables import Counter, EntryRow
from gateway.store.tables import Hold as HoldRow

ORIGIN, UNTIL = "synthetic_origin", "synthetic_until"
"""The counters of made-up books: when their story begins, and how far it is written."""

_COUNTERS = Counter.__table__  # type: ignore[attr-defined]
_ENTRIES = EntryRow.__table__  # type: ignore[attr-defined]
_HOLDS = HoldRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class History:
    """The mark of made-up books; both in microseconds since 1970."""

    origin: int
    until: int


class Histories:
    """Reads and writes the mark for one organisation, inside somebody else's transaction."""

    def __init__(self, org: str, engine: str) -> None:
        self._org = org
        named = (_COUNTERS.c.org == bindparam("in_org"), _COUNTERS.c.name == bindparam("counter"))
        self._find = prepare(select(_COUNTERS.c.value).where(*named), engine)
        self._insert = prepare(
            INSERTS[engine](_COUNTERS).values(
                org=bindparam("org"), name=bindparam("name"), value=bindparam("value")
            ),
            engine,
        )
        self._move = prepare(
            update(_COUNTERS).where(*named).values(value=bindparam("moment")), engine
        )
        self._first = [
            prepare(select(func.min(table.c.id)).where(table.c.org == bindparam("org")), engine)
            for table in (_ENTRIES, _HOLDS)
        ]

    def find(self, cursor: Cursor) -> History | None:
        """The mark; None when the books are real, or empty."""
        values = []
        for name in (ORIGIN, UNTIL):
            rows = cursor.rows(self._find, {"in_org": self._org, "counter": name})
            if not rows:
                return None
            values.append(int(rows[0][0]))
        return History(*values)

    def begin(self, cursor: Cursor, history: History) -> None:
        """Mark empty books as made up; raises ConfigurationError when they are not empty."""
        for statement in self._first:
            if cursor.rows(statement, {"org": self._org})[0][0] is not None:
                raise ConfigurationError(
                    [
                        "these books have entries of their own: a made-up history is never mixed"
                        " with them; name another database with --database-url"
                    ]
                )
        for name, value in ((ORIGIN, history.origin), (UNTIL, history.until)):
            cursor.run(self._insert, {"org": self._org, "name": name, "value": value})

    def reached(self, cursor: Cursor, moment: int) -> None:
        """Move the mark: everything before the moment is written in this transaction."""
        values = {"in_org": self._org, "counter": UNTIL, "moment": moment}
        cursor.run(self._move, values)
