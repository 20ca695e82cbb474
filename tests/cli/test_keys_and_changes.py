"""`jobgate keys` and `jobgate changes`: rights handed out, and who did it."""

from __future__ import annotations

import csv
import getpass
import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.callers.callers import KeyRing
from gateway.callers.roles import Role
from gateway.cli.commands import app
from gateway.clock import SystemClock
from gateway.errors import NotAuthenticated
from tests.callers.test_changes import with_the_database_in_hand
from tests.gateways import routes_for
from tests.treasury.booking import opening


class Command:
    """The command line on one database."""

    def __init__(self, folder: Path, url: str) -> None:
        self.url = url
        routes = folder / "routes.yaml"
        routes.write_text(routes_for("http://127.0.0.1:9"))
        self._environment = {
            "COLUMNS": "250",
            "JOBGATE_ROUTES": str(routes),
            "JOBGATE_DATABASE_URL": url,
        }

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env=self._environment)

    def made(self, *arguments: str) -> dict[str, str]:
        """A new key."""
        told = self("keys", "create", *arguments, "--json")
        assert told.exit_code == 0, told.output
        return dict(json.loads(told.stdout))

    def keys(self) -> list[dict[str, Any]]:
        """All keys."""
        return list(json.loads(self("keys", "list", "--json").stdout))

    def changes(self, *arguments: str) -> list[dict[str, Any]]:
        """The log."""
        told = self("changes", "--format", "json", *arguments)
        assert told.exit_code == 0, told.output
        return list(json.loads(told.stdout))


@pytest.fixture
def jobgate(tmp_path: Path, sqlite_url: str) -> Command:
    return Command(tmp_path, sqlite_url)


BRAND = ("--team", "brand", "--app", "site")


@pytest.mark.parametrize("role", ["admin", "platform", "finance", "viewer", "finance@brand"])
def test_a_key_is_made_for_every_role_and_for_one_team(role: str, jobgate: Command) -> None:
    made = jobgate.made(*BRAND, "--role", role)

    with opening(jobgate.url) as database:
        keys = KeyRing(database, "main", SystemClock())
        keys.refresh()
        caller = keys.authenticate(f"Bearer {made['key']}")
    assert (caller.principal.name, caller.principal.role) == (made["id"], Role.parse(role))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--role", "root"), "role 'root'"),
        (("--role", "finance@legal"), "in its own team, which is 'brand'"),
        (("--addresses", "everywhere"), "address 'everywhere'"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused_in_a_sentence(
    arguments: tuple[str, ...], says: str, jobgate: Command
) -> None:
    told = jobgate("keys", "create", *BRAND, *arguments)

    assert (told.exit_code, says in told.output) == (2, True), told.output
    assert jobgate.keys() == []


def test_a_key_is_changed_rotated_and_revoked(jobgate: Command) -> None:
    made = jobgate.made(*BRAND, "--addresses", "10.0.0.0/8, 10.1.2.3")
    assert jobgate.keys()[0]["addresses"] == ["10.0.0.0/8", "10.1.2.3/32"]

    changed = jobgate("keys", "change", made["id"], "--addresses", "", "--jobs", "private,volume")
    told = jobgate("keys", "rotate", made["id"], "--overlap", "0", "--json")
    rotated = json.loads(told.stdout)
    (key,) = jobgate.keys()

    assert (changed.exit_code, told.exit_code) == (0, 0)
    assert (key["id"], key["addresses"], key["jobs"]) == (made["id"], [], ["private", "volume"])
    assert (rotated["id"], rotated["key"] != made["key"]) == (made["id"], True)
    with opening(jobgate.url) as database:
        keys = KeyRing(database, "main", SystemClock())
        keys.refresh()
        assert keys.authenticate(f"Bearer {rotated['key']}").key_id == made["id"]
        with pytest.raises(NotAuthenticated, match="expired"):
            keys.authenticate(f"Bearer {made['key']}")
    assert jobgate("keys", "revoke", made["id"]).exit_code == 0
    again = jobgate("keys", "change", made["id"], "--jobs", "")
    assert (again.exit_code, "is over" in again.output) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("change", "key_unknown", "--jobs", "private"),
        ("change", "{id}"),
        ("change", "{id}", "--jobs", "privat"),
        ("change", "{id}", "--role", "root"),
        ("change", "{id}", "--expires", "2020-01-01"),
        ("rotate", "key_unknown"),
        ("rotate", "{id}", "--overlap", "soon"),
        ("rotate", "{id}", "--overlap", "91d"),
        ("rotate", "{id}", "--overlap", "9" * 20 + "d"),
        ("revoke", "key_unknown"),
    ],
)
def test_what_cannot_be_done_is_said_and_not_done(
    arguments: tuple[str, ...], jobgate: Command
) -> None:
    made = jobgate.made(*BRAND)
    before = jobgate.changes()

    told = jobgate("keys", *(each.format(id=made["id"]) for each in arguments))

    assert told.exit_code == 2
    assert told.output.strip()
    assert jobgate.changes() == before


def test_the_log_says_who_typed_it_and_reads_in_three_formats(jobgate: Command) -> None:
    made = jobgate.made(*BRAND, "--author", "=ann")
    jobgate("keys", "revoke", made["id"])

    rows = jobgate.changes()
    table = jobgate("changes").stdout
    lines = list(csv.DictReader(io.StringIO(jobgate("changes", "--format", "csv").stdout)))

    assert [row["what"] for row in rows] == [
        *("team.create", "app.create", "key.create", "key.revoke"),
    ]
    assert [row["who"] for row in rows] == ["=ann"] * 3 + [getpass.getuser()]
    assert all(row["origin"].startswith(f"command line of {getpass.getuser()}@") for row in rows)
    assert [line["who"] for line in lines][:1] == ["'=ann"]
    assert [line["hash"] for line in lines] == [row["hash"] for row in rows]
    assert "key.revoke" in table
    assert made["id"] in table
    assert made["key"] not in table + str(rows) + str(lines)
    assert [row["what"] for row in jobgate.changes("--subject", made["id"])] == [
        "key.create",
        "key.revoke",
    ]
    assert jobgate.changes("--to", "2020-01-01") == []


def test_the_audit_names_the_row_that_was_tampered_with(jobgate: Command) -> None:
    jobgate.made(*BRAND)
    assert jobgate("audit").exit_code == 0
    with opening(jobgate.url) as database:
        with_the_database_in_hand(database, "UPDATE changes SET who = 'eve' WHERE number = 2")

    told = jobgate("audit")

    assert told.exit_code == 1
    assert "change 2: it was edited after it was written" in told.output


def test_the_own_budget_of_a_key_stands_in_the_list_and_is_raised_by_the_keys_id(
    jobgate: Command,
) -> None:
    key_id = jobgate.made(*BRAND, "--budget", "5/month")["id"]
    words = ("--by", "1", "--until", "2999-11-30", "--reason", "a launch", "--author", "fin")

    before = json.loads(jobgate("budgets", "list", "--json").stdout)
    raised = jobgate("budgets", "raise", key_id, *words)
    after = json.loads(jobgate("budgets", "list", "--json").stdout)

    assert raised.exit_code == 0, raised.output
    for told, limit in ((before, 5 * 10**9), (after, 6 * 10**9)):
        (own,) = [budget for budget in told if budget["budget"] == f"key {key_id}"]
        assert (own["limit"], own["spent"], own["left"]) == (limit, 0, limit)


def test_raises_and_closings_are_in_the_log(jobgate: Command, tmp_path: Path) -> None:
    text = routes_for(
        "http://127.0.0.1:9", budgets="\n  all: {scope: organisation, limit: 1 USD, period: month}"
    )
    (tmp_path / "routes.yaml").write_text(text)
    words = ("--by", "1", "--until", "2999-11-30", "--reason", "a launch", "--author", "fin")

    assert jobgate("budgets", "raise", "all", *words).exit_code == 0
    assert jobgate("close", "2020-01", "--author", "ann").exit_code == 0

    told = [(row["what"], row["who"], row["subject"]) for row in jobgate.changes()]
    assert told[0][:2] == ("raise.grant", "fin")
    assert told[1] == ("month.close", "ann", "2020-01")
