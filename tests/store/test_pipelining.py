"""PostgreSQL's statements travel together: few journeys, and nothing that went wrong is lost."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

import psycopg
import pytest
from sqlalchemy import insert
from sqlalchemy.exc import TimeoutError as NoneFree

from gateway.metering.usage import Usage
from gateway.store.database import Cursor, Database, DatabaseConflict, DatabaseDown
from gateway.store.sessions import PipelinedSession
from gateway.store.statements import RowStatement
from gateway.store.tables import Counter
from gateway.treasury.budgets import Amounts
from gateway.treasury.groups import Closing
from gateway.treasury.holds import Hold
from tests.postgres import PostgresServer
from tests.treasury.booking import Books, a_budget, charged, cost, opening, rows

COUNT = "INSERT INTO counters (org, name, value) VALUES ('o', %(name)s, 1)"
NAMES = "SELECT name FROM counters ORDER BY name"


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    with opening(postgres_url) as found:
        yield found


@pytest.fixture
def session(database: Database) -> Iterator[PipelinedSession]:
    found = database.session()
    assert isinstance(found, PipelinedSession)
    yield found
    found.close()


def write(session: PipelinedSession, *names: str, then_read: bool = False) -> None:
    """Write these names, all or none; what happens when is in the order of the statements."""
    with session.transaction() as cursor:
        for name in names:
            cursor.run(COUNT, {"name": name})
        if then_read:
            cursor.rows(NAMES, {})
            raise AssertionError("it was read, after what went wrong")


def test_what_was_wrong_with_a_statement_is_told_by_the_commit_and_nothing_is_written(
    database: Database, session: PipelinedSession
) -> None:
    for _ in range(8):  # the driver prepares a statement that comes often
        with pytest.raises(DatabaseConflict, match="duplicate key"):
            write(session, "a", "b", "a", "c")
    assert rows(database, NAMES) == []
    write(session, "a")
    assert rows(database, NAMES) == [("a",)]


def test_what_was_wrong_with_a_statement_is_told_by_the_next_that_is_read(
    database: Database, session: PipelinedSession
) -> None:
    with pytest.raises(DatabaseConflict, match="duplicate key"):
        write(session, "a", "a", then_read=True)
    assert rows(database, NAMES) == []


def test_a_commit_that_the_server_answers_with_a_rollback_is_no_commit(
    database: Database, session: PipelinedSession
) -> None:
    with pytest.raises(DatabaseDown, match="ROLLBACK"), session.transaction() as cursor:
        swallow_a_duplicate(cursor)
    assert rows(database, NAMES) == []
    write(session, "a")
    assert rows(database, NAMES) == [("a",)]


def swallow_a_duplicate(cursor: Cursor) -> None:
    """What no code may do: go on as if nothing had happened."""
    with suppress(psycopg.IntegrityError):
        for _ in range(2):
            cursor.changed(COUNT, {"name": "a"})


def test_one_row_in_many_that_cannot_be_kept_takes_all_of_them_back(
    database: Database, session: PipelinedSession
) -> None:
    many = [{"org": "o", "name": f"n{number % 99}", "value": number} for number in range(100)]
    with pytest.raises(DatabaseConflict), session.transaction() as cursor:
        cursor.run_many(RowStatement(insert(Counter), "postgresql"), many)
    assert rows(database, NAMES) == []


def test_a_transaction_sees_what_it_has_written_and_how_much(session: PipelinedSession) -> None:
    with session.transaction() as cursor:
        cursor.run(COUNT, {"name": "a"})
        first = cursor.ask(NAMES, {})
        cursor.run(COUNT, {"name": "b"})
        second = cursor.ask(NAMES, {})
        assert cursor.changed("UPDATE counters SET value = 2", {}) == 2
        assert cursor.changed("UPDATE counters SET value = 3 WHERE name = 'c'", {}) == 0
        assert (first(), second()) == ([("a",)], [("a",), ("b",)])
        assert list(cursor.stream(NAMES, {}, size=1)) == [("a",), ("b",)]


def test_a_connection_that_was_given_back_is_an_ordinary_one(
    database: Database, session: PipelinedSession
) -> None:
    with session.transaction() as cursor:
        cursor.run(COUNT, {"name": "a"})
    session.close()
    with suppress(KeyError), database.writing() as cursor:
        cursor.run(COUNT, {"name": "b"})
        raise KeyError
    assert rows(database, NAMES) == [("a",)]


def test_a_pool_that_stays_empty_is_a_database_that_is_down(
    database: Database, session: PipelinedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The committer's thread ends with an error that it does not know, and no one is answered."""
    monkeypatch.setattr(database.engine.pool, "_timeout", 0.05)
    with ExitStack() as held:
        with suppress(NoneFree):
            while True:
                held.enter_context(closing(database.engine.raw_connection()))
        with pytest.raises(DatabaseDown, match="limit"):
            write(session, "a")
    write(session, "a")
    assert rows(database, NAMES) == [("a",)]


class Relay:
    """A way to the server that counts journeys: how often a question follows an answer."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.journeys = 0
        self._answered = True
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End all connections."""
        for each in (self._listening, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listening.accept()[0]
                server = socket.create_connection(("127.0.0.1", self._target))
                self._open += (client, server)
                for ways in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._carry, args=ways, daemon=True).start()

    def _carry(self, source: socket.socket, to: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not is_answer:
                    self.journeys += self._answered
                self._answered = is_answer
                to.sendall(data)


@contextmanager
def relayed(server: PostgresServer, url: str) -> Iterator[tuple[Relay, Database]]:
    relay = Relay(server.port)
    with opening(url.replace(f":{server.port}/", f":{relay.port}/")) as database:
        yield relay, database
    relay.close()


def test_a_request_costs_four_journeys_to_the_database(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    with relayed(postgres_server, postgres_url) as (relay, database):
        books = Books(database, [a_budget("cap", 10_000), a_budget("too", 10_000)])
        usage = Usage(input=3, output=2)
        books.book(usage)  # finds the numbers of the balances
        session = database.session()
        at, now = relay.journeys, books.clock.now()
        with session.transaction() as cursor:
            cursor.rows("SELECT 1", {})
        assert relay.journeys - at > 0, "the connection is there now, and asked once"
        at = relay.journeys
        request = books.request(Amounts(2 * cost(usage), 2 * usage.total, 1))
        with session.transaction() as cursor:
            hold = books.group.run(cursor, [request], [], now, 0.0).answers[0][1]
        assert isinstance(hold, Hold)
        assert relay.journeys - at == 2
        at = relay.journeys
        with session.transaction() as cursor:
            books.group.run(cursor, [], [Closing(hold, charged(usage))], now, 0.0)
        assert relay.journeys - at == 2
        session.close()
        assert books.rows("SELECT COUNT(*) FROM entries") == [(2,)]
