"""`jobgate doctor`: looks at everything that a gateway needs, and says what to do.

Nothing is changed and nothing is paid for; it can run beside a gateway that serves. Every wait is
bounded: a call to a provider by --timeout, the database by its own five seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from gateway.cli.books_state import check_database, clock_of
from gateway.cli.diagnosis import ORDER, Diagnosis, State, ok, problem, warning, worst
from gateway.cli.installation import (
    check_litellm,
    check_lock,
    check_python,
    check_startup_files,
)
from gateway.cli.options import (
    DEFAULT_DATABASE,
    DEFAULT_ORG,
    DEFAULT_ROUTES,
    DatabaseUrl,
    Organisation,
    RoutesFile,
    err,
    interactive,
    out,
    rules_of,
)
from gateway.cli.premises import check_database_file, check_disk, check_keys, check_rules
from gateway.cli.provider_checks import Seen, check_clock, check_jobs, look_at_providers
from gateway.errors import ConfigurationError
from gateway.jobs.files import Files
from gateway.jobs.routes import Routes
from gateway.store.database import file_of

_COLOURS: dict[State, str] = {"ok": "green", "warning": "yellow", "problem": "red"}


class Format(StrEnum):
    """How it is printed."""

    TABLE = "table"
    JSON = "json"


def doctor(
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no provider.")] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=60, help="Seconds to wait for each provider.")
    ] = 5.0,
    output: Annotated[Format, typer.Option("--format")] = Format.TABLE,
    routes: RoutesFile = DEFAULT_ROUTES,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Look at rules, database, providers' keys, clock, disk, versions and files; what to do.

    It asks providers only for what costs nothing. Exit status 1 when there is a problem.
    """
    visit = _Visit(routes, database_url, org, offline, timeout)
    found: list[Diagnosis] = []
    with Progress(
        TextColumn("{task.completed:.0f} of {task.total:.0f}: {task.description}"),
        console=err,
        transient=True,
        disable=not interactive(),
    ) as progress:
        task = progress.add_task("", total=len(visit.steps))
        for name, step in visit.steps:
            progress.update(task, description=name)
            found += _taken(name, step)
            progress.advance(task)
    state = worst(found)
    if output is Format.JSON:
        typer.echo(json.dumps({"state": state, "checks": [asdict(each) for each in found]}))
    else:
        _print(found)
    if state == "problem":
        raise typer.Exit(1)


class _Visit:
    """What is looked at, in order; later steps use what earlier ones have found."""

    def __init__(
        self, routes: Path, database_url: str, org: str, offline: bool, timeout: float
    ) -> None:
        self._routes, self._url, self._org = routes, database_url, org
        self._offline, self._timeout = offline, timeout
        self._files = Files.at(routes)
        self._rules: Routes | None = None
        self._seen: dict[str, Seen] = {}
        self.steps: list[tuple[str, Callable[[], Iterable[Diagnosis]]]] = [
            ("configuration", self._configuration),
            ("database", self._database),
            ("providers", self._providers),
            ("clock", self._clock),
            ("disk", self._disk),
            ("versions", self._versions),
            ("file permissions", self._permissions),
            ("start-up files", check_startup_files),
        ]

    def _configuration(self) -> Iterable[Diagnosis]:
        try:
            rules, book = rules_of(self._files)
        except ConfigurationError as error:
            for told in error.problems:
                yield problem(
                    "configuration",
                    told,
                    "a gateway does not start with it, and one that runs keeps what it has",
                    "correct it; `jobgate check` says whether it is right",
                )
            return
        self._rules = rules
        for told in rules.warnings:
            yield warning("configuration", told, "it may not do what was meant", "see the file")
        yield ok(
            "configuration",
            f"{self._routes} is valid: {len(rules.jobs)} jobs, {len(rules.providers)} providers,"
            f" {len(rules.budgets)} budgets; prices {book.version}",
        )

    def _database(self) -> Iterable[Diagnosis]:
        live = "" if self._rules is None else self._rules.version
        return check_database(self._url, self._org, live)

    def _providers(self) -> Iterable[Diagnosis]:
        if self._rules is None:
            yield ok("providers", "not asked: the rules that name them are not valid")
            return
        if self._offline:
            yield ok("providers", "not asked: --offline")
            return
        self._seen = asyncio.run(look_at_providers(self._rules, os.environ, self._timeout))
        for seen in self._seen.values():
            yield seen.diagnosis
        yield from check_jobs(self._rules, self._seen)

    def _clock(self) -> Iterable[Diagnosis]:
        return [check_clock(clock_of(self._url), self._seen)]

    def _disk(self) -> Iterable[Diagnosis]:
        file = file_of(self._url)
        if file is None:
            return [ok("disk", "PostgreSQL's cannot be seen from here"), *check_disk(Path.cwd())]
        folder = next(path for path in (*file.absolute().parents, Path("/")) if path.is_dir())
        return check_disk(folder, file.with_name(file.name + "-wal"))

    def _versions(self) -> Iterable[Diagnosis]:
        return [*check_python(), check_litellm(), check_lock()]

    def _permissions(self) -> Iterable[Diagnosis]:
        found = check_rules(self._routes.parent / name for name in self._files.names)
        if self._rules is not None:
            named = (provider.api_key_file for provider in self._rules.providers.values())
            found += check_keys(map(Path, sorted({name for name in named if name})))
        file = file_of(self._url)
        if file is not None and file.exists():
            found += check_database_file(file)
        return found


def _taken(name: str, step: Callable[[], Iterable[Diagnosis]]) -> list[Diagnosis]:
    """What a step finds; that it cannot look is a finding too."""
    found: list[Diagnosis] = []
    try:
        for each in step():
            found.append(each)
    except ConfigurationError as error:
        found.append(problem(name, str(error), "it cannot be looked at", "correct it"))
    except OSError as error:
        said = f"{error.filename or ''} {error.strerror or error}".strip()
        found.append(problem(name, said, "it cannot be looked at", "see who may read it"))
    return found


def _print(found: list[Diagnosis]) -> None:
    table = Table("", "looked at", "found, what it means, and what to do", box=None)
    for each in sorted(found, key=lambda each: ORDER.index(each.state)):
        said = [each.found]
        if each.means:
            said += [f"  means: {each.means}", f"  do: {each.todo}"]
        table.add_row(Text(each.state, _COLOURS[each.state]), Text(each.check), "\n".join(said))
    out.print(table, markup=False)
    count = Counter(each.state for each in found)
    told = ", ".join(f"{count[state]} {state}{_plural(state, count[state])}" for state in ORDER)
    out.print(told + ".", style=_COLOURS[worst(found)], highlight=False)


def _plural(state: State, count: int) -> str:
    return "" if state == "ok" or count == 1 else "s"
