"""`jobgate keys`: make, list and revoke keys, while the gateway runs or not."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from gateway.callers.callers import APP
from gateway.callers.registry import NewKey, Registry
from gateway.cli.options import (
    DEFAULT_DATABASE,
    DEFAULT_ORG,
    DEFAULT_ROUTES,
    AsJson,
    DatabaseUrl,
    Organisation,
    RoutesFile,
    err,
    open_books,
    out,
    read_routes,
    told_plainly,
)
from gateway.clock import SystemClock, to_datetime, to_micros
from gateway.errors import ConfigurationError
from gateway.jobs.problems import nearest
from gateway.money import for_people, parse_dollars

commands = typer.Typer(help="Keys of apps and people.", no_args_is_help=True)

_BUDGET = re.compile(
    r"\$?\s*(?P<usd>\d+(?:\.\d+)?)\s*(?:usd)?\s*(?:(?:/|per|an?)\s*(?P<period>[a-z_]+))?",
    re.IGNORECASE,
)
_PERIODS = ("hour", "day", "week", "month", "quarter", "year", "fiscal_year", "forever")
_LENGTH = re.compile(r"(\d+)([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


@commands.command()
def create(
    *,
    team: Annotated[str, typer.Option(help="Who pays.")],
    app: Annotated[str, typer.Option(help="Who calls.")],
    jobs: Annotated[str, typer.Option(help="Jobs it may use, such as a,b; all when empty.")] = "",
    default_job: Annotated[str, typer.Option(help="The job when a request names none.")] = "",
    budget: Annotated[str, typer.Option(help="Such as 50/month, in USD.")] = "",
    expires: Annotated[str, typer.Option(help="Such as 90d, 12h, or 2027-01-31.")] = "",
    role: Annotated[str, typer.Option(help="app, finance or admin.")] = APP,
    as_json: AsJson = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    routes: RoutesFile = DEFAULT_ROUTES,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Make a key; its secret is printed this once."""
    with told_plainly():
        names = tuple(name.strip() for name in jobs.split(",") if name.strip()) or None
        _check_jobs(routes, (*(names or ()), *((default_job,) if default_job else ())))
        nanos, period = parse_budget(budget) if budget else (None, None)
        new = NewKey(
            team=team,
            app=app,
            role=role,
            jobs=names,
            default_job=default_job or None,
            budget_nanos=nanos,
            budget_period=period,
            expires_at=parse_expiry(expires, datetime.now(UTC)) if expires else None,
        )
        with open_books(database_url) as database:
            key_id, secret = Registry(database, org, SystemClock()).create(new)
    if as_json:
        typer.echo(json.dumps({"id": key_id, "key": secret}))
        return
    out.print(f"id:  {key_id}", highlight=False)
    out.print(f"key: {secret}", highlight=False)
    err.print("The key is shown this once; the database has only its hash.", style="dim")


@commands.command("list")
def list_keys(
    *,
    as_json: AsJson = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Every key, oldest first."""
    with told_plainly(), open_books(database_url) as database:
        keys = Registry(database, org, SystemClock()).all()
    if as_json:
        typer.echo(json.dumps([_told(key) for key in keys]))
        return
    table = Table("id", "ends in", "role", "team", "app", "jobs", "budget", "state")
    for key in keys:
        budget = "" if key["budget_nanos"] is None else _budget_of(key)
        table.add_row(
            key["id"],
            key["hint"],
            key["role"],
            key["team"],
            key["app"],
            "all" if key["jobs"] == "*" else key["jobs"].replace(" ", ", "),
            budget,
            _state(key),
        )
    out.print(table)


@commands.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The id of the key, such as key_1f2e...")],
    *,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Revoke a key; running gateways refuse it within a second."""
    with told_plainly(), open_books(database_url) as database:
        if not Registry(database, org, SystemClock()).revoke(key_id):
            raise ConfigurationError([f"no key {key_id!r} is in use; see `jobgate keys list`"])
    out.print(f"{key_id} is revoked", highlight=False)


def parse_budget(text: str) -> tuple[int, str]:
    """Nano-dollars and period of "50/month" or "$12.50 a day"; a month when none is named.

    Raises ConfigurationError.
    """
    found = _BUDGET.fullmatch(text.strip())
    period = (found["period"] or "month").lower() if found else ""
    if found is None or period not in _PERIODS:
        raise ConfigurationError(
            [f"budget {text!r}: write an amount and a period, such as 50/month; periods are"
             f" {', '.join(_PERIODS)}"]
        )  # fmt: skip
    try:
        return parse_dollars(found["usd"]), period
    except ValueError as error:
        raise ConfigurationError([f"budget {text!r}: {error}"]) from None


def parse_expiry(text: str, now: datetime) -> int:
    """Microseconds since 1970 of "90d", "12h", "2w" or a date.

    Raises ConfigurationError for what is neither, or is over already.
    """
    length = _LENGTH.fullmatch(text.strip())
    try:
        if length:
            moment = now + timedelta(**{_UNITS[length[2]]: int(length[1])})
        else:
            moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise ConfigurationError(
            [f"expires {text!r}: write a length such as 90d, or a date such as 2027-01-31"]
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment <= now:
        raise ConfigurationError([f"expires {text!r}: that is over already"])
    return to_micros(moment)


def _check_jobs(routes: Path, names: tuple[str, ...]) -> None:
    """Names that routes.yaml does not have are mistakes, if there is a file to ask."""
    if not names or not routes.exists():
        return
    known = read_routes(routes)[0].jobs
    problems = [
        f"job {name!r} is not in {routes}{nearest(name, known)}"
        for name in names
        if name not in known
    ]
    if problems:
        raise ConfigurationError(problems)


def _told(key: dict[str, Any]) -> dict[str, Any]:
    jobs = None if key["jobs"] == "*" else key["jobs"].split()
    return {**key, "jobs": jobs, "state": _state(key)}


def _budget_of(key: dict[str, Any]) -> str:
    return f"{for_people(key['budget_nanos'])} a {key['budget_period']}"


def _state(key: dict[str, Any]) -> str:
    if key["revoked_at"] is not None:
        return "revoked"
    if key["expires_at"] is None:
        return "in use"
    expiry = to_datetime(key["expires_at"])
    return "expired" if expiry <= datetime.now(UTC) else f"until {expiry:%Y-%m-%d}"
