"""`jobgate prices rerate`: what corrected prices would have moved, and moving it."""

from __future__ import annotations

import getpass
import json
from collections import defaultdict
from typing import Annotated, Any

import typer
from rich.table import Table

from gateway.cli.authorship import typed_by
from gateway.cli.books import period_of
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
from gateway.cli.statements import calendar_of
from gateway.clock import SystemClock, to_datetime
from gateway.errors import ConfigurationError
from gateway.money import format_dollars
from gateway.treasury.bills import post_in_batches
from gateway.treasury.rerating import Rerating

Author = Annotated[str, typer.Option(help="Who says so; your login name when empty.")]


def rerate(
    *,
    from_: Annotated[str, typer.Option("--from", help="First day, in the organisation's zone.")],
    to: Annotated[str, typer.Option("--to", help="Last day, itself included.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell; post nothing.")] = False,
    reason: Annotated[str, typer.Option(help="Why; told in every adjusting entry.")] = "",
    author: Author = "",
    routes: RoutesFile = DEFAULT_ROUTES,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
    as_json: AsJson = False,
) -> None:
    """Recompute entries with the prices that routes.yaml and the price book say now."""
    with told_plainly():
        rules, book = read_routes(routes)
        period, calendar = period_of(from_, to, rules.time_zone), calendar_of(rules)
        why = reason or f"routes.yaml {rules.version[:12]}, {book.version}"
        sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        with open_books(database_url) as database:
            rerating = Rerating(database, org, rules, book)
            for moves in rerating.moves(period):
                for move in moves:
                    month = f"{to_datetime(move.admitted_at).astimezone(rules.time_zone):%Y-%m}"
                    found = sums[move.team, month]
                    found[0] += 1
                    found[1] += move.nanos
                if not dry_run:
                    who = author_of(author)
                    fresh = [move.correction(why, who) for move in moves]
                    clock = SystemClock()
                    post_in_batches(database, org, calendar, fresh, typed_by(who), clock)
    rows = [
        {"team": team, "month": month, "entries": entries, "moved_nanos": nanos}
        for (team, month), (entries, nanos) in sorted(sums.items())
    ]
    if as_json:
        told = {
            "posted": not dry_run,
            "seen": rerating.seen,
            "moved": [_exact(row) for row in rows],
            "unpriced": dict(sorted(rerating.unpriced.items())),
        }
        typer.echo(json.dumps(told))
    else:
        _print(rows, rerating, dry_run)


def author_of(named: str) -> str:
    """Who stands in adjusting entries. Raises ConfigurationError when nobody can be found."""
    if named.strip():
        return named.strip()
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        raise ConfigurationError(["--author: say who posts this correction"]) from None


def _exact(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "moved_usd": format_dollars(row["moved_nanos"])}


def _print(rows: list[dict[str, Any]], rerating: Rerating, dry_run: bool) -> None:
    for target, entries in sorted(rerating.unpriced.items()):
        said = f"{target} has no price now; its {entries:,} entries were left as they are"
        err.print(said, style="yellow", markup=False, highlight=False)
    table = Table("team", "month", title="What other prices move, in USD")
    for heading in ("entries", "USD"):
        table.add_column(heading, justify="right")
    for row in rows:
        usd = format_dollars(row["moved_nanos"])
        table.add_row(row["team"], row["month"], f"{row['entries']:,}", usd)
    if rows:
        out.print(table)
    entries = sum(row["entries"] for row in rows)
    total = format_dollars(sum(row["moved_nanos"] for row in rows))
    verb = "would move" if dry_run else "moved"
    out.print(
        f"{rerating.seen:,} entries looked at, {entries:,} {verb} {total} USD in all.",
        highlight=False,
    )
