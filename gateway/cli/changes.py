"""`jobgate changes`: the log of who changed what, to read or to keep elsewhere."""

from __future__ import annotations

import json
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.table import Table
from rich.text import Text

from gateway.callers.changes import ChangeLog, Recorded
from gateway.cli.books import Format, period_of
from gateway.cli.opening import open_books
from gateway.cli.options import (
    DEFAULT_DATABASE,
    DEFAULT_ORG,
    DatabaseUrl,
    Organisation,
    out,
    told_plainly,
)
from gateway.clock import to_datetime
from gateway.doors.admin import changes_csv, told_change

_BEGINNING = "1970-01-01"
_HASH_SHOWN = 12
Day = Annotated[str, typer.Option(help="A day (2026-11-01) or a moment, in UTC.")]


def changes(
    *,
    from_: Annotated[
        str, typer.Option("--from", help="First day, in UTC; the log's when empty.")
    ] = "",
    to: Day = "",
    subject: Annotated[str, typer.Option(help="Only of this key, team, app, raise, ...")] = "",
    output: Annotated[Format, typer.Option("--format")] = Format.TABLE,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Who changed what, from what to what, from where and when, oldest first."""
    with told_plainly():
        period = period_of(from_ or _BEGINNING, to, ZoneInfo("UTC"))
        with open_books(database_url, there=True) as database, database.reading() as cursor:
            rows = [
                row
                for row in ChangeLog(org, database.engine_name).read(cursor)
                if period.start <= row.at < period.end and subject in ("", row.subject)
            ]
    if output is Format.JSON:
        typer.echo(json.dumps([told_change(row) for row in rows]))
    elif output is Format.CSV:
        typer.echo(changes_csv(rows), nl=False)
    else:
        _print(rows)


def _print(rows: list[Recorded]) -> None:
    table = Table("", "when (UTC)", "who", "from", "what", "of", "was", "is", "hash")
    for row in rows:
        who = f"{row.who} ({row.role})" if row.role else row.who
        when = f"{to_datetime(row.at):%Y-%m-%d %H:%M:%S}"
        cells = (str(row.number), when, who, row.origin, row.what, row.subject)
        told = (_in_words(row.before), _in_words(row.after), row.hash[:_HASH_SHOWN])
        table.add_row(*(Text(cell) for cell in (*cells, *told)))
    out.print(table)


def _in_words(values: str) -> str:
    """Fields and their values, without those that are not set."""
    told = json.loads(values or "{}")
    return ", ".join(f"{name} {value}" for name, value in told.items() if value not in ("", None))
