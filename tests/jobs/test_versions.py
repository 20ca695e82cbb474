"""Versions in the books are what went live: what was done to one shows, and is not put back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.callers.changes import By, ChangeLog
from gateway.errors import ConfigurationError
from gateway.jobs.loading import parse
from gateway.jobs.versions import FILE, Versions, Why
from gateway.ledger.audit import audit
from gateway.pipeline.reloading import of_rules
from gateway.store.database import Database
from tests.callers.test_changes import with_the_database_in_hand
from tests.gateways import BOOK, SECRETS, routes_for
from tests.treasury.booking import change, opening

BY = By("ann", "", FILE)
TEXTS = [routes_for(f"http://127.0.0.1:{port}") for port in (1, 2, 3)]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Books with three versions, each logged as it went live."""
    with opening(database_url) as found:
        log, versions = (kind("main", found.engine_name) for kind in (ChangeLog, Versions))
        for at, text in enumerate(TEXTS):
            routes = parse(text, "routes.yaml", BOOK, SECRETS)
            with found.writing() as cursor:
                row, _ = versions.keep(cursor, routes, BOOK.version, Why(FILE, "ann", "why"), at)  # type: ignore[attr-defined]
                log.append(cursor, [of_rules(row)], BY, at)  # type: ignore[attr-defined]
        yield found


def findings(database: Database) -> list[tuple[str, str]]:
    return [(one.subject, one.message) for one in audit(database, "main")[0]]


OTHER = 'UPDATE config_versions SET files = \'{"routes.yaml":"a: 1"}\' WHERE number = 2'
OTHER_HASH = "a" * 64


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (OTHER, "its files are not those that went live"),
        (
            f"UPDATE config_versions SET hash = '{OTHER_HASH}' WHERE number = 2",
            "its files are not those that went live",
        ),
        ("UPDATE config_versions SET files = '{' WHERE number = 2", "its files cannot be read"),
        ("DELETE FROM config_versions WHERE number = 2", "missing"),
    ],
)
def test_what_was_done_to_a_version_is_found(statement: str, told: str, database: Database) -> None:
    assert findings(database) == []
    change(database, statement)
    assert [("version 2", told)] == [
        (where, said.split(":")[0]) for where, said in findings(database)
    ]


def test_files_with_a_hash_that_fits_them_are_held_to_the_log(database: Database) -> None:
    """Whoever edits both cannot edit the log as well without breaking its chain."""
    with database.reading() as cursor:
        third = Versions("main", database.engine_name).find(cursor, "3").version
    change(
        database,
        "UPDATE config_versions SET hash = (SELECT c.hash FROM config_versions c WHERE"
        " c.number = 3), files = (SELECT c.files FROM config_versions c WHERE c.number = 3)"
        " WHERE number = 2",
    )
    ((where, said),) = findings(database)
    assert where == "version 2"
    assert said.startswith("the log of changes says that ")
    assert third.short in said


def test_the_end_of_the_history_is_missed_too(database: Database) -> None:
    change(database, "DELETE FROM config_versions WHERE number = 3")
    assert [where for where, _ in findings(database)] == ["version 3"]


def test_an_edited_version_is_not_given_out(database: Database) -> None:
    change(database, OTHER)
    with database.reading() as cursor:
        versions = Versions("main", database.engine_name)
        with pytest.raises(ConfigurationError, match=r"version 2 .* is not what went live"):
            versions.find(cursor, "2")
        assert versions.find(cursor, "1").texts["routes.yaml"] == TEXTS[0]


def test_a_log_that_says_something_else_altogether_is_no_end_of_the_audit(
    database: Database,
) -> None:
    for junk in ("{", "[1]", "{}"):
        with_the_database_in_hand(database, f"UPDATE changes SET after = '{junk}' WHERE number = 2")
        assert [where for where, _ in findings(database)] == ["change 2"]
