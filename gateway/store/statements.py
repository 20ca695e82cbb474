"""Statements prepared once, run many times.

They are written with SQLAlchemy Core, so that the same ones serve SQLite and PostgreSQL, and
compiled once per engine to the text that its driver takes. Running the text on the driver's own
cursor costs a tenth of running the construct, and the committer runs nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, cast

from sqlalchemy import bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.psycopg import dialect as psycopg_dialect
from sqlalchemy.dialects.sqlite.pysqlite import dialect as pysqlite_dialect
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.expression import ClauseElement

INSERTS: dict[str, Callable[[Any], Any]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}
"""INSERT with ON CONFLICT, by engine."""

LIST_SIZES = (1, 4, 16, 64, 256, 1024)
"""Lengths in which lists are bound: few texts, so the driver's statement cache keeps them all."""

_DIALECTS: dict[str, Dialect] = {
    "sqlite": pysqlite_dialect(paramstyle="named"),
    "postgresql": psycopg_dialect(),  # type: ignore[no-untyped-call]
}

_BY_PLACE: dict[str, Dialect] = {
    "sqlite": pysqlite_dialect(paramstyle="qmark"),
    "postgresql": psycopg_dialect(paramstyle="format"),  # type: ignore[no-untyped-call]
}


def prepare(statement: ClauseElement, engine: str) -> str:
    """The text of a statement for `engine` ("sqlite" or "postgresql"), named parameters kept.

    Constants are written with `literal_column`; one that would become an unnamed parameter is
    a mistake, told by ValueError.
    """
    compiled = statement.compile(dialect=_DIALECTS[engine])
    if stray := [name for name, value in compiled.params.items() if value is not None]:
        raise ValueError(f"constants became parameters: {stray}")
    return str(compiled)


class RowStatement:
    """A statement that is run for many rows, its parameters bound by place.

    Binding by name costs the driver twice as much, and a row of the ledger has 45 columns.
    """

    def __init__(self, statement: ClauseElement, engine: str) -> None:
        compiled = cast(SQLCompiler, statement.compile(dialect=_BY_PLACE[engine]))
        names = self.names = tuple(compiled.positiontup or ())
        if stray := [name for name in names if compiled.params[name] is not None]:
            raise ValueError(f"constants became parameters: {stray}")
        self.text = str(compiled)
        self.values: Callable[[Mapping[str, Any]], Sequence[Any]] = itemgetter(*names)
        """A row's values in the order of the text; there have to be two or more."""


class ListStatement:
    """A statement with one list in it, compiled for a few lengths and padded to the next."""

    def __init__(
        self, build: Callable[[list[BindParameter[Any]]], ClauseElement], engine: str
    ) -> None:
        self._text = lru_cache(maxsize=len(LIST_SIZES))(
            lambda size: prepare(
                build([bindparam(f"item_{index}") for index in range(size)]), engine
            )
        )

    def batches(self, items: Sequence[Any], **fixed: Any) -> list[tuple[str, dict[str, Any]]]:
        """Texts and parameters that together cover all items, which may not be empty."""
        found = []
        for start in range(0, len(items), LIST_SIZES[-1]):
            part = items[start : start + LIST_SIZES[-1]]
            size = next(size for size in LIST_SIZES if size >= len(part))
            padded = [*part, *[part[-1]] * (size - len(part))]
            values = {f"item_{index}": item for index, item in enumerate(padded)}
            found.append((self._text(size), fixed | values))
        return found
