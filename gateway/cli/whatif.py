"""`jobgate whatif`: what the last weeks would have cost by other rules, and what came of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from gateway.cli import whatif_words as words
from gateway.cli.opening import open_books
from gateway.cli.options import (
    DEFAULT_DATABASE,
    DEFAULT_ORG,
    DEFAULT_PROCESSES,
    DEFAULT_ROUTES,
    DatabaseUrl,
    Organisation,
    Processes,
    RoutesFile,
    err,
    interactive,
    out,
    rules_of,
    told_plainly,
)
from gateway.cli.whatif_words import Page
from gateway.clock import SystemClock, to_micros
from gateway.errors import ConfigurationError
from gateway.insight import differences
from gateway.insight.placing import CONFINED
from gateway.insight.promises import FollowQuestion, follow
from gateway.insight.whatif import Question, WhatIf, ask, last_days
from gateway.jobs.files import Files
from gateway.jobs.routes import Routes
from gateway.money import quantity

DAYS_AT_MOST = 3660
_PERCENT = re.compile(r"([0-9]{1,6})(?:\.([0-9]{1,6}))?%?")


class Format(StrEnum):
    """How the answer is printed."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


def whatif(
    new: Annotated[
        Path | None, typer.Argument(help="The changed routes.yaml; what it includes is beside it.")
    ] = None,
    *,
    days: Annotated[
        int, typer.Option(min=1, max=DAYS_AT_MOST, help="How much traffic to replay.")
    ] = 30,
    follow_version: Annotated[
        str, typer.Option("--follow", help="A version that went live: promised and delivered.")
    ] = "",
    output: Annotated[Format, typer.Option("--format")] = Format.TABLE,
    fail_if_increase: Annotated[
        str, typer.Option(help="Exit status 1 when it would cost so much more, such as 10%.")
    ] = "",
    fail_if_refused: Annotated[
        bool, typer.Option("--fail-if-refused", help="Exit status 1 when any would be refused.")
    ] = False,
    prices_on: Annotated[
        str, typer.Option(help="Use the prices of a day; else those of each request's own.")
    ] = "",
    processes: Processes = DEFAULT_PROCESSES,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    routes: RoutesFile = DEFAULT_ROUTES,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """What past traffic would have cost by other rules; nothing is written.

    Exit status 1 when a request of a private job would, or could, leave the house, or when one of
    the --fail-if options says so.
    """
    with told_plainly():
        if (new is None) == (not follow_version):
            raise ConfigurationError(["name the changed routes.yaml, or --follow a version"])
        if new is None:
            if fail_if_increase or fail_if_refused or prices_on:
                said = "--fail-if-increase, --fail-if-refused and --prices-on are for a file"
                raise ConfigurationError([f"{said}; --follow only tells what came"])
            _follow(follow_version, days, processes, output, (database_url, org))
            return
        limit = parse_percent(fail_if_increase) if fail_if_increase else None
        files = Files.at(new)
        rules, _book = rules_of(files)
        question = Question(
            new=files,
            period=last_days(days, SystemClock().now()),
            processes=processes,
            prices_at=_day(prices_on, rules) if prices_on else None,
            default=_default(routes),
        )
        with open_books(database_url, there=True) as database, progress_bar() as progress:
            found = ask(database, org, rules_of, question, progress)
    _print(found, str(new), output)
    failures = list(_failures(found, limit, fail_if_refused))
    for failure in failures:
        err.print(failure, style="red", markup=False, highlight=False)
    if failures:
        raise typer.Exit(1)


def parse_percent(text: str) -> Fraction:
    """The part that a person wrote as "10%" or "2.5". Raises ConfigurationError."""
    found = _PERCENT.fullmatch(text.strip())
    if found is None:
        raise ConfigurationError([f"--fail-if-increase {text!r}: write a percentage, such as 10%"])
    return Fraction(f"{found[1]}.{found[2] or 0}") / 100


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error when a person is looking; told entries so far and in all."""
    with Progress(
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} entries"),
        BarColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not interactive(),
    ) as bar:
        task = bar.add_task("")
        yield lambda so_far, all_: bar.update(task, completed=so_far, total=all_)


def _follow(
    version: str, days: int, processes: int, output: Format, books: tuple[str, str]
) -> None:
    database_url, org = books
    with open_books(database_url, there=True) as database, progress_bar() as progress:
        question = FollowQuestion(days, SystemClock().now(), processes, progress)
        found = follow(database, org, rules_of, version, question)
    if output is Format.JSON:
        typer.echo(json.dumps(words.follow_data(found)))
        return
    _print_pages(words.follow_headline(found), [], [words.follow_page(found)], [], output)


def _failures(found: WhatIf, limit: Fraction | None, refused: bool) -> Iterator[str]:
    """Why a check of a change fails."""
    whole = differences.total(found.tally)
    if any(group.leaves == CONFINED for group in found.tally.groups):
        yield "requests of a job that was confined to the house would, or could, leave it"
    if limit is not None and (whole.change is None or whole.change > limit):
        told, most = words.percent(whole.change), words.percent(limit)
        yield f"the cost changes by {told}, more than {most}"
    if refused and whole.refused:
        yield f"{quantity(whole.refused, 'requests')} would be refused"


def _print(found: WhatIf, name: str, output: Format) -> None:
    if output is Format.JSON:
        typer.echo(json.dumps(words.as_data(found, name)))
        return
    told = words.warnings(found)
    _print_pages(words.headline(found, name), told, words.pages(found), words.notes(found), output)


def _print_pages(
    headline: str,
    warnings: Sequence[str],
    pages: Iterator[Page] | Sequence[Page],
    notes: Sequence[str],
    output: Format,
) -> None:
    if output is Format.MARKDOWN:
        typer.echo("\n".join(_markdown(headline, warnings, pages, notes)))
        return
    out.print(headline, style="bold", markup=False, highlight=False)
    for warning in warnings:
        out.print(warning, style="yellow", markup=False, highlight=False)
    for page in pages:
        table = Table(title=page.heading, title_justify="left")
        for number, column in enumerate(page.columns):
            side: Literal["left", "right"] = "left" if number < page.texts else "right"
            table.add_column(column, justify=side, overflow="fold")
        for row in page.rows:
            table.add_row(*(cell.replace("[", r"\[") for cell in row))
        out.print(table)
    for note in notes:
        out.print(f"* {note}", markup=False, highlight=False)


def _markdown(
    headline: str,
    warnings: Sequence[str],
    pages: Iterator[Page] | Sequence[Page],
    notes: Sequence[str],
) -> Iterator[str]:
    """A comment for a pull request: the first table open, the others folded."""
    yield f"### {_plain(headline)}"
    yield ""
    for warning in warnings:
        yield f"- **{_plain(warning)}**"
    if warnings:
        yield ""
    for number, page in enumerate(pages):
        if number:
            yield f"<details><summary>{page.heading}</summary>"
            yield ""
        yield "| " + " | ".join(page.columns) + " |"
        yield (
            "|"
            + "|".join("---" if n < page.texts else "---:" for n in range(len(page.columns)))
            + "|"
        )
        for row in page.rows:
            yield "| " + " | ".join(_plain(cell) for cell in row) + " |"
        yield ""
        if number:
            yield "</details>"
            yield ""
    for note in notes:
        yield f"- {_plain(note)}"


_SPECIAL = re.compile(r"([\\|<`*_\[\]])")


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: names are anybody's."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _day(text: str, rules: Routes) -> int:
    """The midnight with which a day begins. Raises ConfigurationError."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            [f"--prices-on {text!r} is not a day such as 2026-12-01"]
        ) from None
    return to_micros(datetime(day.year, day.month, day.day, tzinfo=rules.time_zone))


def _default(path: Path) -> Files | None:
    """The rules on disk, if they are rules: what counts as live in books without any version."""
    files = Files.at(path)
    try:
        rules_of(files)
    except ConfigurationError:
        return None
    return files
