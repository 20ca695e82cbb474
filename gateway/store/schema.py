"""The version of the tables: brought up to date at start, by one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from gateway.errors import ConfigurationError
from gateway.store.database import BUSY_SECONDS, Database, DatabaseDown

_ADVISORY_LOCK = 0x6A6F6267  # "jobg": gateways that start together on one PostgreSQL take turns

_TURN_SECONDS = 600
"""How long one of them waits for another, and how long a single step may take."""


def migrate(database: Database) -> None:
    """Bring the tables to this program's version.

    Raises DatabaseDown when the database is out of reach and ConfigurationError when its
    tables are newer than this program.
    """
    config = _config()
    if database.file is not None:
        with suppress(OSError):  # who may not make it is told by the connection
            database.file.touch(mode=0o600)  # the log beside it gets the same mode
    try:
        with database.engine.connect() as connection, _turn(connection, database):
            current = MigrationContext.configure(connection).get_current_revision()
            script = ScriptDirectory.from_config(config)
            if current == script.get_current_head():
                return
            if current is not None and current not in {r.revision for r in script.walk_revisions()}:
                raise ConfigurationError(
                    [
                        f"the database has tables of version {current}, which this program does"
                        " not know: run the newer program, or restore a backup"
                    ]
                )
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except DBAPIError as error:
        raise DatabaseDown(str(error.orig).strip()) from error


@contextmanager
def _turn(connection: Connection, database: Database) -> Iterator[None]:
    """A transaction that waits while another process is at it: a large table takes its time."""
    if database.is_sqlite:
        raw = connection.connection.cursor()
        raw.execute(f"PRAGMA busy_timeout={_TURN_SECONDS * 1000}")
        try:
            with connection.begin():
                yield
        finally:
            raw.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
        return
    with connection.begin():
        for limit in ("lock_timeout", "statement_timeout"):
            connection.execute(text(f"SET LOCAL {limit} = '{_TURN_SECONDS}s'"))
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
        yield


def versions(database: Database) -> tuple[str, str]:
    """The version of the tables that are there, empty for none, and this program's own.

    Nothing is changed. Raises DatabaseDown.
    """
    head = ScriptDirectory.from_config(_config()).get_current_head() or ""
    with database.reading() as cursor:
        ((there,),) = cursor.rows(_IS_THERE[database.engine_name], {})
        rows = cursor.rows("SELECT version_num FROM alembic_version", {}) if there else []
    return (str(rows[0][0]) if rows else ""), head


_IS_THERE = {
    "sqlite": "SELECT COUNT(*) FROM sqlite_schema WHERE name = 'alembic_version'",
    "postgresql": "SELECT COUNT(to_regclass('alembic_version'))",
}


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("gateway.store") / "migrations"))
    return config
