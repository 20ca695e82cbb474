"""`jobgate prices`: what a model costs and why, and whether routes.yaml says so by mistake.

Status 0 is well, 1 that there is something to look at (`diff`), 2 that something is wrong.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from gateway.cli.options import (
    DEFAULT_ROUTES,
    AsJson,
    RoutesFile,
    err,
    out,
    read_book,
    read_routes,
    told_plainly,
)
from gateway.cli.price_sheets import of_book, of_routes, print_all
from gateway.cli.rerating import rerate
from gateway.clock import SystemClock, to_micros
from gateway.errors import ConfigurationError
from gateway.jobs.problems import nearest
from gateway.jobs.routes import Routes, Target
from gateway.money import to_dollars
from gateway.prices.book import PriceBook
from gateway.prices.checking import check_against_book
from gateway.prices.comparing import Change, Difference, compare
from gateway.prices.importing import import_map, installed_map

commands = typer.Typer(help="What models cost.", no_args_is_help=True)
commands.command()(rerate)

BookFile = Annotated[
    Path | None,
    typer.Option("--book", help="A price book; the one in use when it is not named."),
]


@commands.command()
def show(
    model: Annotated[str, typer.Argument(help="A model, or provider/model.")],
    *,
    provider: Annotated[str, typer.Option(help="Only at this provider.")] = "",
    at: Annotated[str, typer.Option(help="The price of this day; today's when empty.")] = "",
    book: BookFile = None,
    routes: RoutesFile = DEFAULT_ROUTES,
    as_json: AsJson = False,
) -> None:
    """What a model costs: rates, tiers, who says so and since when."""
    with told_plainly():
        listed = read_book(book)
        rules = read_routes(routes)[0] if routes.exists() else None
        owner, _, name = model.rpartition("/") if not provider else (provider, "", model)
        moment = _moment(at, rules)
        sheets = [
            *of_routes(rules, owner, name, moment),
            *of_book(listed, owner, name),
        ]
        if not sheets and owner and not provider:  # some models have a slash in their names
            sheets = of_book(listed, "", model)
        if not sheets:
            known = {*(each for each, _ in listed.models), *(rules.providers if rules else ())}
            if provider and provider not in known:
                said = f"there is no provider {provider!r}{nearest(provider, known)}"
                raise ConfigurationError([said])
            close = listed.nearest(name, owner or None)
            hint = f"; did you mean {', '.join(close)}?" if close else ""
            raise ConfigurationError([f"{model} has no price{hint}"])
    if as_json:
        typer.echo(json.dumps(sheets))
    else:
        print_all(sheets)


@commands.command("import")
def import_(
    *,
    output: Annotated[Path, typer.Option("--output", help="The price book to write.")],
    map_file: Annotated[
        Path | None, typer.Option("--map", help="A LiteLLM price map; the installed one.")
    ] = None,
    on: Annotated[str, typer.Option(help="The day it counts as imported; today.")] = "",
) -> None:
    """Make a price book from LiteLLM's price map; nothing is fetched."""
    with told_plainly():
        day = _day(on) if on else datetime.now(UTC).date()
        try:
            path, version = (map_file, _digest(map_file)) if map_file else installed_map()
            text = import_map(path, version=version, on=day)
        except OSError as error:
            said = f"{error.filename}: cannot be read: {error.strerror}"
            raise ConfigurationError([said]) from None
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise ConfigurationError([f"{path} is not a price map: {error}"]) from None
        made = PriceBook(text.encode())
        if not made.models:
            raise ConfigurationError([f"{path} has no model with a price; nothing is written"])
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigurationError([f"{output}: cannot be written: {error.strerror}"]) from None
    out.print(f"{output}: {len(made.models):,} models, {made.version}.", highlight=False)


@commands.command()
def diff(
    old: Annotated[Path, typer.Argument(help="A price book.")],
    new: Annotated[Path, typer.Argument(help="Another.")],
    *,
    as_json: AsJson = False,
) -> None:
    """What changed between two price books; exit status 1 when something did."""
    with told_plainly():
        found = compare(read_book(old), read_book(new))
    if as_json:
        typer.echo(json.dumps(_as_json(found)))
    else:
        _print_difference(found)
    if not found.empty:
        raise typer.Exit(1)


@commands.command()
def check(*, routes: RoutesFile = DEFAULT_ROUTES, as_json: AsJson = False) -> None:
    """Hold every price against the book; exit status 2 when one is off by more than 5 times.

    A price that somebody confirmed, or stated as a discount or by the hour, is only told.
    """
    with told_plainly():
        rules, book = read_routes(routes)
    targets = {t.name: t for job in rules.jobs.values() for t in job.reachable}
    meant = list(dict.fromkeys(s for t in targets.values() for s in _far_off(t, book)))
    now = SystemClock().now()
    unpriced = sorted(name for name, t in targets.items() if t.price_at(now) is None)
    if as_json:
        told = {"targets": len(targets), "far_off_and_meant": meant, "unpriced": unpriced}
        typer.echo(json.dumps(told))
        return
    for said in (
        *(f"meant as it is: {sentence}" for sentence in meant),
        *(f"{name} has no price: its requests are refused with 402" for name in unpriced),
    ):
        err.print(said, style="yellow", markup=False, highlight=False)
    state = f"{len(meant)} far off the book and meant" if meant else "all plausible"
    out.print(f"{len(targets)} targets, {state}; {book.version}.", highlight=False)


def _far_off(target: Target, book: PriceBook) -> list[str]:
    """Which prices of a target are far from the book's, those of other days too."""
    prices = target.dated or ((target.price,) if target.price else ())
    at, model = target.provider.price_provider, target.model
    said = (check_against_book(at, model, price, book) for price in prices)
    return [sentence for sentence in said if sentence is not None]


def _moment(text: str, rules: Routes | None) -> int:
    if not text:
        return SystemClock().now()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError([f"--at: {text!r} is not a day such as 2026-11-01"]) from None
    zone = rules.time_zone if rules else UTC
    return to_micros(moment if moment.tzinfo else moment.replace(tzinfo=zone))


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigurationError([f"--on: {text!r} is not a day such as 2026-11-01"]) from None


def _digest(path: Path) -> str:
    """What stands for the version of a map that came as a file."""
    return f"map {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"


def _as_json(found: Difference) -> dict[str, object]:
    changed = [
        {
            **asdict(change),
            "before": _usd(change.before),
            "after": _usd(change.after),
            "percent": None if change.percent is None else str(change.percent),
        }
        for change in found.changed
    ]
    return {"added": list(found.added), "removed": list(found.removed), "changed": changed}


def _print_difference(found: Difference) -> None:
    if found.changed:
        table = Table("provider/model", "what", title="USD per million tokens")
        for heading in ("before", "after", "change"):
            table.add_column(heading, justify="right")
        for change in found.changed:
            table.add_row(
                f"{change.provider}/{change.model}",
                change.what,
                _usd(change.before) or "-",
                _usd(change.after) or "-",
                _percent(change),
            )
        out.print(table)
    for word, names in (("new", found.added), ("gone", found.removed)):
        for name in names:
            out.print(f"{word}: {name}", markup=False, highlight=False)
    models = len({(change.provider, change.model) for change in found.changed})
    out.print(
        f"{models} models changed, {len(found.added)} new, {len(found.removed)} gone.",
        highlight=False,
    )


def _percent(change: Change) -> str:
    return "-" if change.percent is None else f"{change.percent:+}%"


def _usd(rate: int | None) -> str | None:
    return None if rate is None else f"{to_dollars(rate).normalize():f}"
