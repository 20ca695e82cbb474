"""The database as it is: reachable, of this program's version, in force, and on time.

Nothing is changed, and no lock is held longer than a read of some rows, so a gateway that serves
from it meanwhile does not notice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from gateway.cli.diagnosis import Diagnosis, ok, problem, warning
from gateway.clock import MICROS, to_text
from gateway.errors import ConfigurationError
from gateway.jobs.versions import Versions
from gateway.store.database import Cursor, Database, DatabaseDown, file_of
from gateway.store.schema import versions

OVERDUE_SECONDS = 60
"""Holds are let go within seconds of their time where a gateway runs."""
_LATEST = "SELECT MAX(admitted_at) FROM entries WHERE org = {org}"
_OVERDUE = "SELECT COUNT(*) FROM holds WHERE org = {org} AND lapses_at < {before}"
_SERVER = (
    "SELECT current_setting('server_version'), pg_is_in_recovery(),"
    " current_setting('default_transaction_read_only'), current_setting('fsync'),"
    " current_setting('synchronous_commit')"
)
_CLOCK = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint"


def check_database(url: str, org: str, live: str) -> Iterator[Diagnosis]:
    """All about the books; `live` is the version of the rules on disk, empty if they are wrong."""
    try:
        file = file_of(url)
    except ConfigurationError as error:
        yield problem("database", str(error), "there are no books", "set JOBGATE_DATABASE_URL")
        return
    if file is not None and not file.exists():
        yield warning(
            "database",
            f"{file} is not there",
            "nothing has been served with this database yet, or its address is wrong",
            "start `jobgate serve`, or set JOBGATE_DATABASE_URL",
        )
        return
    database = Database(url)
    try:
        yield from _reachable(database, org, live)
    except DatabaseDown as error:
        yield problem(
            "database",
            f"it cannot be read: {error}",
            "no request can be admitted",
            "see that the server runs, that the address is right, and that this account may use it",
        )
    finally:
        database.close()


def clock_of(url: str) -> int | None:
    """By how much PostgreSQL's clock is ahead of ours, in microseconds; None when it cannot tell.

    SQLite has our clock.
    """
    try:
        if file_of(url) is not None:
            return None
        database = Database(url)
    except ConfigurationError:
        return None
    try:
        with database.reading() as cursor:
            before = time.time_ns() // 1000
            ((there,),) = cursor.rows(_CLOCK, {})
            after = time.time_ns() // 1000
    except DatabaseDown:
        return None
    finally:
        database.close()
    return int(there) - (before + after) // 2


def _reachable(database: Database, org: str, live: str) -> Iterator[Diagnosis]:
    current, head = versions(database)
    if not database.is_sqlite:
        yield from _server(database)
    if not current:
        yield warning(
            "schema",
            "the database has no tables yet",
            "nothing has been served with it",
            "start `jobgate serve`, which makes them",
        )
        return
    if current != head:
        yield _other_version(current, head)
        return
    yield ok("schema", f"version {current}, as this program has it")
    with database.reading() as cursor:
        yield from _in_use(cursor, database, org)
        yield from _rules(cursor, database, org, live)


def _server(database: Database) -> Iterator[Diagnosis]:
    with database.reading() as cursor:
        ((number, standby, read_only, fsync, commit),) = cursor.rows(_SERVER, {})
    if standby or read_only == "on":
        yield problem(
            "database",
            f"PostgreSQL {number} takes no writes: it is a standby, or read-only",
            "no request can be admitted",
            "point JOBGATE_DATABASE_URL at the primary server",
        )
    elif fsync != "on" or commit == "off":
        yield warning(
            "database",
            f"PostgreSQL {number} runs with fsync={fsync}, synchronous_commit={commit}",
            "a crash of the server can lose bookings that callers were answered for",
            "turn both on",
        )
    else:
        yield ok("database", f"PostgreSQL {number}, takes writes, and keeps what is committed")


def _other_version(current: str, head: str) -> Diagnosis:
    if current > head:
        return problem(
            "schema",
            f"the tables have version {current}, newer than this program's {head}",
            "this program will not serve from them",
            "run the newer program, or restore a backup",
        )
    return warning(
        "schema",
        f"the tables have version {current}; this program's is {head}",
        "the next start of `jobgate serve` brings them up to date",
        "make a backup before",
    )


def _in_use(cursor: Cursor, database: Database, org: str) -> Iterator[Diagnosis]:
    """What the newest rows say of the clock, and of whether a gateway looks after them."""
    now = time.time_ns() // 1000
    values = {"org": org, "before": now - OVERDUE_SECONDS * MICROS}
    mark = ":{0}" if database.is_sqlite else "%({0})s"
    names = {name: mark.format(name) for name in values}
    ((latest,),) = cursor.rows(_LATEST.format(**names), values)
    if database.is_sqlite:
        told = "has no entry yet" if latest is None else f"newest entry {to_text(latest)[:19]}Z"
        yield ok("database", f"{database.file} can be read; {told}")
    if latest is not None and latest > now + MICROS:
        yield problem(
            "clock",
            f"the newest entry is of {to_text(latest)[:19]}Z, {(latest - now) / MICROS:,.0f} s"
            " ahead of this machine",
            "this clock is behind, or one was ahead: budgets reset at the wrong moment",
            "set the clock, and keep it set (NTP)",
        )
    ((overdue,),) = cursor.rows(_OVERDUE.format(**names), values)
    if overdue:
        yield warning(
            "holds",
            f"{overdue} holds are past their time",
            "no gateway runs that would book them at their ceilings; they block their budgets",
            "start `jobgate serve`",
        )


def _rules(cursor: Cursor, database: Database, org: str, live: str) -> Iterator[Diagnosis]:
    newest = Versions(org, database.engine_name).history(cursor, 1)
    if not newest or not live:
        return
    if newest[0].hash == live:
        yield ok("rules in force", f"version {newest[0].number}, as the files are")
        return
    yield warning(
        "rules in force",
        f"version {newest[0].number} went live last; the files are something else",
        "gateways take a change over within seconds: none runs, or it follows other files",
        f"`jobgate routes diff {newest[0].number}` shows the difference",
    )
