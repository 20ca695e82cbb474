"""`jobgate routes history | diff | rollback`: the versions of the rules that were ever live."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from gateway.callers.changes import ChangeLog
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
    rules_of,
    told_plainly,
)
from gateway.clock import SystemClock, to_datetime, to_text
from gateway.errors import ConfigurationError
from gateway.jobs.differing import difference
from gateway.jobs.files import Files
from gateway.jobs.versions import ROLLBACK, Kept, Version, Versions, Why
from gateway.jobs.writing import put_back
from gateway.pipeline.reloading import of_rules

ON_DISK = "file"
"""What stands for the files as they are now, where a version is asked for."""

commands = typer.Typer(
    help="Versions of routes.yaml, with all that it includes.", no_args_is_help=True
)

Named = Annotated[str, typer.Argument(help="A number, the beginning of a hash, or `file`.")]


@commands.command()
def history(
    *,
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 20,
    as_json: AsJson = False,
    routes: RoutesFile = DEFAULT_ROUTES,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """The versions that went live, the newest first, and which of them the file is."""
    with (
        told_plainly(),
        open_books(database_url, there=True) as database,
        database.reading() as cursor,
    ):
        found = Versions(org, database.engine_name).history(cursor, limit)
    on_disk = _on_disk(routes)
    if as_json:
        typer.echo(json.dumps([_told(version, on_disk.version) for version in found]))
        return
    table = Table("version", "hash", "live from (UTC)", "cause", "by", "reason", "")
    for version in found:
        table.add_row(
            str(version.number),
            version.short,
            f"{to_datetime(version.live_at):%Y-%m-%d %H:%M:%S}",
            version.cause,
            version.author,
            version.reason,
            "the file" if version.hash == on_disk.version else "",
        )
    out.print(table)
    if found and found[0].hash != on_disk.version:
        err.print(
            f"{routes} is not the newest version that went live;"
            f" see `jobgate routes diff {found[0].number} {ON_DISK}`",
            style="yellow",
            highlight=False,
        )


@commands.command()
def diff(
    before: Named,
    after: Named = ON_DISK,
    *,
    routes: RoutesFile = DEFAULT_ROUTES,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """What is different between two versions, file by file; `file` is what is on disk now."""
    with told_plainly():
        old, new = (_texts(name, routes, database_url, org) for name in (before, after))
    for line in difference(old, new, (before, after)):
        typer.echo(line)


@commands.command()
def rollback(
    version: Annotated[str, typer.Argument(help="A number, or the beginning of a hash.")],
    *,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the history.")],
    author: Annotated[str, typer.Option(help="Who; your account if left out.")] = "",
    routes: RoutesFile = DEFAULT_ROUTES,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Write the files of an earlier version again; running gateways take them over.

    What was there is kept beside them, in .before-rollback.
    """
    if not reason.strip():
        raise typer.BadParameter("say why", param_hint="--reason")
    with told_plainly(), open_books(database_url, there=True) as database:
        versions, clock, by = Versions(org, database.engine_name), SystemClock(), typed_by(author)
        with database.reading() as cursor:
            kept = versions.find(cursor, version)
        rules, book = rules_of(kept.files())
        now, there = clock.now(), _on_disk(routes)
        with database.writing() as cursor:  # a gateway that sees the files waits for the row
            why = Why(ROLLBACK, by.who, f"back to version {kept.version.number}: {reason.strip()}")
            row, is_new = versions.keep(cursor, rules, book.version, why, now)
            if is_new:
                ChangeLog(org, database.engine_name).append(cursor, [of_rules(row)], by, now)
            written = put_back(routes, kept, there, to_text(now))
    for warning in rules.warnings:
        err.print(f"warning: {warning}", style="yellow", markup=False, highlight=False)
    for name in written.files:
        out.print(f"wrote {name}", highlight=False)
    if written.saved is None:
        out.print(f"{routes} is version {kept.version.number} already", highlight=False)
    else:
        out.print(f"what was there is in {written.saved}", highlight=False)
        out.print(
            "Running gateways that follow these files take them over within some seconds. If the"
            " files come from a repository, change them there too.",
            highlight=False,
        )


def _texts(name: str, routes: Path, database_url: str, org: str) -> Mapping[str, str]:
    if name == ON_DISK:
        return _on_disk(routes).texts
    with open_books(database_url, there=True) as database, database.reading() as cursor:
        kept: Kept = Versions(org, database.engine_name).find(cursor, name)
    return {routes.name if n == kept.root else n: text for n, text in kept.texts.items()}


def _on_disk(routes: Path) -> Files:
    """The files as they are, right or wrong."""
    files = Files.at(routes)
    with suppress(ConfigurationError):
        rules_of(files)
    return files


def _told(version: Version, on_disk: str) -> dict[str, object]:
    told = {**msgspec.structs.asdict(version), "live_at": to_text(version.live_at)}
    return {**told, "is_the_file": version.hash == on_disk}
