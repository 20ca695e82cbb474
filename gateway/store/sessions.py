"""A connection and what a transaction is on it.

Foreign exceptions end here: a caller of this room meets DatabaseDown (try again later) or
DatabaseConflict (it cannot be written at all), and nothing else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoneFree

from gateway.store.failing import DatabaseBusy, DatabaseConflict, DatabaseDown
from gateway.store.statements import RowStatement

_NEVER = (sqlite3.IntegrityError, sqlite3.DataError, psycopg.IntegrityError, psycopg.DataError)
"""What no second try changes: a constraint, a number too large, a character that cannot be kept."""
_AWAY = (sqlite3.Error, psycopg.Error, DBAPIError, NoneFree)
"""What comes of a database that fails: the drivers' errors, and a pool with no connection left."""
_ONE_MOMENT = "ISOLATION LEVEL REPEATABLE READ READ ONLY"
"""How a reader on PostgreSQL sees the books stand still."""


class Cursor:
    """What can be done inside a transaction: run prepared texts with named parameters."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def run(self, text: str, values: Mapping[str, Any]) -> None:
        """Run once."""
        self._next().execute(text, values)

    def changed(self, text: str, values: Mapping[str, Any]) -> int:
        """Run once; returns how many rows it touched."""
        raw = self._next()
        raw.execute(text, values)
        return int(raw.rowcount)

    def run_many(self, statement: RowStatement, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run once for each row."""
        self._next().executemany(statement.text, map(statement.values, rows))

    def run_in_order(self, statement: RowStatement, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run once for each row, whose values stand in the order of `statement.names`."""
        self._next().executemany(statement.text, rows)

    def rows(self, text: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        raw = self._next()
        raw.execute(text, values)
        return list(raw.fetchall())

    def ask(self, text: str, values: Mapping[str, Any]) -> Callable[[], Sequence[tuple[Any, ...]]]:
        """A query whose rows are read by calling what is returned, perhaps after others."""
        rows = self.rows(text, values)
        return lambda: rows

    def stream(
        self, text: str, values: Mapping[str, Any], size: int = 5000
    ) -> Iterator[tuple[Any, ...]]:
        """The rows of a query without holding them all."""
        raw = self._next()
        raw.execute(text, values)
        while rows := raw.fetchmany(size):
            yield from rows

    def _next(self) -> Any:
        """The driver's cursor for the next statement."""
        return self._raw


class Session:
    """One connection that comes back by itself after the database was away.

    `wait` is how many seconds another writer of an SQLite file is waited for.
    """

    def __init__(self, engine: Engine, *, wait: float) -> None:
        self._engine, self._wait = engine, wait
        self._sqlite = engine.dialect.name == "sqlite"
        self._connection: Any = None

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[Cursor]:
        """All or nothing. Raises DatabaseDown or DatabaseConflict, then nothing was written."""
        try:
            cursor = self._begin(write)
            yield cursor
            self._commit(cursor)
        except _AWAY as error:
            told = _mapped(error)
            self._abandon(anew=not self._sqlite and type(told) is DatabaseDown)
            raise told from error
        except (OverflowError, UnicodeError) as error:  # a driver's, for a value it cannot send
            self._abandon()
            raise DatabaseConflict(f"{type(error).__name__}: a value cannot be kept") from error
        except BaseException:
            self._abandon()
            raise

    def run(self, text: str) -> None:
        """Run something outside of any transaction. Raises DatabaseDown."""
        try:
            self._connect()
            self._connection.cursor().execute(text)
        except _AWAY as error:
            self._abandon()
            raise _mapped(error) from error

    def close(self) -> None:
        """Give the connection back to the pool."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> None:
        if self._connection is None:
            self._connection = self._engine.raw_connection()
            if self._sqlite:
                wait = f"PRAGMA busy_timeout={self._wait * 1000:.0f}"
                self._connection.cursor().execute(wait)

    def _begin(self, write: bool) -> Cursor:
        self._connect()
        raw = self._connection.cursor()
        if self._sqlite:
            raw.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        elif not write:
            raw.execute(f"SET TRANSACTION {_ONE_MOMENT}")
        return Cursor(raw)

    def _commit(self, cursor: Cursor) -> None:
        if self._sqlite:
            cursor.run("COMMIT", {})
        else:
            self._connection.commit()

    def _abandon(self, *, anew: bool = False) -> None:
        """Roll back, and drop a connection that cannot even do that.

        `anew` drops it in any case: the server behind it may have become a standby, which takes
        no writes, while another one has its place.
        """
        if self._connection is None:
            return
        try:
            self._connection.rollback()
        except _AWAY:
            anew = True
        if anew:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        connection.invalidate()
        connection.close()


class PipelinedSession(Session):
    """The same on PostgreSQL, for one who writes all the time: statements travel together.

    What brings no rows is sent and not waited for. So a transaction is a journey for each thing
    that is read, and one for the rest with the commit. What went wrong is told by the next thing
    that is read, or by the commit. (libpq: "Pipeline Mode")
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, wait=0)
        self._pipelining = ExitStack()
        self._pipeline: Any = None

    def run(self, text: str) -> None:
        """Run something outside of any transaction. Raises DatabaseDown."""
        super().run(text)
        try:
            self._pipeline.sync()
        except psycopg.Error as error:
            self._abandon()
            raise _mapped(error) from error

    def close(self) -> None:
        """Give the connection back to the pool, as others know it."""
        if self._connection is None:
            return
        try:
            self._pipelining.close()
            self._connection.driver_connection.autocommit = False
        except psycopg.Error:
            self._drop()
        super().close()

    def _connect(self) -> None:
        if self._connection is None:
            self._connection = self._engine.raw_connection()
            driver = self._connection.driver_connection
            driver.autocommit = True  # or the driver begins, and waits for that, by itself
            self._pipeline = self._pipelining.enter_context(driver.pipeline())

    def _begin(self, write: bool) -> Cursor:
        self._connect()
        begin = "BEGIN" if write else f"BEGIN {_ONE_MOMENT}"
        self._connection.cursor().execute(begin, prepare=False)
        return _PipelinedCursor(self._connection.cursor, self._pipeline.sync)

    def _commit(self, _cursor: Cursor) -> None:
        raw = self._connection.cursor()
        raw.execute("COMMIT", prepare=False)
        self._pipeline.sync()
        if raw.statusmessage != "COMMIT":  # a server ends a transaction that failed by ROLLBACK
            raise DatabaseDown(f"the commit was answered by {raw.statusmessage}")

    def _drop(self) -> None:
        with suppress(psycopg.Error):  # the connection may be broken
            self._pipelining.close()
        super()._drop()


class _PipelinedCursor(Cursor):
    """A driver's cursor for each statement: answers come when the next ones are asked already."""

    def __init__(self, opened: Callable[[], Any], sync: Callable[[], None]) -> None:
        super().__init__(None)
        self._opened, self._sync = opened, sync

    def changed(self, text: str, values: Mapping[str, Any]) -> int:
        """Run once; returns how many rows it touched."""
        raw = self._next()
        raw.execute(text, values)
        self._sync()
        return int(raw.rowcount)

    def ask(self, text: str, values: Mapping[str, Any]) -> Callable[[], Sequence[tuple[Any, ...]]]:
        """A query whose rows are read by calling what is returned, perhaps after others."""
        raw = self._next()
        raw.execute(text, values)
        fetch: Callable[[], Sequence[tuple[Any, ...]]] = raw.fetchall
        return fetch

    def _next(self) -> Any:
        return self._opened()


def _mapped(error: Exception) -> Exception:
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, _NEVER):
        return DatabaseConflict(str(original).strip())
    if isinstance(original, psycopg.errors.DeadlockDetected | psycopg.errors.SerializationFailure):
        return DatabaseBusy(str(original).strip())
    code = getattr(original, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return DatabaseBusy(str(original))
    return DatabaseDown(str(original).strip() or type(original).__name__)
