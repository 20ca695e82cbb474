"""`jobgate canary`: how the targets on trial do beside a job's own."""

from __future__ import annotations

import json
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
from gateway.clock import MICROS, SystemClock, to_datetime
from gateway.insight.canaries import NEW, OLD, Trial, figure, in_words, look_at, notes, told
from gateway.jobs.routes import Job

_DAY = 86_400 * MICROS


class Format(StrEnum):
    """How a report is printed."""

    TABLE = "table"
    JSON = "json"


def canary(
    job: Annotated[str, typer.Argument(help="A job or an alias.")],
    *,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How far to look back.")] = 30,
    output: Annotated[Format, typer.Option("--format")] = Format.TABLE,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    routes: RoutesFile = DEFAULT_ROUTES,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Compare a job's canary with its own targets: cost, time, failures, length of answers."""
    with told_plainly():
        rules, _book = read_routes(routes)
        picked = rules.pick(job)
        now = SystemClock().now()
        with open_books(database_url) as database:
            found = look_at(database, org, picked.name, now - days * _DAY, now)
    if output is Format.JSON:
        typer.echo(json.dumps(None if found is None else told(found)))
    elif found is None:
        _nothing(picked, days)
    else:
        _print(picked, found)


def _nothing(job: Job, days: int) -> None:
    why = (
        "routes.yaml gives it none: add canary with targets and percent"
        if job.canary is None
        else f"it takes {job.canary.percent:g}% by {job.canary.tag or 'app'}"
    )
    out.print(
        f"No request of job {job.name} went to a canary in the last {days} days; {why}.",
        highlight=False,
    )


def _print(job: Job, trial: Trial) -> None:
    share = "over" if job.canary is None else f"now {job.canary.percent:g}% by {trial.by}"
    out.print(
        f"Canary of {job.name} ({share}), since {to_datetime(trial.since):%Y-%m-%d %H:%M} UTC",
        highlight=False,
    )
    for name in (OLD, NEW):
        side = trial.sides[name]
        asked = ", ".join(f"{target} {count:,}" for target, count in side.targets.items())
        noun = "apps" if trial.by == "app" else f"values of {trial.by}"
        said = f"{name}: {side.requests:,} requests of {side.values:,} {noun}; asked {asked}"
        out.print(said, highlight=False)
    table = Table("for each request", "old", "new", "difference (95% confidence)")
    for measure in trial.measures:
        means = (measure.difference.old, measure.difference.new)
        shown = ["none" if mean is None else figure(measure.name, mean) for mean in means]
        words = in_words(measure).partition(": ")[2]
        label = "cost of 1,000" if measure.name == "cost" else measure.name
        table.add_row(label, *shown, words)
    out.print(table)
    for note in notes(trial):
        out.print(note, highlight=False)
