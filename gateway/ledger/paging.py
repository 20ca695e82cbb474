"""Entries of a period, page by page, for whoever has to look at each of them.

A page is a query of its own that begins where the last one ended, so ten million entries need no
more memory than one page, and no transaction that stays open for minutes, unless all pages have
to be of one moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import BigInteger, bindparam, literal_column, or_, select

from gateway.ledger.queries import Range
from gateway.store.database import Cursor, Database
from gateway.store.statements import prepare
from gateway.store.tables import EntryRow

_TABLE = EntryRow.__table__  # type: ignore[attr-defined]
PAGE = 5_000
"""Entries that are read at once."""


def entries_between(
    database: Database, org: str, period: Range, columns: Sequence[str], *, page: int = PAGE
) -> Iterator[list[dict[str, Any]]]:
    """Pages of entries admitted in a period, in the order of their admission.

    Rows have `columns`, and `admitted_at` and `id` whether named or not. Raises DatabaseDown.
    """
    pages = _Pages(database.engine_name, org, period, columns, page)
    while not pages.done:
        with database.reading() as cursor:
            rows = pages.next(cursor)
        if rows:
            yield rows


def entries_of_one_moment(
    cursor: Cursor, engine: str, org: str, period: Range, columns: Sequence[str], page: int = PAGE
) -> Iterator[list[dict[str, Any]]]:
    """The same inside one transaction of the caller's: for totals that have to be of one moment.

    The cursor may be used for other questions between the pages.
    """
    pages = _Pages(engine, org, period, columns, page)
    while not pages.done:
        if rows := pages.next(cursor):
            yield rows


class _Pages:
    """Where the reading is; one query for each page."""

    def __init__(
        self, engine: str, org: str, period: Range, columns: Sequence[str], page: int
    ) -> None:
        self._names = list(dict.fromkeys((*columns, "admitted_at", "id")))
        statement = (
            select(*(_TABLE.c[name] for name in self._names))
            .where(
                _TABLE.c.org == bindparam("org"),
                _TABLE.c.admitted_at >= bindparam("last_at"),
                _TABLE.c.admitted_at < bindparam("end"),
                or_(
                    _TABLE.c.admitted_at > bindparam("last_at"),
                    _TABLE.c.id > bindparam("last_id"),
                ),
            )
            .order_by(_TABLE.c.admitted_at, _TABLE.c.id)
            .limit(bindparam("page"))
            .offset(literal_column("0"))  # SQLite would be told so by an unnamed parameter
            .offset(literal_column("0", BigInteger))  # SQLite has one always, then as a parameter
        )
        self._text = prepare(statement, engine)
        self._values: dict[str, Any] = {"org": org, "end": period.end, "page": page}
        self._values |= {"last_at": period.start, "last_id": ""}
        self.done = False

    def next(self, cursor: Cursor) -> list[dict[str, Any]]:
        """The next page; an empty one only at the end."""
        found = cursor.rows(self._text, self._values)
        self.done = len(found) < self._values["page"]
        rows = [dict(zip(self._names, row, strict=True)) for row in found]
        if rows:
            self._values |= {"last_at": rows[-1]["admitted_at"], "last_id": rows[-1]["id"]}
        return rows
