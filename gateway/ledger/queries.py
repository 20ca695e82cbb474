"""Reading the books: entries of a request, spend by any dimension, balances of now.

A total over whole hours comes from the roll-ups when they know the dimensions asked for; else,
and for ranges that begin or end within an hour, it comes from the entries themselves. Both say
the same by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.sql.elements import ColumnElement

from gateway.ledger.entries import HOUR
from gateway.store.database import Cursor, Database
from gateway.store.statements import ListStatement, prepare
from gateway.store.tables import ROLLUP_DIMENSIONS, ROLLUP_SUMS, Balance, EntryRow, Rollup

_ENTRIES = EntryRow.__table__  # type: ignore[attr-defined]
_ROLLUPS = Rollup.__table__  # type: ignore[attr-defined]
_BALANCES = Balance.__table__  # type: ignore[attr-defined]

DIMENSIONS = (*ROLLUP_DIMENSIONS, "provider", "model", "model_served", "key_id", "kind", "outcome")
"""What spend can be grouped by."""
SUMS = tuple(name for name in ROLLUP_SUMS if name != "entries")


@dataclass(frozen=True, slots=True)
class Range:
    """From a moment up to, and not including, another; microseconds since 1970, UTC."""

    start: int
    end: int

    @property
    def whole_hours(self) -> bool:
        """Whether the roll-ups can answer for it."""
        return self.start % HOUR == 0 and self.end % HOUR == 0


class Ledger:
    """Questions to the books of one organisation. Every method blocks."""

    def __init__(self, database: Database, org: str) -> None:
        self._database, self._org = database, org

    def entries_of(self, request_id: str) -> list[dict[str, Any]]:
        """Every entry of a request, in the order of its attempts."""
        with self._database.reading() as cursor:
            return self.entries_in(cursor, request_id)

    def entries_in(self, cursor: Cursor, request_id: str) -> list[dict[str, Any]]:
        """The same, inside a transaction."""
        statement = (
            select(*_ENTRIES.columns)
            .where(
                _ENTRIES.c.org == bindparam("org"),
                _ENTRIES.c.id > bindparam("after"),
                _ENTRIES.c.id < bindparam("before"),
            )
            .order_by(_ENTRIES.c.attempt, _ENTRIES.c.id)
        )
        values = {"after": f"{request_id}.", "before": f"{request_id}/"}  # "/" follows "."
        text = prepare(statement, self._database.engine_name)
        names = [column.name for column in _ENTRIES.columns]
        return _dicts(cursor, text, names, {"org": self._org, **values})

    def spend(
        self, by: Sequence[str], period: Range, team: str | None = None
    ) -> list[dict[str, Any]]:
        """Sums for each combination of the dimensions, the dearest first; of one team, or all.

        Raises ValueError for a dimension that is not one of DIMENSIONS.
        """
        for name in by:
            if name not in DIMENSIONS:
                raise ValueError(f"{name!r} is not one of {', '.join(DIMENSIONS)}")
        rolled = period.whole_hours and set(by) <= set(ROLLUP_DIMENSIONS)
        table, time, unit = (
            (_ROLLUPS, _ROLLUPS.c.hour, HOUR) if rolled else (_ENTRIES, _ENTRIES.c.admitted_at, 1)
        )
        dimensions: list[ColumnElement[Any]] = [table.c[name] for name in by]
        entries = func.sum(table.c.entries) if rolled else func.count()
        sums = [entries.label("entries")] + [func.sum(table.c[n]).label(n) for n in SUMS]
        statement = (
            select(*dimensions, *sums)
            .where(
                table.c.org == bindparam("org"),
                time >= bindparam("start"),
                time < bindparam("end"),
            )
            .group_by(*dimensions)
        )
        values: dict[str, Any] = {"start": period.start // unit, "end": period.end // unit}
        if team is not None:
            statement = statement.where(table.c.team == bindparam("team"))
            values["team"] = team
        rows = self._ask(statement, [*by, "entries", *SUMS], values)
        found = [{n: v if n in by else int(v or 0) for n, v in row.items()} for row in rows]
        found = [row for row in found if row["entries"]]
        return sorted(found, key=lambda row: (-row["amount_nanos"], [row[n] for n in by]))

    def balances_at(self, moment: int) -> list[dict[str, Any]]:
        """The balances whose period includes a moment."""
        statement = (
            select(*_BALANCES.columns)
            .where(
                _BALANCES.c.org == bindparam("org"),
                _BALANCES.c.starts_at <= bindparam("moment"),
                _BALANCES.c.ends_at > bindparam("moment"),
            )
            .order_by(_BALANCES.c.budget, _BALANCES.c.subject)
        )
        return self._ask(statement, [c.name for c in _BALANCES.columns], {"moment": moment})

    def balances_in(self, cursor: Cursor, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
        """The balances of these numbers, inside a transaction."""
        find = ListStatement(
            lambda items: select(*_BALANCES.columns).where(
                _BALANCES.c.org == bindparam("org"), _BALANCES.c.id.in_(items)
            ),
            self._database.engine_name,
        )
        found: dict[int, dict[str, Any]] = {}
        for text, values in find.batches(numbers, org=self._org) if numbers else ():
            for row in _dicts(cursor, text, [c.name for c in _BALANCES.columns], values):
                found[row["id"]] = row
        return found

    def _ask(
        self, statement: Any, names: Sequence[str], values: dict[str, Any]
    ) -> list[dict[str, Any]]:
        text = prepare(statement, self._database.engine_name)
        with self._database.reading() as cursor:
            return _dicts(cursor, text, names, {"org": self._org, **values})


def _dicts(
    cursor: Cursor, text: str, names: Sequence[str], values: dict[str, Any]
) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=True)) for row in cursor.rows(text, values)]
