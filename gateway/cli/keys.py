"""`jobgate keys`: make, list, change, rotate and revoke keys, while the gateway runs or not."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from gateway.callers.registry import NewKey, Registry
from gateway.callers.roles import APP, ROLES
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
    err,
    out,
    read_routes,
    told_plainly,
)
from gateway.clock import SystemClock, to_datetime, to_micros
from gateway.errors import ConfigurationError
from gateway.jobs.problems import nearest
from gateway.money import for_people, parse_dollars
from gateway.treasury.periods import every

commands = typer.Typer(help="Keys of apps and people.", no_args_is_help=True)

_BUDGET = re.compile(
    r"\$?\s*(?P<usd>\d+(?:\.\d+)?)\s*(?:usd)?\s*(?:(?:/|per|an?)\s*(?P<period>[a-z_]+))?",
    re.IGNORECASE,
)
_PERIODS = ("hour", "day", "week", "month", "quarter", "year", "fiscal_year", "forever")
_LENGTH = re.compile(r"(\d+)([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_DIGITS_OF_A_LENGTH = 6
_ROLES = f"{', '.join(ROLES)}; for one team alone such as finance@brand."

KeyId = Annotated[str, typer.Argument(help="The id of the key, such as key_1f2e...")]
Author = Annotated[str, typer.Option(help="Who; the login name when empty.")]
Addresses = Annotated[
    str, typer.Option(help="Networks it may be used from, such as 10.1.0.0/16,10.2.3.4.")
]


@commands.command()
def create(
    *,
    team: Annotated[str, typer.Option(help="Who pays.")],
    app: Annotated[str, typer.Option(help="Who calls.")],
    jobs: Annotated[str, typer.Option(help="Jobs it may use, such as a,b; all when empty.")] = "",
    default_job: Annotated[str, typer.Option(help="The job when a request names none.")] = "",
    budget: Annotated[
        str, typer.Option(help="Such as 50/month, in USD; a month if none is named.")
    ] = "",
    expires: Annotated[str, typer.Option(help="Such as 90d, 12h, or 2027-01-31.")] = "",
    role: Annotated[str, typer.Option(help=_ROLES)] = APP,
    addresses: Addresses = "",
    author: Author = "",
    as_json: AsJson = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    routes: RoutesFile = DEFAULT_ROUTES,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Make a key; its secret is printed this once."""
    with told_plainly():
        names = _listed(jobs) or None
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
            addresses=_listed(addresses),
        )
        with open_books(database_url) as database:
            by = typed_by(author)
            key_id, secret = Registry(database, org, SystemClock()).create(new, by)
    _show_secret(key_id, secret, as_json)


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
    headings = ("id", "ends in", "role", "team", "app", "jobs", "budget", "from", "state")
    table = Table(*headings)
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
            key["addresses"].replace(" ", ", ") or "anywhere",
            _state(key),
        )
    out.print(table)


@commands.command()
def change(
    key_id: KeyId,
    *,
    jobs: Annotated[str | None, typer.Option(help="Jobs it may use; all when empty.")] = None,
    default_job: Annotated[str | None, typer.Option(help="None when empty.")] = None,
    expires: Annotated[
        str | None, typer.Option(help="Such as 90d or 2027-01-31; never when empty.")
    ] = None,
    addresses: Annotated[
        str | None, typer.Option(help="Such as 10.1.0.0/16; anywhere when empty.")
    ] = None,
    role: Annotated[str | None, typer.Option(help=_ROLES)] = None,
    author: Author = "",
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    routes: RoutesFile = DEFAULT_ROUTES,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Change what a key may do, from where, or until when; the secret stays."""
    with told_plainly():
        wanted: dict[str, Any] = {}
        if jobs is not None:
            wanted["jobs"] = _listed(jobs) or None
        if default_job is not None:
            wanted["default_job"] = default_job or None
        if expires is not None:
            wanted["expires_at"] = parse_expiry(expires, datetime.now(UTC)) if expires else None
        if addresses is not None:
            wanted["addresses"] = _listed(addresses)
        if role is not None:
            wanted["role"] = role
        if not wanted:
            raise ConfigurationError(["say what to change: --jobs, --expires, --addresses, ..."])
        _check_jobs(routes, (*_listed(jobs or ""), *_listed(default_job or "")))
        with open_books(database_url) as database:
            Registry(database, org, SystemClock()).change(key_id, wanted, typed_by(author))
    out.print(f"{key_id} is changed", highlight=False)


@commands.command()
def rotate(
    key_id: KeyId,
    *,
    overlap: Annotated[
        str, typer.Option(help="How long the secret before stays good: 24h, 7d; 0 when it leaked.")
    ] = "24h",
    author: Author = "",
    as_json: AsJson = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Give a key a new secret; it keeps its id, its budget and its history."""
    with told_plainly():
        seconds = _seconds(overlap)
        with open_books(database_url) as database:
            registry = Registry(database, org, SystemClock())
            secret, until = registry.rotate(key_id, seconds, typed_by(author))
    _show_secret(key_id, secret, as_json)
    err.print(f"The secret before ends at {to_datetime(until):%Y-%m-%d %H:%M} UTC.", style="dim")


@commands.command()
def revoke(
    key_id: KeyId,
    *,
    author: Author = "",
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Revoke a key; running gateways refuse it within a second."""
    with told_plainly(), open_books(database_url) as database:
        if not Registry(database, org, SystemClock()).revoke(key_id, typed_by(author)):
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


def _seconds(text: str) -> int:
    """Seconds of "24h" or "0". Raises ConfigurationError."""
    length = _LENGTH.fullmatch(text.strip())
    if text.strip() == "0":
        return 0
    if length is None or len(length[1]) > _DIGITS_OF_A_LENGTH:
        raise ConfigurationError([f"overlap {text!r}: write a length such as 24h or 7d, or 0"])
    return int(timedelta(**{_UNITS[length[2]]: int(length[1])}).total_seconds())


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _show_secret(key_id: str, secret: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"id": key_id, "key": secret}))
        return
    out.print(f"id:  {key_id}", highlight=False)
    out.print(f"key: {secret}", highlight=False)
    err.print("The key is shown this once; the database has only its hash.", style="dim")


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
    addresses = key["addresses"].split()
    return {**key, "jobs": jobs, "addresses": addresses, "state": _state(key)}


def _budget_of(key: dict[str, Any]) -> str:
    return f"{for_people(key['budget_nanos'])} {every(key['budget_period'])}"


def _state(key: dict[str, Any]) -> str:
    if key["revoked_at"] is not None:
        return "revoked"
    if key["expires_at"] is None:
        return "in use"
    expiry = to_datetime(key["expires_at"])
    return "expired" if expiry <= datetime.now(UTC) else f"until {expiry:%Y-%m-%d}"
