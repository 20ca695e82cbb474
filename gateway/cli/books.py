"""`jobgate report` and `jobgate audit`: what was spent, and whether the books balance."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from gateway.cli.opening import open_books
from gateway.cli.options import (
    DEFAULT_DATABASE,
    DEFAULT_ORG,
    DEFAULT_PROCESSES,
    DEFAULT_ROUTES,
    AsJson,
    DatabaseUrl,
    Organisation,
    Processes,
    RoutesFile,
    err,
    interactive,
    out,
    read_routes,
    told_plainly,
)
from gateway.clock import SystemClock
from gateway.errors import ConfigurationError
from gateway.ledger.audit import Finding
from gateway.ledger.audit import audit as run_audit
from gateway.ledger.days import period_between
from gateway.ledger.queries import DIMENSIONS, Ledger, Range
from gateway.ledger.rendering import spend_csv
from gateway.money import format_dollars


class Format(StrEnum):
    """How a report is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


Day = Annotated[
    str, typer.Option(help="A day (2026-11-01) or a moment, in the organisation's zone.")
]


def report(
    *,
    by: Annotated[str, typer.Option(help=f"Any of {', '.join(DIMENSIONS)}.")] = "job",
    from_: Annotated[str, typer.Option("--from", help="First day; this month's when empty.")] = "",
    to: Annotated[str, typer.Option("--to", help="Last day, itself included; today.")] = "",
    output: Annotated[Format, typer.Option("--format")] = Format.TABLE,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    routes: RoutesFile = DEFAULT_ROUTES,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """What was spent, by any dimensions and period."""
    with told_plainly():
        zone = _zone(routes)
        period = period_of(from_, to, zone)
        names = list(dict.fromkeys(name.strip() for name in by.split(",") if name.strip()))
        with open_books(database_url, there=True) as database:
            try:
                rows = Ledger(database, org).spend(names, period)
            except ValueError as error:
                raise ConfigurationError([f"--by: {error}"]) from None
    if output is Format.JSON:
        typer.echo(json.dumps([_exact(row) for row in rows]))
    elif output is Format.CSV:
        typer.echo(spend_csv(names, rows), nl=False)
    else:
        _print_table(names, rows)


def audit(
    *,
    as_json: AsJson = False,
    processes: Processes = DEFAULT_PROCESSES,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Check every law of the books; exit status 1 when something is found."""
    with (
        told_plainly(),
        open_books(database_url, there=True) as database,
        Progress(
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} entries"),
            BarColumn(),
            TimeRemainingColumn(),
            console=err,
            transient=True,
            disable=not interactive(),
        ) as progress,
    ):
        task = progress.add_task("")
        findings, entries = run_audit(
            database,
            org,
            processes=processes,
            progress=lambda read, all_: progress.update(task, completed=read, total=all_),
        )
    _print_findings(findings, entries, as_json)
    if findings:
        raise typer.Exit(1)


def period_of(first: str, last: str, zone: ZoneInfo) -> Range:
    """The period that the options --from and --to name. Raises ConfigurationError."""
    return period_between(first, last, zone, SystemClock().now(), ("--from", "--to"))


def _zone(routes: Path) -> ZoneInfo:
    if routes.exists():
        return read_routes(routes)[0].time_zone
    err.print(f"{routes} is not there: days are those of UTC", style="yellow", highlight=False)
    return ZoneInfo("UTC")


def _exact(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "amount_usd": format_dollars(row["amount_nanos"])}


def _print_table(names: list[str], rows: list[dict[str, Any]]) -> None:
    table = Table(*names, show_footer=bool(rows))
    for heading in ("requests", "input", "cached", "output", "USD"):
        table.add_column(heading, justify="right")
    totals = [0] * 5
    for row in rows:
        cached = row["cache_read"] + row["cache_read_audio"]
        written = row["output"] + row["reasoning"] + row["audio_output"] + row["image_output"]
        inputs = row["input"] + row["cache_write"] + row["cache_write_1h"]
        inputs += row["audio_input"] + row["image_input"]
        figures = [row["request_count"], inputs, cached, written, row["amount_nanos"]]
        totals = [a + b for a, b in zip(totals, figures, strict=True)]
        table.add_row(*(str(row[name]) or "-" for name in names), *_figures(figures))
    if rows:
        footer = ["all", *[""] * (len(names) - 1)] if names else []
        for column, text in zip(table.columns, [*footer, *_figures(totals)], strict=True):
            column.footer = text
    out.print(table)
    if not rows:
        out.print("Nothing was spent in this period.")


def _figures(values: list[int]) -> list[str]:
    return [*(f"{value:,}" for value in values[:-1]), format_dollars(values[-1])]


def _print_findings(findings: list[Finding], entries: int, as_json: bool) -> None:
    if as_json:
        found = [asdict(finding) for finding in findings]
        typer.echo(json.dumps({"findings": found, "entries": entries}))
        return
    for finding in findings:
        line = f"law {finding.law}: {finding.subject}: {finding.message}"
        out.print(line, style="red", markup=False, highlight=False)
    state = f"{len(findings)} findings" if findings else "the books balance"
    out.print(f"{entries:,} entries, {state}.", highlight=False)
