"""`jobgate reconcile`: the ledger held against a provider's bill."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.markup import escape
from rich.table import Table

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
from gateway.cli.rerating import Author, author_of, post_in_batches
from gateway.errors import ConfigurationError
from gateway.jobs.problems import nearest
from gateway.jobs.routes import Provider, Routes
from gateway.ledger.booked import booked
from gateway.ledger.export_columns import LAYOUTS
from gateway.ledger.provider_exports import FIGURES, YEARS, Export, read_export
from gateway.ledger.reconciliation import (
    EVERY_MODEL,
    NOBODY,
    PRICE,
    SAME,
    Difference,
    Place,
    Plan,
    Side,
    days_between,
)
from gateway.ledger.reconciliation import reconcile as compare
from gateway.ledger.rendering import inert
from gateway.money import format_dollars, round_half_even
from gateway.store.database import Database
from gateway.treasury.reconciling import corrections, shares_of


class Vendor(StrEnum):
    """Whose bill it is."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GOOGLE = "google"
    MISTRAL = "mistral"
    GENERIC = "generic"


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
        export = _read(files, provider, its_zone, usd_per_unit)
        if export.spans and not plan.by_month:
            said = "lines of the bill are about several days: compare months with --by month"
            raise ConfigurationError([said])
        days = _days(export, from_, to)
        with open_books(database_url) as database:
            ledger = booked(database, org, plan, days, its_zone)
            found = compare(export, ledger, plan, days)
            posted = 0
            if post:
                source = ", ".join(file.name for file in files)
                who = author_of(author)
                posted = _post(database, org, rules, (plan, its_zone), (found, source, who))
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
    names = [*ours, *keys.values()]
    for name in names:
        if name not in rules.providers:
            hint = nearest(name, rules.providers)
            raise ConfigurationError([f"routes.yaml has no provider {name!r}{hint}"])
    if not names:
        names = [name for name, p in rules.providers.items() if _is_of(vendor, p)]
    if not names:
        said = f"routes.yaml has no provider of {vendor.value}; name one with --ours"
        raise ConfigurationError([said])
    return Plan(providers=tuple(dict.fromkeys(names)), keys=keys, models=models)


def _is_of(vendor: Vendor, provider: Provider) -> bool:
    """Whether a vendor bills what is sent to this provider."""
    if vendor is Vendor.GENERIC:
        return True
    if vendor is Vendor.GOOGLE:
        google = provider.wire == "gemini" or provider.flavour == "gemini"
        return google or provider.price_provider.startswith("vertex_ai")
    if vendor is Vendor.ANTHROPIC:
        return provider.wire == "anthropic"
    return provider.flavour == vendor.value


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


def _read(files: list[Path], vendor: Vendor, zone: ZoneInfo, usd_per_unit: str) -> Export:
    try:
        rate = Decimal(usd_per_unit) if usd_per_unit else None
    except InvalidOperation:
        rate = Decimal(0)
    if rate is not None and not (rate.is_finite() and rate > 0):
        raise ConfigurationError([f"--usd-per-unit: {usd_per_unit!r} is not a rate"])
    export: Export | None = None
    for file in files:
        try:
            content = file.read_bytes()
        except OSError as error:
            said = f"{file}: cannot be read: {error.strerror}"
            raise ConfigurationError([said]) from None
        read = read_export(file.name, content, vendor, zone=zone, usd_per_unit=rate)
        if export is None:
            export = read
        else:
            export.add(read)
    if export is None or not export.lines:
        raise ConfigurationError(["there are no lines about models in these files"])
    return export


def _days(export: Export, first: str, last: str) -> list[date]:
    try:
        start = date.fromisoformat(first) if first else min(line.day for line in export.lines)
        end = date.fromisoformat(last) if last else max(line.day for line in export.lines)
    except ValueError as error:
        raise ConfigurationError([f"--from, --to: {error}"]) from None
    if not {start.year, end.year} <= set(YEARS):
        raise ConfigurationError([f"--from {start} --to {end}: there are no bills of such years"])
    if start > end:
        raise ConfigurationError([f"--from {start} is after --to {end}"])
    return days_between(start, end)


def _post(
    database: Database,
    org: str,
    rules: Routes,
    where: tuple[Plan, ZoneInfo],
    what: tuple[list[Difference], str, str],
) -> int:
    """Correct what differs in price alone; returns how many entries that took."""
    (plan, zone), (found, source, author) = where, what
    differences = [d for d in found if d.kind == PRICE]
    shares = shares_of(database, org, plan, [d.place for d in differences], zone)
    fresh = [
        correction
        for difference in differences
        for correction in corrections(difference, shares[difference.place], source, author)
    ]
    post_in_batches(database, org, rules, fresh)
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
    return format_dollars(round_half_even(nanos.numerator, nanos.denominator))


def _totals(found: Iterable[Difference]) -> dict[str, str]:
    """Both sides in dollars. What is booked stands in the places of models, and once more in
    those of whole days where the bill has such.
    """
    billed = sum((d.billed.nanos or Fraction(0) for d in found), Fraction(0))
    of_models = [d for d in found if d.booked.count and d.place.model != EVERY_MODEL]
    ours = sum((d.booked.nanos or Fraction(0) for d in of_models or found), Fraction(0))
    return {"billed_usd": _usd(billed), "booked_usd": _usd(ours)}


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
    out.print(
        f"{len(found)} places compared: {counted or 'none'}."
        f" Billed {totals['billed_usd']} USD, booked {totals['booked_usd']} USD.",
        highlight=False,
    )


def _cells(difference: Difference) -> list[str]:
    place, billed, ours = difference.place, difference.billed, difference.booked
    money = None if billed.nanos is None else _usd(billed.nanos)
    return [
        place.period,
        escape(place.model) or "all",
        difference.kind,
        _tokens(billed) if billed.tokens else "-",
        _tokens(ours) if ours.tokens else "-",
        money or "-",
        _usd(ours.nanos) if ours.nanos is not None else "-",
        format_dollars(difference.nanos) if difference.nanos else "-",
        escape(difference.note),
    ]


def _tokens(side: Side) -> str:
    return f"{side.tokens.get('input', 0):,} + {side.tokens.get('output', 0):,}"
