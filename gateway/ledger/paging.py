"""Entries of a period, page by page, for whoever has to look at each of them.

A page is a query of its own that begins where the last one ended, so ten million entries need no
more memory than one page, and no transaction that stays open for minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import bindparam, or_, select

from gateway.ledger.queries import Range
from gateway.store.database import Database
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
    names = list(dict.fromkeys((*columns, "admitted_at", "id")))
    statement = (
        select(*(_TABLE.c[name] for name in names))
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
    )
    text = prepare(statement, database.engine_name)
    values: dict[str, Any] = {"org": org, "end": period.end, "page": page}
    values |= {"last_at": period.start, "last_id": ""}
    while True:
        with database.reading() as cursor:
            rows = [dict(zip(names, row, strict=True)) for row in cursor.rows(text, values)]
        if rows:
            yield rows
            values |= {"last_at": rows[-1]["admitted_at"], "last_id": rows[-1]["id"]}
        if len(rows) < page:
            return
