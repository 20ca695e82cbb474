"""`jobgate export`: what was charged, in formats that other programs read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Protocol, cast

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from gateway.cli.books import period_of
from gateway.cli.opening import open_books
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
    read_routes,
    told_plainly,
)
from gateway.errors import ConfigurationError
from gateway.ledger.focus import Account, Row, focus_rows
from gateway.ledger.focus_files import read_csv, write_csv
from gateway.ledger.focus_rules import Checker, Text, Violation

commands = typer.Typer(help="Cost exports.", no_args_is_help=True)

_SHOWN = 50
"""Violations that are listed; more are counted."""
_PARQUET = ".parquet"


class _ParquetFiles(Protocol):
    """What `gateway.ledger.parquet` does; it is there when pyarrow is installed."""

    def write_parquet(self, rows: Iterable[Row], path: Path) -> int: ...

    def read_parquet(self, path: Path) -> tuple[Sequence[str], Iterator[Text]]: ...


@commands.command()
def focus(
    *,
    from_: Annotated[str, typer.Option("--from", help="First day; this month's when empty.")] = "",
    to: Annotated[str, typer.Option("--to", help="Last day, itself included; today.")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", help="The file to write: .csv or .parquet.")
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", help="Write nothing: check this file against the rules of FOCUS."),
    ] = None,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    routes: RoutesFile = DEFAULT_ROUTES,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """The costs of a period in the FinOps FOCUS 1.2 format, or a check of such a file."""
    with told_plainly():
        if check is not None and output is None:
            _check(check)
            return
        if output is None or check is not None:
            raise ConfigurationError(["say either --output FILE or --check FILE"])
        rules = read_routes(routes)[0]
        write = _writer_for(output)
        period = period_of(from_, to, rules.time_zone)
        account = Account(org, rules.organisation, rules.time_zone)
        with open_books(database_url) as database, _written(output) as unfinished:
            rows = _counted(focus_rows(database, period, account))
            number = write(rows, unfinished)
        out.print(f"{output}: {number:,} rows", highlight=False, markup=False)


def _writer_for(path: Path) -> Callable[[Iterable[Row], Path], int]:
    if path.suffix == _PARQUET:
        return _parquet().write_parquet
    if path.suffix == ".csv":
        return _write_csv
    raise ConfigurationError([f"{path}: name a file that ends in .csv or .parquet"])


def _write_csv(rows: Iterable[Row], path: Path) -> int:
    with path.open("w", encoding="utf-8", newline="") as file:
        return write_csv(rows, file)


@contextmanager
def _written(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place when it is complete, and else is removed."""
    unfinished = path.with_name(f".{path.name}.part")
    try:
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        raise ConfigurationError([f"{path}: cannot be written: {error.strerror}"]) from None
    finally:
        unfinished.unlink(missing_ok=True)


def _counted(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, and how many there were on a terminal."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.completed:,.0f} rows"),
        console=err,
        transient=True,
        disable=not interactive(),
    ) as progress:
        task = progress.add_task("rows", total=None)
        for row in rows:
            progress.advance(task)
            yield row


def _check(path: Path) -> None:
    """Tell what is against the rules; exit status 1 when something is."""
    checker, found = Checker(), 0
    try:
        for violation in _violations(path, checker):
            found += 1
            if found <= _SHOWN:
                where = f"row {violation.row}" if violation.row else "heading"
                said = f"{where}, {violation.column}: {violation.message}"
                out.print(said, style="red", markup=False, highlight=False)
    except OSError as error:
        raise ConfigurationError([f"{path}: cannot be read: {error.strerror or error}"]) from None
    except ValueError as error:
        raise ConfigurationError([f"{path}: {error}"]) from None
    if found > _SHOWN:
        out.print(f"and {found - _SHOWN:,} more", style="red")
    state = f"{found:,} violations" if found else "all rules of FOCUS 1.2 are kept"
    out.print(f"{checker.rows:,} rows, {state}.", highlight=False)
    if found:
        raise typer.Exit(1)


def _violations(path: Path, checker: Checker) -> Iterator[Violation]:
    if path.suffix == _PARQUET:
        heading, rows = _parquet().read_parquet(path)
        yield from _of_all(checker, heading, rows)
        return
    with path.open(encoding="utf-8", newline="") as file:
        heading, rows = read_csv(file)
        yield from _of_all(checker, heading, rows)


def _of_all(checker: Checker, heading: Sequence[str], rows: Iterable[Text]) -> Iterator[Violation]:
    yield from checker.heading(heading)
    for row in rows:
        yield from checker.row(row)


def _parquet() -> _ParquetFiles:
    try:
        return cast(_ParquetFiles, import_module("gateway.ledger.parquet"))
    except ImportError:
        install = "pip install 'jobgate[parquet]'"
        raise ConfigurationError([f"Parquet needs the package pyarrow: {install}"]) from None
