"""Databases that break under a running gateway and come back, in every way that a test can make.

    locked      somebody else is in the middle of writing, and stays there
    full        SQLite: no file of this process can grow; PostgreSQL: it says "disk full" (53100)
    read-only   SQLite: its connections may only read; PostgreSQL: the server is a standby now
    gone        PostgreSQL is stopped

A full disk under a real PostgreSQL server is not made here. Its server either says what is said
here, or, when its own log is on that disk, stops, and that is `gone`.
"""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
import psycopg
import pytest
from sqlalchemy import event

from gateway.store import database as store
from gateway.store.database import Database
from gateway.treasury import committer as committing
from tests.endings.callers import Caller
from tests.gateways import RunningGateway
from tests.postgres import PostgresServer

Trouble = Callable[[RunningGateway], AbstractContextManager[None]]


@dataclass(frozen=True)
class Breakable:
    """An address of an empty database, and what will happen to it."""

    url: str
    trouble: Trouble

    @asynccontextmanager
    async def broken(self, gateway: RunningGateway) -> AsyncIterator[None]:
        """Broken until the block ends."""
        keeping = self.trouble(gateway)
        await asyncio.to_thread(keeping.__enter__)
        try:
            yield
        finally:
            await asyncio.to_thread(keeping.__exit__, None, None, None)


@pytest.fixture(
    params=[
        *("sqlite locked", "sqlite full", "sqlite read-only"),
        *("postgres gone", "postgres locked", "postgres full", "postgres read-only"),
    ]
)
def breakable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Breakable:
    """Each engine with each trouble; what is waited for takes a second at the most."""
    monkeypatch.setattr(committing, "_BUSY_AT_MOST_SECONDS", 0.2)
    monkeypatch.setattr(store, "BUSY_SECONDS", 1)
    engine, trouble = request.param.split()
    url = request.getfixturevalue(f"{engine}_url")
    if request.param == "postgres gone":
        return Breakable(url, partial(gone, request.getfixturevalue("postgres_server")))
    return Breakable(url, TROUBLES[engine][trouble])


# ---- SQLite


@contextmanager
def locked(database: Database) -> Iterator[None]:
    """Somebody else is in the middle of writing to the SQLite file."""
    other = sqlite3.connect(database.file or "", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@contextmanager
def full(_gateway: RunningGateway) -> Iterator[None]:
    """No file of this process can be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def read_only(gateway: RunningGateway) -> Iterator[None]:
    """Each connection may only read, as on a disk that was mounted anew because of its errors."""
    engine = gateway.gateway.database.engine
    known: list[Any] = []

    def meets(connection: Any, *_more: object) -> None:
        connection.execute("PRAGMA query_only=ON")
        known.append(connection)

    engine.dispose()  # those in the pool; the committer has one of its own
    event.listen(engine, "connect", meets)
    meets(gateway.gateway._committer._session._connection.driver_connection)
    try:
        yield
    finally:
        event.remove(engine, "connect", meets)
        for connection in known:
            with suppress(sqlite3.ProgrammingError):  # it is closed
                connection.execute("PRAGMA query_only=OFF")


# ---- PostgreSQL


@contextmanager
def gone(server: PostgresServer, _gateway: RunningGateway) -> Iterator[None]:
    """The server is stopped."""
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def tables_locked(gateway: RunningGateway) -> Iterator[None]:
    """Somebody else has locked the tables of the books."""
    with connected(gateway) as other:
        other.execute("LOCK TABLE balances, holds, entries, idempotency")
        yield
        other.rollback()


@contextmanager
def says_full(gateway: RunningGateway) -> Iterator[None]:
    """The server says what it says when a table cannot grow."""
    tables = ("balances", "holds", "entries", "counters", "idempotency")
    with connected(gateway) as other:
        other.execute(
            "CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE 'could not extend file' USING ERRCODE = '53100'; END $$"
        )
        for table in tables:
            other.execute(
                f"CREATE TRIGGER no_space BEFORE INSERT OR UPDATE ON {table}"
                " FOR EACH STATEMENT EXECUTE FUNCTION no_space()"
            )
        other.commit()
        yield
        other.execute("DROP FUNCTION no_space CASCADE")
        other.commit()


@contextmanager
def a_standby(gateway: RunningGateway) -> Iterator[None]:
    """Connections are cut, and new ones may only read; those stay so when it is over."""
    with connected(gateway) as other:
        (name,) = other.execute("SELECT current_database()").fetchone() or ("",)
        other.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        other.commit()
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        other.commit()
        yield
        other.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        other.commit()


def connected(gateway: RunningGateway) -> psycopg.Connection[Any]:
    """A connection of somebody else's."""
    url = gateway.gateway.database.url.set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False))


TROUBLES: dict[str, dict[str, Trouble]] = {
    "sqlite": {
        "locked": lambda gateway: locked(gateway.gateway.database),
        "full": full,
        "read-only": read_only,
    },
    "postgres": {"locked": tables_locked, "full": says_full, "read-only": a_standby},
}


# ---- what is said meanwhile


async def until(url: str, status: int, patience: float = 10.0) -> dict[str, Any]:
    """Ask /readyz until it answers with this status."""
    async with aiohttp.ClientSession() as session:
        end = time.monotonic() + patience
        while time.monotonic() < end:
            async with session.get(f"{url}/readyz") as answer:
                if answer.status == status:
                    return dict(await answer.json())
    raise TimeoutError(f"/readyz did not come to {status}")


async def alive(gateway: RunningGateway) -> None:
    """The event loop answers others meanwhile."""
    async with (
        aiohttp.ClientSession() as session,
        asyncio.timeout(2),
        session.get(f"{gateway.url}/healthz") as answer,
    ):
        assert answer.status == 200


async def is_refused_at_once(caller: Caller, gateway: RunningGateway) -> str:
    """A request is told to come back, and is in no book; returns its id."""
    began = time.monotonic()
    heard = await caller.ask("extraction")
    assert time.monotonic() - began < 1
    assert (heard.status, heard.error["code"]) == (503, "unavailable")
    assert heard.headers["x-should-retry"] == "true"
    assert heard.headers["retry-after"] == "2"
    return heard.request_id
