"""The log of changes: whole and in order, in any number of processes; what is done to it shows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.callers.changes import By, Change, ChangeLog, Recorded
from gateway.callers.registry import NewKey, Registry
from gateway.clock import FrozenClock
from gateway.errors import ConfigurationError
from gateway.ledger.audit import audit
from gateway.store.database import Database, DatabaseConflict
from gateway.store.schema import migrate
from tests.gateways import TESTER
from tests.ledger.spending import Spending
from tests.treasury.booking import change, opened, rows

ANN = By("ann", "admin", "10.0.0.7")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    found = opened(database_url)
    yield found
    found.close()


def log_of(database: Database) -> ChangeLog:
    return ChangeLog("main", database.engine_name)


def append(database: Database, *subjects: str, by: By = ANN) -> None:
    changes = [Change(what="thing.change", subject=s, after={"name": s}) for s in subjects]
    with database.writing() as cursor:
        log_of(database).append(cursor, changes, by, 1_000_000)


def recorded(database: Database) -> list[Recorded]:
    with database.reading() as cursor:
        return list(log_of(database).read(cursor))


def found(database: Database) -> list[tuple[str, str]]:
    """What the audit says of the log."""
    findings, _ = audit(database, "main")
    return [(finding.subject, finding.message) for finding in findings]


def with_the_database_in_hand(database: Database, *statements: str) -> None:
    """Do to the log what the database refuses, as its owner can."""
    if database.is_sqlite:
        for event in ("update", "delete"):
            change_schema(database, f"DROP TRIGGER IF EXISTS changes_no_{event}")
    else:
        change_schema(database, "DROP TRIGGER IF EXISTS changes_no_change ON changes")
    for statement in statements:
        change(database, statement)


def change_schema(database: Database, statement: str) -> None:
    with database.writing() as cursor:
        cursor.run(statement, {})


def test_who_what_before_after_where_and_when_are_written_in_order(database: Database) -> None:
    append(database, "a", "b")
    append(database, "c", by=By("bob", "", "command line of bob@host"))

    log = recorded(database)

    assert [row.number for row in log] == [1, 2, 3]
    assert [(row.who, row.role, row.origin, row.subject) for row in log] == [
        ("ann", "admin", "10.0.0.7", "a"),
        ("ann", "admin", "10.0.0.7", "b"),
        ("bob", "", "command line of bob@host", "c"),
    ]
    assert [(row.before, json.loads(row.after), row.at) for row in log] == [
        ("", {"name": name}, 1_000_000) for name in "abc"
    ]
    assert [row.previous for row in log] == ["", log[0].hash, log[1].hash]
    assert found(database) == []


@pytest.mark.parametrize(
    "statement", ["UPDATE changes SET who = 'eve'", "DELETE FROM changes WHERE number = 2"]
)
def test_the_database_refuses_to_edit_or_delete_a_row(statement: str, database: Database) -> None:
    append(database, "a", "b", "c")
    before = recorded(database)

    with pytest.raises(DatabaseConflict, match="only grows"):
        change(database, statement)

    assert recorded(database) == before


@pytest.mark.parametrize("column", [n for n in Recorded.__struct_fields__ if n != "number"])
def test_an_edited_row_is_found_whatever_was_edited(column: str, database: Database) -> None:
    append(database, "a", "b", "c")
    value = "7" if column == "at" else "'edited'"

    with_the_database_in_hand(database, f"UPDATE changes SET {column} = {value} WHERE number = 2")

    assert {row for row, _ in found(database)} & {"change 2", "change 3"}


@pytest.mark.parametrize(
    ("statements", "told"),
    [
        (["DELETE FROM changes WHERE number = 2"], ("change 2", "deleted")),
        (["DELETE FROM changes WHERE number < 3"], ("changes 1 to 2", "deleted")),
        (["DELETE FROM changes WHERE number > 2"], ("changes 3 to 4", "cut off")),
        (["DELETE FROM changes"], ("changes 1 to 4", "cut off")),
        (
            [
                "UPDATE changes SET number = 9 WHERE number = 2",
                "UPDATE changes SET number = 2 WHERE number = 3",
                "UPDATE changes SET number = 3 WHERE number = 9",
            ],
            ("change 2", "edited"),
        ),
        (
            [
                "DELETE FROM changes WHERE number = 2",
                "UPDATE changes SET number = 2 WHERE number = 3",
                "UPDATE changes SET number = 3 WHERE number = 4",
            ],
            ("change 2", "follow"),
        ),
        (
            ["UPDATE counters SET value = 2 WHERE name = 'changes'"],
            ("change 4", "only 2 changes"),
        ),
    ],
)
def test_deleted_and_reordered_rows_are_found(
    statements: list[str], told: tuple[str, str], database: Database
) -> None:
    append(database, "a", "b", "c", "d")

    with_the_database_in_hand(database, *statements)

    assert any(told[0] == row and told[1] in message for row, message in found(database))


def test_a_log_that_was_cut_does_not_heal_by_what_is_appended(database: Database) -> None:
    append(database, "a", "b", "c")
    with_the_database_in_hand(database, "DELETE FROM changes WHERE number = 3")

    append(database, "d")

    assert found(database) == [("change 3", "it is missing: rows of the log were deleted")]


def test_a_change_that_is_not_made_is_not_logged(database: Database) -> None:
    registry = Registry(database, "main", FrozenClock())
    registry.create(NewKey(team="brand", app="site"), TESTER)
    before = recorded(database)

    with pytest.raises(ConfigurationError):
        registry.create(NewKey(team="other", app="site"), TESTER)

    assert recorded(database) == before
    assert rows(database, "SELECT name FROM teams") == [("brand",)]


def test_there_is_no_secret_and_no_hash_of_one_in_it(database: Database) -> None:
    registry = Registry(database, "main", FrozenClock())
    key_id, first = registry.create(NewKey(team="brand", app="site"), TESTER)
    second, _ = registry.rotate(key_id, 60, TESTER)
    hashes = rows(database, "SELECT hash, old_hash FROM keys")[0]

    written = str(recorded(database))

    for secret in (first, second, first[3:], second[-4:], *hashes):
        assert secret not in written


@settings(max_examples=60)
@given(
    texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=6), min_size=3, max_size=3),
    other=st.text(st.characters(codec="utf-8"), max_size=6),
    place=st.integers(0, 2),
)
def test_no_two_rows_that_differ_have_the_same_hash(
    texts: list[str], other: str, place: int
) -> None:
    """Also where one field ends with what another begins with."""

    def row(said: list[str]) -> str:
        who, what, subject = said
        fields = dict.fromkeys(
            ("role", "origin", "team", "before", "after", "previous", "hash"), ""
        )
        made = Recorded(number=1, at=1, who=who, what=what, subject=subject, **fields)
        return made.expected_hash("main")

    changed = [*texts[:place], other, *texts[place + 1 :]]
    assert (row(texts) == row(changed)) is (texts == changed)
    rotated = [*texts[1:], texts[0]]
    assert (row(texts) == row(rotated)) is (texts == rotated)


def test_corrections_posted_together_are_one_change_that_says_what_they_come_to(
    database: Database,
) -> None:
    books = Spending(database)
    entry = books.stated(1_000)

    made = books.adjust(entry.id, -400)

    (row,) = recorded(database)
    assert (row.what, row.subject, row.who) == ("entry.adjust", entry.id, "ann")
    assert json.loads(row.after) == {
        "corrections": 1,
        "amount_nanos": -400,
        "first": made.id,
        "reason": "a mistake",
    }


APPENDS = """
import sys
from gateway.callers.changes import By
from gateway.callers.registry import NewKey, Registry
from gateway.clock import SystemClock
from gateway.store.database import Database
database = Database(sys.argv[1])
registry = Registry(database, "main", SystemClock())
print("ready", flush=True)
sys.stdin.readline()
for number in range(10):
    by = By(sys.argv[2], "", "a process of its own")
    key_id, _ = registry.create(NewKey(team="brand", app="site"), by)
    registry.revoke(key_id, by)
database.close()
"""


def test_processes_that_append_at_once_make_one_chain(database_url: str) -> None:
    database = Database(database_url)
    migrate(database)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [
        subprocess.Popen([sys.executable, "-c", APPENDS, database_url, name], **pipes)  # type: ignore[call-overload]
        for name in ("one", "two")
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
    log = recorded(database)
    findings = found(database)
    database.close()

    assert [writer.returncode for writer in writers] == [0, 0]
    assert [row.number for row in log] == list(range(1, 43))
    assert {row.who for row in log} == {"one", "two"}
    assert sorted({row.what for row in log}) == [
        "app.create",
        "key.create",
        "key.revoke",
        "team.create",
    ]
    assert findings == []
