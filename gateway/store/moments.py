"""One moment of the books that several connections read, whoever writes meanwhile.

PostgreSQL gives a moment a name, by which other connections join it. SQLite does not, so nobody
may write while all of them take their first look: its lock for writers is held for these few
milliseconds, and committers wait for it as they wait for each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gateway.store.database import Cursor, Database
from gateway.store.failing import DatabaseDown

_LOOK = "SELECT COUNT(*) FROM counters WHERE org = ''"
"""Any read of a table: SQLite's moment begins with the first one, and not with BEGIN."""
_NAME = re.compile(r"[0-9A-Za-z-]*")


@dataclass(frozen=True, slots=True)
class Moment:
    """What another process has to know to read the same moment."""

    name: str


class NotShared(DatabaseDown):
    """The moment could not be given to others; one connection can still read it alone."""


@contextmanager
def shared(database: Database, tell: Callable[[Moment], None]) -> Iterator[Cursor]:
    """One moment of the books, for this connection and for all that join it.

    `tell` hands the moment to the others, and returns when each of them has joined. It has to be
    quick, and to give up by itself: on SQLite nobody can write until it has returned. Raises
    NotShared when it raised DatabaseDown or the database would not have it, else DatabaseDown.
    """
    with database.reading() as cursor:
        try:
            _pass_on(database, cursor, tell)
        except DatabaseDown as error:
            raise NotShared(str(error)) from error
        yield cursor


def _pass_on(database: Database, cursor: Cursor, tell: Callable[[Moment], None]) -> None:
    if database.is_sqlite:
        with database.writing():
            cursor.rows(_LOOK, {})
            tell(Moment(""))
        return
    ((name,),) = cursor.rows("SELECT pg_export_snapshot()", {})
    tell(Moment(str(name)))


@contextmanager
def joined(database: Database, moment: Moment) -> Iterator[Cursor]:
    """The moment that another connection shares. Raises DatabaseDown."""
    if not _NAME.fullmatch(moment.name):  # it stands in a statement that takes no parameters
        raise ValueError(f"{moment.name!r} is no moment's name")
    with database.reading() as cursor:
        if database.is_sqlite:
            cursor.rows(_LOOK, {})
        else:
            cursor.run(f"SET TRANSACTION SNAPSHOT '{moment.name}'", {})
        yield cursor
