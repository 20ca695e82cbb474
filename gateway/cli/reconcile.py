"""`jobgate reconcile`: the ledger held against a provider's bill."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from dataclasses import replace
from datetime import date
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.table import Table

from gateway.cli.authorship import typed_by
from gateway.cli.books import Format
from gateway.cli.opening import open_books
from gateway.cli.options import (
    DEFAULT_DATABASE,
    DEFAULT_ORG,
    DEFAULT_ROUTES,
    DatabaseUrl,
    Organisation,
    RoutesFile,
    err,
    out,
    read_routes,
    told_plainly,
)
from gateway.cli.rerating import Author, author_of
from gateway.cli.statements import calendar_of
from gateway.clock import SystemClock
from gateway.errors import ConfigurationError
from gateway.jobs.routes import Routes
from gateway.ledger.export_columns import LAYOUTS
from gateway.ledger.provider_exports import FIGURES
from gateway.ledger.reconciliation import (
    NOBODY,
    PRICE,
    SAME,
    Difference,
    Place,
    Plan,
    Side,
)
from gateway.ledger.rendering import inert
from gateway.money import format_dollars
from gateway.store.database import Database
from gateway.treasury.bills import (
    Bill,
    Vendor,
    days_of,
    differences,
    our_providers,
    post_in_batches,
    price_corrections_of,
    rate_of,
    read_bill,
    totals,
    whole,
)


class Grain(StrEnum):
    """What is compared with each other."""

    DAY = "day"
    MONTH = "month"


def reconcile(
    files: Annotated[list[Path], typer.Argument(help="Usage and cost exports, CSV or JSON.")],
    *,
    provider: Annotated[Vendor, typer.Option(help="Whose exports they are.")],
    ours: Annotated[
        list[str] | None,
        typer.Option("--ours", help="A provider of routes.yaml that is on the bill."),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", help="KEY=PROVIDER: a key or project on the bill, and whose it is."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="NAME=NAME: a model on the bill, as the ledger names it."),
    ] = None,
    by: Annotated[Grain, typer.Option(help="Compare days, or whole months.")] = Grain.DAY,
    from_: Annotated[str, typer.Option("--from", help="First day; the bill's when empty.")] = "",
    to: Annotated[str, typer.Option("--to", help="Last day; the bill's when empty.")] = "",
    zone: Annotated[str, typer.Option(help="Where the bill's days begin, if not as usual.")] = "",
    usd_per_unit: Annotated[
        str, typer.Option(help="For a bill in another currency: dollars for one.")
    ] = "",
    everything: Annotated[bool, typer.Option("--all", help="Tell what agrees too.")] = False,
    post: Annotated[bool, typer.Option("--post", help="Correct differences of price.")] = False,
    author: Author = "",
    output: Annotated[Format, typer.Option("--format")] = Format.TABLE,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    routes: RoutesFile = DEFAULT_ROUTES,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Hold the ledger against a bill; exit status 1 when something is not explained."""
    with told_plainly():
        rules = read_routes(routes)[0]
        pairs = (_pairs("--key", key), _pairs("--model", model))
        plan = replace(_plan(rules, provider, ours or [], pairs), by_month=by is Grain.MONTH)
        its_zone = _zone(zone or LAYOUTS[provider].zone)
        rate = rate_of(usd_per_unit, "--usd-per-unit")
        export = read_bill(_contents(files), provider, its_zone, rate)
        if export.spans and not plan.by_month:
            said = "lines of the bill are about several days: compare months with --by month"
            raise ConfigurationError([said])
        days = days_of(export, _day(from_), _day(to))
        source = ", ".join(file.name for file in files)
        bill = Bill(export, plan, days, its_zone, source)
        with open_books(database_url) as database:
            found = differences(database, org, bill)
            posted = _post(database, org, rules, (bill, found), author) if post else 0
    told = [d for d in found if everything or d.kind != SAME]
    _tell(told, found, output)
    if export.passed_over:
        err.print(f"{export.passed_over} lines are about other services.", highlight=False)
    if posted:
        err.print(f"{posted:,} correcting entries are posted.", highlight=False)
    if any(not (d.explained or (posted and d.kind == PRICE)) for d in found):
        raise typer.Exit(1)


def _plan(
    rules: Routes,
    vendor: Vendor,
    ours: list[str],
    pairs: tuple[dict[str, str], dict[str, str]],
) -> Plan:
    """Which of our providers the bill is about."""
    keys, models = pairs
    names = our_providers(rules, vendor, [*ours, *keys.values()])
    return Plan(providers=names, keys=keys, models=models)


def _pairs(option: str, written: list[str] | None) -> dict[str, str]:
    found = {}
    for text in written or []:
        name, is_there, other = text.rpartition("=")
        if not (is_there and name.strip() and other.strip()):
            raise ConfigurationError([f"{option} {text!r} is not NAME=NAME"])
        found[name.strip()] = other.strip()
    return found


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigurationError([f"--zone: {name!r} is not a time zone"]) from None


def _contents(files: list[Path]) -> list[tuple[str, bytes]]:
    """Name and content of each file. Raises ConfigurationError."""
    found = []
    for file in files:
        try:
            found.append((file.name, file.read_bytes()))
        except OSError as error:
            said = f"{file}: cannot be read: {error.strerror}"
            raise ConfigurationError([said]) from None
    return found


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise ConfigurationError([f"--from, --to: {error}"]) from None


def _post(
    database: Database, org: str, rules: Routes, what: tuple[Bill, list[Difference]], author: str
) -> int:
    """Correct what differs in price alone; returns how many entries that took."""
    who, clock = author_of(author), SystemClock()
    fresh = price_corrections_of(database, org, *what, who)
    post_in_batches(database, org, calendar_of(rules), fresh, typed_by(who), clock)
    return len(fresh)


def _tell(told: list[Difference], found: list[Difference], output: Format) -> None:
    rows = [_row(difference) for difference in told]
    if output is Format.JSON:
        kinds = Counter(difference.kind for difference in found)
        unexplained = sum(not difference.explained for difference in found)
        summary = {"kinds": dict(sorted(kinds.items())), "unexplained": unexplained}
        typer.echo(json.dumps({"differences": rows, **summary, **_totals(found)}))
    elif output is Format.CSV:
        columns = list(_row(Difference(Place("", "", ""), SAME, NOBODY, NOBODY)))
        writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: inert(value) for name, value in row.items()} for row in rows)
    else:
        _print(told, found)


def _row(difference: Difference) -> dict[str, Any]:
    place, billed, ours = difference.place, difference.billed, difference.booked
    row: dict[str, Any] = {
        "period": place.period,
        "provider": place.provider,
        "model": place.model,
        "kind": difference.kind,
        "explained": difference.explained,
        "lines": billed.count,
        "entries": ours.count,
    }
    for name in FIGURES:
        row[f"billed_{name}"] = billed.tokens.get(name)
        row[f"booked_{name}"] = ours.tokens.get(name, 0)
    row["billed_usd"] = None if billed.nanos is None else _usd(billed.nanos)
    row["booked_usd"] = _usd(ours.nanos or Fraction(0))
    row["difference_nanos"] = difference.nanos
    row["note"] = difference.note
    return row


def _usd(nanos: Fraction) -> str:
    return format_dollars(whole(nanos))


def _totals(found: list[Difference]) -> dict[str, str | None]:
    """Both sides in dollars; None for a bill without amounts."""
    return {
        f"{side}_usd": None if nanos is None else format_dollars(nanos)
        for side, nanos in totals(found).items()
    }


def _print(told: list[Difference], found: list[Difference]) -> None:
    if told:
        table = Table("period", "model", "what it is")
        for heading in ("billed tokens", "booked tokens", "billed USD", "booked USD", "more USD"):
            table.add_column(heading, justify="right")
        table.add_column("note")
        for difference in told:
            table.add_row(*_cells(difference), style=None if difference.explained else "red")
        out.print(table)
    totals = _totals(found)
    kinds = Counter(difference.kind for difference in found)
    counted = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    billed = totals["billed_usd"]
    told_of_it = "The bill states no amounts;" if billed is None else f"Billed {billed} USD,"
    out.print(
        f"{len(found)} places compared: {counted or 'none'}."
        f" {told_of_it} booked {totals['booked_usd']} USD.",
        highlight=False,
    )


def _cells(difference: Difference) -> list[str]:
    place, billed, ours = difference.place, difference.billed, difference.booked
    money = None if billed.nanos is None else _usd(billed.nanos)
    return [
        place.period,
        place.model or "all",
        difference.kind,
        _tokens(billed) if billed.tokens else "-",
        _tokens(ours) if ours.tokens else "-",
        money or "-",
        _usd(ours.nanos) if ours.nanos is not None else "-",
        format_dollars(difference.nanos) if difference.nanos else "-",
        difference.note,
    ]


def _tokens(side: Side) -> str:
    return f"{side.tokens.get('input', 0):,} + {side.tokens.get('output', 0):,}"
