"""Foreign errors become ours, a transaction is all or nothing, reading blocks nobody."""

from __future__ import annotations

import resource
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from sqlalchemy import text

from gateway.errors import ConfigurationError
from gateway.store.database import Database, DatabaseBusy, DatabaseConflict, DatabaseDown
from gateway.store.sessions import Session
from gateway.store.statements import RowStatement
from gateway.store.tables import Counter
from tests.postgres import PostgresServer
from tests.treasury.booking import change, opened, opening, rows

ONE = "INSERT INTO counters (org, name, value) VALUES ('o', 'a', 1)"
COUNT = "INSERT INTO counters (org, name, value) VALUES ('o', :name, :value)"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with opening(database_url) as found:
        yield found


def insert(database: Database, name: str, value: object = 1) -> None:
    change(database, COUNT, name=name, value=value)


def names(database: Database) -> list[str]:
    return [row[0] for row in rows(database, "SELECT name FROM counters ORDER BY name")]


# ---- all or nothing


def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    with suppress(KeyError), database.writing() as cursor:
        cursor.run(ONE, {})
        raise KeyError
    assert names(database) == []
    insert(database, "b")
    assert names(database) == ["b"]


def test_a_session_goes_on_after_a_transaction_that_failed(database: Database) -> None:
    session = database.session()
    for _ in range(3):
        with pytest.raises(DatabaseDown), session.transaction() as cursor:
            cursor.run("INSERT INTO nothing VALUES (1)", {})
        with session.transaction() as cursor:
            assert cursor.rows("SELECT 1", {}) == [(1,)]
    session.close()


def test_reading_sees_one_moment_and_blocks_no_writer(database: Database) -> None:
    insert(database, "before")
    with database.reading() as cursor:
        question = "SELECT COUNT(*) FROM counters"
        assert cursor.rows(question, {}) == [(1,)]
        insert(database, "meanwhile")
        assert cursor.rows(question, {}) == [(1,)]
    assert names(database) == ["before", "meanwhile"]


def test_rows_can_be_streamed_while_others_write(database: Database) -> None:
    for number in range(25):
        insert(database, f"n{number:02}", number)
    with database.reading() as cursor:
        streamed = cursor.stream("SELECT value FROM counters ORDER BY value", {}, size=4)
        first = next(streamed)
        insert(database, "late", 99)
        assert [first, *streamed] == [(number,) for number in range(25)]


# ---- errors


def test_the_same_key_twice_is_a_conflict(database: Database) -> None:
    insert(database, "a")
    with pytest.raises(DatabaseConflict):
        insert(database, "a")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("too large", 2**63),
        ("far too large", 2**200),
        ("half a character \ud800", 1),
        (None, 1),
    ],
)
def test_what_cannot_be_kept_is_a_conflict_and_not_a_database_that_is_down(
    database: Database, name: str, value: int
) -> None:
    with pytest.raises(DatabaseConflict):
        insert(database, name, value)
    insert(database, "fine")
    assert names(database) == ["fine"]


def test_a_character_that_postgresql_cannot_keep_is_a_conflict(postgres_url: str) -> None:
    with opening(postgres_url) as database, pytest.raises(DatabaseConflict):
        insert(database, "nul \0 in it")


def test_two_who_wait_for_each_other_are_told_to_try_again(postgres_url: str) -> None:
    with opening(postgres_url) as database:
        insert(database, "a")
        insert(database, "b")
        meet = threading.Barrier(2)
        outcomes = []

        def swap(first: str, second: str) -> None:
            update = "UPDATE counters SET value = value + 1 WHERE name = %(name)s"
            try:
                with database.writing() as cursor:
                    cursor.run(update, {"name": first})
                    meet.wait(timeout=10)
                    cursor.run(update, {"name": second})
                outcomes.append("done")
            except DatabaseBusy:
                outcomes.append("busy")

        both = [threading.Thread(target=swap, args=pair) for pair in (("a", "b"), ("b", "a"))]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        assert sorted(outcomes) == ["busy", "done"]


@contextmanager
def another_writer(database: Database) -> Iterator[None]:
    """Somebody else is in the middle of writing."""
    other = sqlite3.connect(database.file or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


def test_sqlite_that_another_writes_to_is_busy_at_once_for_who_cannot_wait(
    sqlite_url: str,
) -> None:
    with opening(sqlite_url) as database:
        hasty = database.session(patient=False)
        with another_writer(database), pytest.raises(DatabaseBusy), hasty.transaction():
            pass
        with hasty.transaction() as cursor:
            cursor.run(ONE, {})
        hasty.close()
        assert names(database) == ["a"]


def test_sqlite_can_be_read_while_another_writes_to_it(sqlite_url: str) -> None:
    with opening(sqlite_url) as database:
        insert(database, "a")
        with another_writer(database):
            assert names(database) == ["a"]


@contextmanager
def full_disk(database: Database) -> Iterator[None]:
    """No file of this process can grow beyond what the log of the database has now."""
    assert database.file is not None
    size = Path(f"{database.file}-wal").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_sqlite_on_a_full_disk_is_down_until_there_is_room(sqlite_url: str) -> None:
    with opening(sqlite_url) as database:
        session = database.session()
        with session.transaction() as cursor:
            cursor.run(ONE, {})
        many = [
            {"org": "o", "name": f"{number:02}" * 1_000, "value": number} for number in range(100)
        ]
        with full_disk(database), pytest.raises(DatabaseDown), session.transaction() as cursor:
            cursor.run_many(RowStatement(sqlalchemy.insert(Counter), "sqlite"), many)
        assert names(database) == ["a"]
        with session.transaction() as cursor:
            cursor.run(COUNT, {"name": "b", "value": 2})
        session.close()
        assert names(database) == ["a", "b"]


def test_a_server_that_was_away_is_found_again(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    with opening(postgres_url) as database:
        session = database.session()
        with session.transaction() as cursor:
            cursor.run(ONE, {})
        postgres_server.stop()
        try:
            for _ in range(2):
                with pytest.raises(DatabaseDown), session.transaction() as cursor:
                    cursor.rows("SELECT 1", {})
        finally:
            postgres_server.start()
        with session.transaction() as cursor:
            assert cursor.rows("SELECT name FROM counters", {}) == [("a",)]
        session.close()


def test_a_connection_that_is_cut_in_the_middle_of_a_transaction_writes_nothing(
    postgres_url: str,
) -> None:
    def write_and_be_cut_off(session: Session) -> None:
        with session.transaction() as cursor:
            cursor.run(ONE, {})
            (own,) = cursor.rows("SELECT pg_backend_pid()", {})[0]
            with psycopg.connect(postgres_url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (own,))

    with opening(postgres_url) as database:
        session = database.session()
        with pytest.raises(DatabaseDown):
            write_and_be_cut_off(session)
        with session.transaction() as cursor:
            assert cursor.rows("SELECT COUNT(*) FROM counters", {}) == [(0,)]
        session.close()


# ---- addresses and settings


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "mysql://u@h/db", "sqlite://", "sqlite:///:memory:"],
)
def test_an_address_that_is_not_served_is_refused_with_one_that_is(url: str) -> None:
    with pytest.raises(ConfigurationError, match="sqlite:///FILE"):
        Database(url)


def test_a_password_in_an_address_is_not_told(tmp_path: Path) -> None:
    database = Database("postgresql://u:secret@127.0.0.1:9/x")
    with pytest.raises(DatabaseDown) as told, database.reading():
        pass
    database.close()
    assert "secret" not in str(told.value)
    assert "secret" not in str(database.url)


@pytest.mark.parametrize(("full_sync", "level"), [(False, 1), (True, 2)])
def test_sqlite_keeps_a_log_and_waits_for_the_disk_only_when_told(
    sqlite_url: str, full_sync: bool, level: int
) -> None:
    opened(sqlite_url).close()
    database = Database(sqlite_url, full_sync=full_sync)
    with database.engine.connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == level
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    database.close()
