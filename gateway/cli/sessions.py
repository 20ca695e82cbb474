"""`jobgate sessions`: who is signed in to the pages, and ending the sessions of somebody."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from gateway.callers.signed_in import SignedIn
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
from gateway.clock import SystemClock, to_datetime
from gateway.doors.sessions import told_sitting
from gateway.errors import ConfigurationError, NotFound

commands = typer.Typer(help="Who is signed in to the pages.", no_args_is_help=True)


@commands.command("list")
def list_sessions(
    *,
    as_json: AsJson = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Every session that has not ended, oldest first."""
    with told_plainly(), open_books(database_url, there=True) as database:
        found = SignedIn(database, org, SystemClock()).all()
    if as_json:
        typer.echo(json.dumps([told_sitting(one) for one in found]))
        return
    table = Table("who", "role", "by", "since (UTC)", "until")
    for one in found:
        times = (f"{to_datetime(at):%Y-%m-%d %H:%M}" for at in (one.created_at, one.expires_at))
        table.add_row(*(Text(cell) for cell in (one.principal, one.role, one.method, *times)))
    out.print(table)


@commands.command()
def end(
    name: Annotated[str, typer.Argument(help="As `jobgate sessions list` has it.")],
    *,
    author: Annotated[str, typer.Option(help="Who; the login name when empty.")] = "",
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """End every session of a person or a key, at once; it is written down in the log of changes."""
    with told_plainly(), open_books(database_url, there=True) as database:
        try:
            count = SignedIn(database, org, SystemClock()).end(name, typed_by(author))
        except NotFound as error:
            raise ConfigurationError([f"{error.message}; see `jobgate sessions list`"]) from None
    sessions = "session" if count == 1 else "sessions"
    out.print(f"{count} {sessions} of {name} ended", markup=False, highlight=False)
