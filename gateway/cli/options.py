"""Options that several commands share, and how problems are told."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from gateway.errors import ConfigurationError, Refused
from gateway.jobs.files import Files
from gateway.jobs.loading import load_files
from gateway.jobs.routes import Routes
from gateway.prices.book import PriceBook
from gateway.settings import DEFAULT_DATABASE
from gateway.store.failing import DatabaseConflict, DatabaseDown


class _Whole(Console):
    """Cuts no word and no figure off a table, which is wider than the screen if it has to be."""

    def print(self, *objects: Any, **options: Any) -> None:
        for column in (each for one in objects if isinstance(one, Table) for each in one.columns):
            texts = (column.header, column.footer, *column.cells)
            words = (word for text in texts for word in str(text).split())
            column.min_width = max(map(cell_len, words), default=0)
        super().print(*objects, **options)


out = _Whole(soft_wrap=True, markup=False)
err = Console(stderr=True, soft_wrap=True, markup=False)
"""Square brackets are text: what is printed may be a caller's tag or somebody's reason."""

RoutesFile = Annotated[
    Path, typer.Option("--routes", envvar="JOBGATE_ROUTES", help="The routing rules.")
]
DatabaseUrl = Annotated[
    str,
    typer.Option(
        "--database-url",
        envvar="JOBGATE_DATABASE_URL",
        help="sqlite:///FILE, or postgresql://USER@HOST/NAME for several processes.",
    ),
]
Host = Annotated[str, typer.Option(envvar="JOBGATE_HOST", help="The address to listen on.")]
_PORT_AT_MOST = 65535  # the server takes a larger one for another port, and says nothing
Port = Annotated[
    int,
    typer.Option(envvar="JOBGATE_PORT", min=0, max=_PORT_AT_MOST, help="The port to listen on."),
]
Organisation = Annotated[
    str,
    typer.Option(
        "--org", envvar="JOBGATE_ORG", help="The organisation's key in the database.", hidden=True
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_PROCESSES_AT_MOST = 16
Processes = Annotated[int, typer.Option(min=1, max=_PROCESSES_AT_MOST, help="How many work at it.")]

DEFAULT_PROCESSES = min(_PROCESSES_AT_MOST, os.cpu_count() or 1)
DEFAULT_ROUTES = Path("routes.yaml")
PRICE_BOOK_VARIABLE = "JOBGATE_PRICE_BOOK"
"""The environment variable that names a price book to use instead of the bundled one."""
TRY_AGAIN_LATER = 75
"""Exit status when the same command may work in a moment (EX_TEMPFAIL of sysexits.h)."""
DEFAULT_ORG = "main"
__all__ = ["DEFAULT_DATABASE", "DEFAULT_ORG", "DEFAULT_ROUTES"]


@contextmanager
def told_plainly() -> Iterator[None]:
    """Problems and refusals (exit status 2) and a database that is away (75), as sentences."""
    try:
        yield
    except Refused as refusal:
        err.print(refusal.message, style="red", markup=False, highlight=False)
        raise typer.Exit(2) from None
    except ConfigurationError as error:
        for problem in error.problems:
            err.print(problem, style="red", markup=False, highlight=False)
        raise typer.Exit(2) from None
    except (DatabaseDown, DatabaseConflict) as error:
        err.print(f"the database: {error}", style="red", markup=False, highlight=False)
        raise typer.Exit(TRY_AGAIN_LATER) from None


def read_routes(path: Path) -> tuple[Routes, PriceBook]:
    """The routing rules and the price book. Raises ConfigurationError."""
    return rules_of(Files.at(path))


def rules_of(files: Files) -> tuple[Routes, PriceBook]:
    """The routing rules in a set of files, and the price book. Raises ConfigurationError."""
    book = read_book(None)
    return load_files(files, book=book, environment=os.environ), book


def read_book(path: Path | None) -> PriceBook:
    """The price book in a file; None is the one in use: JOBGATE_PRICE_BOOK's, else the bundled.

    Raises ConfigurationError when the file cannot be read or is not a price book.
    """
    named = path or os.environ.get(PRICE_BOOK_VARIABLE)
    if not named:
        return PriceBook.bundled()
    try:
        text = Path(named).read_bytes()
    except OSError as error:
        raise ConfigurationError([f"{named}: cannot be read: {error.strerror or error}"]) from None
    try:
        return PriceBook(text)
    except (ConfigurationError, ValueError) as error:
        raise ConfigurationError([f"{named} is not a price book: {error}"]) from None


def interactive() -> bool:
    """Whether a person is looking at standard error."""
    return sys.stderr.isatty()
