"""`jobgate teams` and `jobgate apps`: who pays, and who calls.

`jobgate keys create` makes the team and the app that it names. These are for the rest: whom to
ask about them, and the end of those that are not needed any more. The books keep their names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.table import Table

from gateway.callers.directory import Directory
from gateway.cli.authorship import typed_by
from gateway.cli.opening import open_books
from gateway.cli.options import (
    DEFAULT_DATABASE,
    DEFAULT_ORG,
    AsJson,
    DatabaseUrl,
    Organisation,
    out,
    told_plainly,
)
from gateway.clock import SystemClock, to_datetime, to_text

teams = typer.Typer(help="Teams: who pays.", no_args_is_help=True)
apps = typer.Typer(help="Apps: who calls.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Letters, digits, '.', '_' and '-', at most 64.")]
Contact = Annotated[str, typer.Option(help="Whom to ask, in your own words.")]
NewContact = Annotated[str, typer.Argument(help="Whom to ask; nobody when empty.")]
OfTeam = Annotated[str, typer.Option("--team", help="The team that pays; it has to be there.")]
Author = Annotated[str, typer.Option(help="Who; the login name when empty.")]


@teams.command("list")
def list_teams(
    *,
    as_json: AsJson = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Every team, by name."""
    with _directory(database_url, org) as directory:
        found = directory.teams()
        per_team = [app["team"] for app in directory.apps()]
    if as_json:
        typer.echo(json.dumps([{**row, "created_at": to_text(row["created_at"])} for row in found]))
        return
    table = Table("team", "contact", "apps", "since (UTC)")
    for row in found:
        count = str(per_team.count(row["name"]))
        table.add_row(row["name"], row["contact"], count, _day(row["created_at"]))
    out.print(table)


@teams.command("create")
def create_team(
    name: Name,
    *,
    contact: Contact = "",
    author: Author = "",
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Make a team."""
    with _directory(database_url, org) as directory:
        directory.create_team(name, contact, typed_by(author))
    _say(f"the team {name} is made")


@teams.command("contact")
def tell_team(
    name: Name,
    contact: NewContact,
    *,
    author: Author = "",
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Say whom to ask about a team."""
    with _directory(database_url, org) as directory:
        directory.tell_contact("team", name, contact, typed_by(author))
    _say(f"the team {name} is changed")


@teams.command("remove")
def remove_team(
    name: Name,
    *,
    author: Author = "",
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Remove a team that has no apps; the books keep its name."""
    with _directory(database_url, org) as directory:
        directory.remove_team(name, typed_by(author))
    _say(f"the team {name} is removed")


@apps.command("list")
def list_apps(
    *,
    team: Annotated[str, typer.Option(help="Those of one team; of all when empty.")] = "",
    as_json: AsJson = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Every app, by name."""
    with _directory(database_url, org) as directory:
        found = [row for row in directory.apps() if team in ("", row["team"])]
    if as_json:
        typer.echo(json.dumps([{**row, "created_at": to_text(row["created_at"])} for row in found]))
        return
    table = Table("app", "team", "contact", "since (UTC)")
    for row in found:
        table.add_row(row["name"], row["team"], row["contact"], _day(row["created_at"]))
    out.print(table)


@apps.command("create")
def create_app(
    name: Name,
    team: OfTeam,
    *,
    contact: Contact = "",
    author: Author = "",
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Make an app of a team, which it stays with."""
    with _directory(database_url, org) as directory:
        directory.create_app(name, team, contact, typed_by(author))
    _say(f"the app {name} of {team} is made")


@apps.command("contact")
def tell_app(
    name: Name,
    contact: NewContact,
    *,
    author: Author = "",
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Say whom to ask about an app."""
    with _directory(database_url, org) as directory:
        directory.tell_contact("app", name, contact, typed_by(author))
    _say(f"the app {name} is changed")


@apps.command("remove")
def remove_app(
    name: Name,
    *,
    author: Author = "",
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Remove an app of which no key is in use; the books keep its name."""
    with _directory(database_url, org) as directory:
        directory.remove_app(name, typed_by(author))
    _say(f"the app {name} is removed")


@contextmanager
def _directory(database_url: str, org: str) -> Iterator[Directory]:
    """Teams and apps; what goes wrong is told as a sentence."""
    with told_plainly(), open_books(database_url) as database:
        yield Directory(database, org, SystemClock())


def _day(moment: int) -> str:
    return f"{to_datetime(moment):%Y-%m-%d}"


def _say(text: str) -> None:
    out.print(text, highlight=False, markup=False)
