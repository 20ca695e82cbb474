"""The tables are brought up to date at start: from nothing, by one process at a time."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import String, TypeDecorator, inspect

from gateway.errors import ConfigurationError
from gateway.store.database import Database, DatabaseDown
from gateway.store.schema import migrate
from gateway.store.tables import METADATA
from tests.treasury.booking import change, rows

VIEWS = {
    "spend_by_hour",
    "budget_status",
    "open_holds",
    "budget_by_hour",
    "raise_status",
    "tokens_by_hour",
}


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    found = Database(database_url)
    yield found
    found.close()


def types_differ(
    context: MigrationContext, _there: object, _wanted: object, there: Any, wanted: Any
) -> bool | None:
    """Text of any name is text; anything else is compared as usual."""
    if isinstance(wanted, TypeDecorator):
        wanted = wanted.dialect_impl(context.dialect).impl
    if isinstance(there, String) and isinstance(wanted, String):
        return there.length != wanted.length
    return None


def test_migrations_from_nothing_make_the_tables_of_the_page(database: Database) -> None:
    migrate(database)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": types_differ})
        assert compare_metadata(context, METADATA) == []
        assert set(inspect(connection).get_view_names()) >= VIEWS


def test_a_new_file_of_the_books_and_its_log_are_for_nobody_else(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    migrate(database)
    assert database.file is not None
    with database.writing() as cursor:
        cursor.run("INSERT INTO counters VALUES ('org', 'proofs', 1)", {})
        files = sorted(database.file.parent.iterdir())
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in files}
    database.close()
    assert modes == {"books.db": 0o600, "books.db-shm": 0o600, "books.db-wal": 0o600}


def test_a_file_that_is_there_keeps_the_mode_that_somebody_gave_it(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    assert database.file is not None
    database.file.touch(mode=0o640)
    database.file.chmod(0o640)
    migrate(database)
    database.close()
    assert stat.S_IMODE(database.file.stat().st_mode) == 0o640


def test_a_second_start_changes_nothing(database: Database) -> None:
    migrate(database)
    version = rows(database, "SELECT version_num FROM alembic_version")
    migrate(database)
    assert rows(database, "SELECT version_num FROM alembic_version") == version
    assert len(version) == 1


def test_every_amount_has_64_bits_and_every_table_its_organisation_first(
    database: Database,
) -> None:
    """Money that does not fit 31 bits is two dollars; the organisation is what books shard by."""
    migrate(database)
    for table in METADATA.sorted_tables:
        assert next(iter(table.primary_key.columns)).name == "org"
    (largest,) = rows(database, "SELECT 9223372036854775807")[0]
    change(database, "INSERT INTO counters (org, name, value) VALUES ('o', 'n', :n)", n=largest)
    assert rows(database, "SELECT value FROM counters") == [(largest,)]


def test_ids_of_holds_are_compared_by_their_bytes_whatever_the_locale(
    postgres_url: str,
) -> None:
    """The entries of a request are a range of ids, which other collations would tear apart."""
    database = Database(postgres_url)
    migrate(database)
    found = rows(
        database,
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE collation_name = 'C' AND table_schema = 'public'",
    )
    database.close()
    assert {("entries", "id"), ("entries", "corrects"), ("holds", "id")} <= set(found)


def test_tables_of_a_newer_program_are_refused_and_left_alone(database: Database) -> None:
    migrate(database)
    change(database, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match=r"version 9999.*run the newer program"):
        migrate(database)
    assert rows(database, "SELECT version_num FROM alembic_version") == [("9999",)]


def test_a_database_that_is_not_there_is_down() -> None:
    database = Database("postgresql://nobody@127.0.0.1:9/nothing")
    with pytest.raises(DatabaseDown):
        migrate(database)
    database.close()


MIGRATES = """
import sys
from gateway.store.database import Database
from gateway.store.schema import migrate
database = Database(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
migrate(database)
"""


def test_processes_that_start_together_take_turns(database_url: str, database: Database) -> None:
    command = [sys.executable, "-W", "ignore", "-c", MIGRATES, database_url]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    starting = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for process in starting:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in starting:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in starting:
        process.communicate(timeout=30)
    assert [process.returncode for process in starting] == [0, 0]
    assert len(rows(database, "SELECT version_num FROM alembic_version")) == 1
