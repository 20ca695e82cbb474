"""`jobgate alerts`: what was told to whom, what could not be delivered, and tests."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from gateway.alerts.delivering import Deliveries
from gateway.alerts.messages import moment_in
from gateway.alerts.outbox import DEAD, SENT, STATES, Delivery, Outbox
from gateway.alerts.sending import Sender
from gateway.cli.opening import open_books
from gateway.cli.options import (
    DEFAULT_DATABASE,
    DEFAULT_ORG,
    DEFAULT_ROUTES,
    AsJson,
    DatabaseUrl,
    Organisation,
    RoutesFile,
    err,
    out,
    read_routes,
    told_plainly,
)
from gateway.clock import SystemClock
from gateway.doors.alerts import retried, told_delivery
from gateway.errors import ConfigurationError
from gateway.jobs.routes import Routes
from gateway.store.database import Database

commands = typer.Typer(
    help="Alerts: what was told, what could not be delivered, tests.", no_args_is_help=True
)

Most = Annotated[int, typer.Option("--limit", min=1, max=1000, help="The newest so many.")]


@commands.command("list")
def list_alerts(
    *,
    state: Annotated[str, typer.Option(help=f"Only those that are {', '.join(STATES)}.")] = "",
    limit: Most = 50,
    as_json: AsJson = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    routes: RoutesFile = DEFAULT_ROUTES,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """What was told or waits to be, the newest first."""
    with told_plainly():
        if state and state not in STATES:
            raise ConfigurationError([f"--state {state!r}: it is one of {', '.join(STATES)}"])
        rules = read_routes(routes)[0]
        with open_books(database_url) as database:
            found = Outbox(database, org).newest(state or None, limit)
    _print(found, rules, as_json)


@commands.command()
def dead(
    *,
    limit: Most = 50,
    as_json: AsJson = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    routes: RoutesFile = DEFAULT_ROUTES,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """What was given up, and why; `jobgate alerts retry` tries it again."""
    with told_plainly():
        rules = read_routes(routes)[0]
        with open_books(database_url) as database:
            found = Outbox(database, org).newest(DEAD, limit)
    _print(found, rules, as_json)


@commands.command()
def retry(
    delivery: Annotated[
        str, typer.Argument(help="The id of a delivery that was given up, such as dlv_1f2e...")
    ] = "",
    *,
    everything: Annotated[bool, typer.Option("--all", help="All that were given up.")] = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Try again what was given up; a running gateway delivers it within seconds."""
    with told_plainly():
        if everything == bool(delivery):
            raise ConfigurationError(["write the id of a delivery, or --all"])
        now = SystemClock().now()
        with open_books(database_url) as database:
            outbox = Outbox(database, org)
            if delivery:
                retried(outbox, delivery, now)
                number = 1
            else:
                ids = [one.id for one in outbox.newest(DEAD, outbox.count(DEAD))]
                number = outbox.retry(ids, now)
    out.print(f"{number} to be tried again", highlight=False, markup=False)


@commands.command("test")
def send_test(
    destination: Annotated[str, typer.Argument(help="The destination's name in routes.yaml.")],
    *,
    as_json: AsJson = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    routes: RoutesFile = DEFAULT_ROUTES,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Send a test to a destination, from here; exit status 1 when it does not arrive."""
    with told_plainly():
        rules = read_routes(routes)[0]
        with open_books(database_url) as database:
            told = asyncio.run(_test(destination, rules, database, org))
    if as_json:
        typer.echo(json.dumps(told_delivery(told)))
    elif told.state == SENT:
        out.print(f"{destination} has taken it ({told.id})", highlight=False, markup=False)
    else:
        err.print(
            f"{destination} did not get it: {told.error}",
            style="red",
            highlight=False,
            markup=False,
        )
    if told.state != SENT:
        raise typer.Exit(1)


async def _test(destination: str, rules: Routes, database: Database, org: str) -> Delivery:
    clock = SystemClock()
    sender = Sender(os.environ, clock)
    try:
        return await Deliveries(Outbox(database, org), sender, lambda: rules, clock).test(
            destination
        )
    finally:
        await sender.aclose()


def _print(found: list[Delivery], rules: Routes, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([told_delivery(one) for one in found]))
        return
    table = Table("id", "told", "destination", "what", "state", "attempts", "next or last", "why")
    for one in found:
        moment = one.ended_at or one.due_at
        cells = (
            one.id,
            moment_in(one.created_at, rules.time_zone),
            one.destination,
            one.read().title,
            one.state,
            str(one.attempts),
            moment_in(moment, rules.time_zone),
            one.error,
        )
        table.add_row(*(Text(cell) for cell in cells))
    out.print(table)
