"""`jobgate forecast`: where the month will end, and how good such forecasts were."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer
from rich.table import Table

from gateway.cli.opening import open_books
from gateway.cli.options import (
    DEFAULT_DATABASE,
    DEFAULT_ORG,
    DEFAULT_ROUTES,
    DatabaseUrl,
    Organisation,
    RoutesFile,
    out,
    read_routes,
    told_plainly,
)
from gateway.clock import SystemClock
from gateway.errors import ConfigurationError
from gateway.insight.outlooks import BY, Outlook, look_ahead, told
from gateway.money import quantity


class Format(StrEnum):
    """How forecasts are printed."""

    TABLE = "table"
    JSON = "json"


def forecast(
    *,
    by: Annotated[str, typer.Option(help=f"One of {', '.join(BY)}.")] = "organisation",
    output: Annotated[Format, typer.Option("--format")] = Format.TABLE,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    routes: RoutesFile = DEFAULT_ROUTES,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """What the month, or a budget's period, will probably come to."""
    with told_plainly():
        if by not in BY:
            raise ConfigurationError([f"--by {by}: it is one of {', '.join(BY)}"])
        rules, _book = read_routes(routes)
        with open_books(database_url, there=True) as database:
            found = look_ahead(by, database, org, rules, SystemClock().now())
    if output is Format.JSON:
        typer.echo(json.dumps(list(told(found))))
    else:
        _print(found)


def _print(found: Sequence[Outlook]) -> None:
    table = Table()
    for heading in ("what", "until"):
        table.add_column(heading)
    for heading in ("so far", "P10", "P50", "P90", "limit", "reached"):
        table.add_column(heading, justify="right")
    table.add_column("past forecasts")
    for one in found:
        told_ = one.forecast
        figures = (told_.spent, told_.p10, told_.p50, told_.p90)
        table.add_row(
            " ".join(part for part in (one.name or "organisation", one.subject) if part),
            f"{one.period_ends - timedelta(days=1)}",
            *(quantity(figure, one.unit) for figure in figures),
            "" if one.limit is None else quantity(one.limit, one.unit),
            _reached(one),
            _past(one),
        )
    out.print(table)
    for note in dict.fromkeys(_note(one) for one in found if one.forecast.note):
        out.print(note, highlight=False)
    if not found:
        out.print("Nothing was spent yet, so there is nothing to foretell.")


def _note(one: Outlook) -> str:
    return f"{one.name or 'organisation'}: {one.forecast.note}"


def _reached(one: Outlook) -> str:
    reached = one.forecast.exhaustion
    if reached is None:
        return ""
    if reached.expected is not None:
        return f"{reached.expected}"
    return "not expected" if reached.early is None else f"perhaps {reached.early}"


def _past(one: Outlook) -> str:
    tested = one.backtest
    if tested is None:
        return "none to compare with"
    return (
        f"off by {tested.error:.1%}, {tested.coverage:.0%} in range"
        f" ({tested.forecasts} forecasts; as last week: {tested.naive_error:.1%})"
    )
