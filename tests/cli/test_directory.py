"""`jobgate teams` and `jobgate apps`: who pays and who calls, from the first to the last day."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_keys_and_changes import Command


@pytest.fixture
def jobgate(tmp_path: Path, sqlite_url: str) -> Command:
    return Command(tmp_path, sqlite_url)


def listed(jobgate: Command, *arguments: str) -> list[tuple[str, ...]]:
    """Names, teams and contacts."""
    told = jobgate(*arguments, "--json")
    assert told.exit_code == 0, told.output
    return [
        tuple(row[name] for name in ("name", "team", "contact") if name in row)
        for row in json.loads(told.stdout)
    ]


def test_a_team_and_an_app_from_nothing_to_their_end(jobgate: Command) -> None:
    for words in (
        ("teams", "create", "growth", "--contact", "Ada"),
        ("apps", "create", "mailer", "--team", "growth", "--author", "grace"),
        ("apps", "contact", "mailer", "mail@example.com"),
        ("teams", "contact", "growth", ""),
    ):
        told = jobgate(*words)
        assert told.exit_code == 0, told.output
    assert listed(jobgate, "teams", "list") == [("growth", "")]
    assert listed(jobgate, "apps", "list") == [("mailer", "growth", "mail@example.com")]
    assert listed(jobgate, "apps", "list", "--team", "other") == []
    assert "mail@example.com" in jobgate("apps", "list").output
    assert "growth" in jobgate("teams", "list").output

    assert jobgate("apps", "remove", "mailer").exit_code == 0
    assert jobgate("teams", "remove", "growth").exit_code == 0

    assert listed(jobgate, "teams", "list") == listed(jobgate, "apps", "list") == []
    done = [(row["what"], row["subject"]) for row in jobgate.changes()]
    assert done == [
        ("team.create", "growth"),
        ("app.create", "mailer"),
        ("app.change", "mailer"),
        ("team.change", "growth"),
        ("app.remove", "mailer"),
        ("team.remove", "growth"),
    ]
    assert jobgate.changes()[1]["who"] == "grace"


def test_what_makes_no_sense_is_said_and_changes_nothing(jobgate: Command) -> None:
    jobgate.made("--team", "brand", "--app", "site")
    before = len(jobgate.changes())
    for words, says in (
        (("teams", "create", "brand"), "there is a team 'brand' already"),
        (("teams", "create", "a b"), "use letters, digits"),
        (("teams", "contact", "nobody", "Ada"), "there is no team 'nobody'"),
        (("teams", "contact", "brand", "a\nb"), "one line"),
        (("teams", "remove", "brand"), "has apps; remove them first"),
        (("apps", "create", "site", "--team", "brand"), "there is an app 'site' already"),
        (("apps", "create", "new", "--team", "nobody"), "there is no team 'nobody'"),
        (("apps", "remove", "site"), "keys that are in use; revoke them first"),
        (("apps", "remove", "nothing"), "there is no app 'nothing'"),
    ):
        told = jobgate(*words)
        assert (told.exit_code, says in told.output) == (2, True), (words, told.output)
    assert len(jobgate.changes()) == before
