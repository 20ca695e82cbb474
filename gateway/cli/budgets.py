"""`jobgate budgets`: how they stand, and more money for one until a day, with a reason."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
import typer
from rich.table import Table

from gateway.callers.registry import Registry
from gateway.cli.authorship import typed_by
from gateway.cli.opening import open_books
from gateway.cli.options import (
    DEFAULT_DATABASE,
    DEFAULT_ORG,
    DEFAULT_ROUTES,
    AsJson,
    DatabaseUrl,
    Organisation,
    RoutesFile,
    out,
    read_routes,
    told_plainly,
)
from gateway.clock import SystemClock, to_datetime, to_micros
from gateway.errors import ConfigurationError
from gateway.jobs.routes import Budget, Routes
from gateway.money import quantity
from gateway.store.database import Database
from gateway.treasury.periods import Calendar
from gateway.treasury.raises import Raise, RaiseBook, Raises, budget_to_raise, parse_amount
from gateway.treasury.standing import Standing, Standings

commands = typer.Typer(help="Budgets: how they stand, and raises.", no_args_is_help=True)

Reason = Annotated[str, typer.Option(help="Why; it stays in the books.")]
Author = Annotated[str, typer.Option(help="Who; the login name when empty.")]
Name = Annotated[
    str, typer.Argument(help="The budget's name in routes.yaml; a key's id for the key's own.")
]


@commands.command("list")
def list_budgets(
    *,
    as_json: AsJson = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    routes: RoutesFile = DEFAULT_ROUTES,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Every budget now: its limit, what is spent, held and left, and when it resets."""
    with told_plainly():
        rules = read_routes(routes)[0]
        calendar = Calendar(rules.time_zone, rules.week_starts, rules.fiscal_year_starts)
        with open_books(database_url) as database:
            clock = SystemClock()
            raises = Raises(RaiseBook(database, org, clock).all())
            standings = Standings(database, org, _known(rules, database, org), calendar)
            found = standings.at(clock.now(), raises)
    if as_json:
        typer.echo(json.dumps([_told_standing(standing) for standing in found]))
        return
    table = Table("budget", "for", "limit", "spent", "held", "left", "resets", "in force")
    for column in table.columns[2:6]:
        column.justify = "right"
    for standing in found:
        amounts = (standing.limit, standing.spent, standing.held, standing.left)
        table.add_row(
            standing.budget,
            standing.subject or standing.scope,
            *(quantity(amount, standing.unit) for amount in amounts),
            _resets(standing, rules.time_zone),
            "; ".join(_beside(standing, rules.time_zone)),
        )
    out.print(table)


@commands.command("raise")
def raise_budget(
    name: Name,
    *,
    by: Annotated[str, typer.Option(help="How much, in the budget's unit; USD for money.")],
    until: Annotated[str, typer.Option(help="The last day (2026-11-30), or a moment.")],
    reason: Reason,
    subject: Annotated[
        str, typer.Option(help="The team, app, job, tag value or key; every one when empty.")
    ] = "",
    author: Author = "",
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    routes: RoutesFile = DEFAULT_ROUTES,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Raise a budget's limit for a while; running gateways know it within a second."""
    with told_plainly():
        rules = read_routes(routes)[0]
        end = parse_until(until, rules.time_zone)
        with open_books(database_url) as database:
            budget = budget_to_raise(_known(rules, database, org), name, subject)
            amount = parse_amount(by, budget)
            book = RaiseBook(database, org, SystemClock())
            who = typed_by(author)
            granted = book.grant(budget.name, subject, amount, until=end, reason=reason, by=who)
    whom = f" of {subject}" if subject else ""
    out.print(
        f"{granted.id}: {budget.name}{whom} has {quantity(amount, budget.unit)} more until"
        f" {_shown(end, rules.time_zone)}",
        highlight=False,
        markup=False,
    )


@commands.command()
def withdraw(
    raise_id: Annotated[str, typer.Argument(help="The id of the raise, such as raise_1f2e...")],
    *,
    reason: Reason,
    author: Author = "",
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """End a raise now."""
    with told_plainly(), open_books(database_url) as database:
        book = RaiseBook(database, org, SystemClock())
        book.withdraw(raise_id, reason=reason, by=typed_by(author))
    out.print(f"{raise_id} is over", highlight=False, markup=False)


@commands.command("raises")
def list_raises(
    *,
    as_json: AsJson = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    routes: RoutesFile = DEFAULT_ROUTES,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Every raise there was, oldest first: how much, for how long, who and why."""
    with told_plainly():
        rules = read_routes(routes)[0]
        with open_books(database_url) as database:
            found = RaiseBook(database, org, SystemClock()).all()
            units = {budget.name: budget.unit for budget in _known(rules, database, org)}
    if as_json:
        typer.echo(json.dumps([_told_raise(row) for row in found]))
        return
    table = Table("id", "budget", "for", "by", "from", "until", "who", "why")
    for row in found:
        unit = units.get(row.budget)
        table.add_row(
            row.id,
            row.budget,
            row.subject or "every one",
            f"{row.amount:,}" if unit is None else quantity(row.amount, unit),
            _shown(row.starts_at, rules.time_zone),
            _shown(row.until, rules.time_zone),
            row.author,
            row.reason,
        )
    out.print(table)


def parse_until(text: str, zone: ZoneInfo) -> int:
    """The end of a day (itself included), or a moment, in microseconds since 1970.

    Raises ConfigurationError.
    """
    try:
        if len(text) <= len("2026-11-30"):
            after = date.fromisoformat(text) + timedelta(days=1)
            return to_micros(datetime(after.year, after.month, after.day, tzinfo=zone))
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ConfigurationError([f"--until {text!r} is not a day such as 2026-11-30"]) from None
    return to_micros(moment if moment.tzinfo else moment.replace(tzinfo=zone))


def _known(rules: Routes, database: Database, org: str) -> list[Budget]:
    """The budgets of routes.yaml, and those that keys have of their own."""
    return [*rules.budgets, *Registry(database, org, SystemClock()).own_budgets()]


def _shown(moment: int, zone: ZoneInfo) -> str:
    return to_datetime(moment).astimezone(zone).strftime("%Y-%m-%d %H:%M")


def _resets(standing: Standing, zone: ZoneInfo) -> str:
    return "never" if standing.period == "forever" else _shown(standing.ends_at, zone)


def _beside(standing: Standing, zone: ZoneInfo) -> list[str]:
    """What the limit has beside what routes.yaml states."""
    told = [
        f"{quantity(row.amount, standing.unit)} until {_shown(row.until, zone)} ({row.reason})"
        for row in standing.raises
    ]
    if standing.carried:
        told.append(f"{quantity(standing.carried, standing.unit)} carried over")
    return told


def _told_raise(row: Raise) -> dict[str, Any]:
    times = ("starts_at", "until", "created_at")
    told = {name: to_datetime(getattr(row, name)).isoformat() for name in times}
    return {**msgspec.structs.asdict(row), **told}


def _told_standing(standing: Standing) -> dict[str, Any]:
    told = msgspec.structs.asdict(standing)
    del told["starts_at"]
    forever = standing.period == "forever"
    told["resets_at"] = None if forever else to_datetime(told.pop("ends_at")).isoformat()
    told.pop("ends_at", None)
    return {**told, "raises": [_told_raise(row) for row in standing.raises]}
