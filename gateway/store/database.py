"""The database: where it is, how it is opened, and what a transaction is.

SQLite (write-ahead log) serves one gateway process, PostgreSQL any number. Durability is stated,
not implied: SQLite runs with synchronous=NORMAL (nothing is lost when the process is killed, a
power cut can take the last moments) or FULL by setting; PostgreSQL gives its own guarantee.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from gateway.errors import ConfigurationError
from gateway.store.failing import DatabaseBusy as DatabaseBusy
from gateway.store.failing import DatabaseConflict as DatabaseConflict
from gateway.store.failing import DatabaseDown as DatabaseDown
from gateway.store.sessions import Cursor as Cursor
from gateway.store.sessions import PipelinedSession, Session

_PASSWORD = re.compile(r":[^/@\s][^@\s]*@")
_LOG_PAGES = 16_000
"""Pages of SQLite's log at which a commit copies it after all (64 MB): `checkpoints` is first."""
BUSY_SECONDS = 5
"""How long a statement waits for another writer before the database counts as down."""

_TURN_SECONDS = 0.01
"""Between two tries to turn a new file's log on."""


class Database:
    """One database, SQLite or PostgreSQL, opened lazily."""

    def __init__(self, url: str, *, full_sync: bool = False) -> None:
        self.url = _parse(url)
        self.engine_name = self.url.get_backend_name()
        self._full_sync = full_sync
        self.engine = self._engine()

    @property
    def is_sqlite(self) -> bool:
        """Whether it is the one-process kind."""
        return self.engine_name == "sqlite"

    @property
    def file(self) -> Path | None:
        """The SQLite file, or None for PostgreSQL."""
        return Path(self.url.database or "") if self.is_sqlite else None

    def session(self, *, patient: bool = True) -> Session:
        """A connection of one's own, for one thread.

        One that is not patient meets DatabaseBusy where others wait for another writer.
        """
        if not self.is_sqlite:
            return PipelinedSession(self.engine)
        return Session(self.engine, wait=BUSY_SECONDS if patient else 0)

    def checkpoint(self, how: str) -> None:
        """Copy SQLite's log into its file, PASSIVE or TRUNCATE. Raises DatabaseDown."""
        session = Session(self.engine, wait=BUSY_SECONDS)
        try:
            session.run(f"PRAGMA wal_checkpoint({how})")
        finally:
            session.close()

    @contextmanager
    def writing(self) -> Iterator[Cursor]:
        """One transaction on a pooled connection, for the occasional writer."""
        session = Session(self.engine, wait=BUSY_SECONDS)
        try:
            with session.transaction() as cursor:
                yield cursor
        finally:
            session.close()

    @contextmanager
    def reading(self) -> Iterator[Cursor]:
        """One moment of the books, unchanged while it is read, which blocks no writer."""
        session = Session(self.engine, wait=BUSY_SECONDS)
        try:
            with session.transaction(write=False) as cursor:
                yield cursor
        finally:
            session.close()

    def close(self) -> None:
        """Give all pooled connections back."""
        self.engine.dispose()

    def _engine(self) -> Engine:
        if self.is_sqlite:
            if self.file is not None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
            engine = create_engine(
                self.url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}
            )
            event.listen(engine, "connect", self._prepare_sqlite)
            event.listen(engine, "begin", _begin_immediately)
            return engine
        return create_engine(
            self.url,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": BUSY_SECONDS,
                "tcp_user_timeout": BUSY_SECONDS * 2000,  # a network that swallows all, in ms
                "keepalives_idle": BUSY_SECONDS,
                "keepalives_interval": 1,
                "keepalives_count": BUSY_SECONDS,
                "options": f"-c statement_timeout={BUSY_SECONDS * 2000} "
                f"-c lock_timeout={BUSY_SECONDS * 1000} -c timezone=UTC",
            },
        )

    def _prepare_sqlite(self, connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        _turn_on_the_log(connection)
        for pragma in (
            f"synchronous={'FULL' if self._full_sync else 'NORMAL'}",
            "foreign_keys=ON",
            "temp_store=MEMORY",
            "cache_size=-65536",
            "mmap_size=268435456",
            f"wal_autocheckpoint={_LOG_PAGES}",
        ):
            connection.execute(f"PRAGMA {pragma}")


def _turn_on_the_log(connection: sqlite3.Connection) -> None:
    """Turn the write-ahead log on; waits for another process that does the same to a new file.

    SQLite does not wait by itself here: of two that turn a new file over, one is told "locked" at
    once. Raises sqlite3.OperationalError when it stays so for BUSY_SECONDS.
    """
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(_TURN_SECONDS)


def file_of(url: str) -> Path | None:
    """The SQLite file that a database URL names, which may not be there; None for PostgreSQL.

    Nothing is opened or made. Raises ConfigurationError.
    """
    parsed = _parse(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a port that is no number is a ValueError
        raise ConfigurationError(
            [
                f"database URL: {_shown(url)!r} is not one; write sqlite:///FILE or postgresql://HOST/NAME"
            ]
        ) from None
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if backend == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return parsed.set(drivername="sqlite+pysqlite")
    raise ConfigurationError(
        [f"database URL: {backend} is not served; write sqlite:///FILE or postgresql://HOST/NAME"]
    )


def _shown(url: str) -> str:
    """What somebody wrote in place of a URL, without what may be a password."""
    return _PASSWORD.sub(":***@", url)


def _begin_immediately(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
