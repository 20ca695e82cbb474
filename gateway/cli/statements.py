"""`jobgate statement`, `close` and `adjust`: what finance does at the end of a month."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from gateway.cli.authorship import typed_by
from gateway.cli.opening import open_books
from gateway.cli.options import (
    DEFAULT_DATABASE,
    DEFAULT_ORG,
    DEFAULT_ROUTES,
    TRY_AGAIN_LATER,
    AsJson,
    DatabaseUrl,
    Organisation,
    RoutesFile,
    err,
    out,
    read_routes,
    told_plainly,
)
from gateway.clock import MICROS, SystemClock, to_text
from gateway.errors import ConfigurationError
from gateway.jobs.problems import nearest
from gateway.jobs.routes import Routes
from gateway.ledger.months import ClosedMonth, parse_month
from gateway.ledger.queries import Ledger
from gateway.ledger.rendering import to_csv, to_html, to_json
from gateway.ledger.statements import Statement, Statements, Sums
from gateway.money import format_dollars, parse_dollars
from gateway.store.database import Database
from gateway.treasury.adjusting import Adjustments, Correction, UnknownEntry
from gateway.treasury.closing import CannotClose, MonthClosing, StillOpen
from gateway.treasury.groups import Group
from gateway.treasury.periods import Calendar

POLL_SECONDS = 1.0
"""How often `--wait` looks whether the last holds of the month have ended."""


class StatementFormat(StrEnum):
    """How a statement is written."""

    TABLE = "table"
    HTML = "html"
    CSV = "csv"
    JSON = "json"


def statement(
    *,
    team: Annotated[str, typer.Option(help="Whose statement.")],
    month: Annotated[str, typer.Option(help="Such as 2026-10, in the organisation's time zone.")],
    output_format: Annotated[StatementFormat, typer.Option("--format")] = StatementFormat.TABLE,
    output: Annotated[
        Path | None, typer.Option("--output", help="A file; standard output when not given.")
    ] = None,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    routes: RoutesFile = DEFAULT_ROUTES,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """What a team was charged in a month, to the nano."""
    with told_plainly():
        wanted = parse_month(month)
        rules = read_routes(routes)[0]
        with open_books(database_url) as database:
            its_own = (rules.organisation, rules.time_zone, rules.fiscal_year_starts)
            made_by = Statements(database, org, *its_own)
            found = made_by.of(team, wanted)
            teams = made_by.teams(wanted)
        if team not in teams:
            err.print(
                f"team {team!r} has no entries in {wanted}{nearest(team, teams)}",
                style="yellow",
                markup=False,
                highlight=False,
            )
        if output_format is StatementFormat.TABLE and output is None:
            _print_statement(found)
            return
        if output_format is StatementFormat.TABLE:
            raise ConfigurationError(["--output: say --format html, csv or json"])
        text = _WRITERS[output_format](found)
        if output is None:
            typer.echo(text, nl=not text.endswith("\n"))
        else:
            _write(output, text)


def close(
    month: Annotated[str, typer.Argument(help="Such as 2026-10, in the organisation's zone.")],
    *,
    author: Annotated[str, typer.Option(help="Who closes it.")],
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the last requests of the month have ended.")
    ] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    routes: RoutesFile = DEFAULT_ROUTES,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Lock a month: later corrections stand in the open one and say which they correct."""
    with told_plainly():
        if not author.strip():
            raise ConfigurationError(["--author: say who closes the month"])
        wanted, calendar = parse_month(month), calendar_of(read_routes(routes)[0])
        by = typed_by(author)
        with open_books(database_url) as database:
            engine = database.engine_name
            group = Group(org, engine, "command line", calendar)
            closing = MonthClosing(org, engine, calendar)
            while True:
                now = SystemClock().now()
                try:
                    with database.writing() as cursor:
                        group.lapse(cursor, now)
                    with database.writing() as cursor:
                        result = closing.close(cursor, wanted, by, now)
                except CannotClose as refusal:
                    raise ConfigurationError([str(refusal)]) from None
                if isinstance(result, ClosedMonth):
                    break
                _still_open(result, wait=wait)
    if as_json:
        told = {name: getattr(result, name) for name in result.__slots__}
        typer.echo(json.dumps({**told, "amount_usd": format_dollars(result.amount_nanos)}))
        return
    out.print(
        f"{result.month} is closed: {result.entries:,} entries,"
        f" {format_dollars(result.amount_nanos)} USD.",
        highlight=False,
    )


def adjust(
    entry: Annotated[str, typer.Argument(help="The id of the entry to correct.")],
    *,
    usd: Annotated[str, typer.Option(help="What to add, such as 0.75 or -1.25.")],
    reason: Annotated[str, typer.Option(help="Why; it stands in the books.")],
    author: Annotated[str, typer.Option(help="Who says so; it stands in the books.")],
    as_json: AsJson = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    routes: RoutesFile = DEFAULT_ROUTES,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Correct an entry by another one: nothing in the books is ever changed."""
    with told_plainly():
        nanos = _difference(usd)
        calendar = calendar_of(read_routes(routes)[0])
        correction = Correction(corrects=entry, amount_nanos=nanos, reason=reason, author=author)
        with open_books(database_url) as database:
            adjustments = Adjustments(org, database.engine_name, calendar)
            try:
                with database.writing() as cursor:
                    by, now = typed_by(author), SystemClock().now()
                    (made,) = adjustments.post(cursor, [correction], by, now)
            except UnknownEntry:
                raise ConfigurationError([f"there is no entry {entry!r}"]) from None
            except ValueError as error:
                raise ConfigurationError([str(error)]) from None
            total = _comes_to(database, org, entry)
    if as_json:
        told = {"id": made.id, "corrects": entry, "amount_nanos": nanos, "total_nanos": total}
        typer.echo(json.dumps({**told, "admitted_at": to_text(made.admitted_at)}))
        return
    out.print(f"id: {made.id}", highlight=False, markup=False)
    out.print(
        f"{format_dollars(nanos)} USD, counted at {to_text(made.admitted_at)};"
        f" {entry} comes to {format_dollars(total)} USD now.",
        highlight=False,
        markup=False,
    )


def calendar_of(rules: Routes) -> Calendar:
    """How the organisation counts time."""
    return Calendar(rules.time_zone, rules.week_starts, rules.fiscal_year_starts)


def _still_open(found: StillOpen, *, wait: bool) -> None:
    err.print(str(found), style="yellow", markup=False, highlight=False)
    if not wait:
        err.print("Wait for them with --wait.", style="yellow")
        raise typer.Exit(TRY_AGAIN_LATER)
    left = (found.lapse_at - SystemClock().now()) / MICROS
    time.sleep(min(POLL_SECONDS, max(left, POLL_SECONDS / 10)))


def _difference(usd: str) -> int:
    try:
        nanos = parse_dollars(usd)
    except ValueError as error:
        raise ConfigurationError([f"--usd: {error}"]) from None
    if nanos == 0:
        raise ConfigurationError(["--usd: a correction of nothing is none"])
    return nanos


def _comes_to(database: Database, org: str, entry: str) -> int:
    """An entry's amount with all its corrections."""
    rows = Ledger(database, org).entries_of(entry.partition(".")[0])
    return sum(row["amount_nanos"] for row in rows if entry in (row["id"], row["corrects"]))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigurationError([f"{path}: cannot be written: {error.strerror}"]) from None


def _print_statement(found: Statement) -> None:
    state = f"closed by {found.closed.author}" if found.closed else "open"
    table = Table("", "", title=f"{found.team}, {found.month} ({state}), in USD")
    for heading in ("requests", "tokens", "USD"):
        table.add_column(heading, justify="right")
    table.add_row("opening", f"since {found.since}", "", "", format_dollars(found.opening_nanos))
    table.add_section()
    for charge in found.charges:
        table.add_row(charge.job, charge.target, *_figures(charge.sums))
    for adjustment in found.adjustments:
        corrected = adjustment.corrects or f"{adjustment.sums.entries:,} corrections"
        table.add_row(corrected, adjustment.reason, *_figures(adjustment.sums))
    table.add_section()
    for quality in found.qualities:
        table.add_row("of this", quality.quality, *_figures(quality.sums))
    table.add_section()
    table.add_row("closing", "", *_figures(found.closing))
    table.add_row("to date", f"since {found.since}", "", "", format_dollars(found.to_date_nanos))
    out.print(table, highlight=False)
    if found.budgets:
        out.print(_budgets_of(found), highlight=False)


def _budgets_of(found: Statement) -> Table:
    """The budgets at the opening and at the closing of the month."""
    table = Table("budget", "for", "period", title="Opening and closing: budgets")
    for heading in ("limit", "before the month", "at its end"):
        table.add_column(heading, justify="right")
    for budget in found.budgets:
        values = (budget.limit, budget.before, budget.after)
        table.add_row(
            budget.budget,
            budget.subject or "everybody",
            budget.period.replace("_", " "),
            *(
                format_dollars(value) if budget.unit == "usd" else f"{value:,} {budget.unit}"
                for value in values
            ),
        )
    return table


def _figures(sums: Sums) -> list[str]:
    return [f"{sums.requests:,}", f"{sums.tokens:,}", format_dollars(sums.nanos)]


_WRITERS = {
    StatementFormat.HTML: to_html,
    StatementFormat.CSV: to_csv,
    StatementFormat.JSON: to_json,
}
