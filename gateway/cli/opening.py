"""Opening the books for a command: what every command that reads or writes them begins with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import ConfigurationError
from gateway.store.database import Database, file_of
from gateway.store.schema import migrate


@contextmanager
def open_books(url: str, *, there: bool = False) -> Iterator[Database]:
    """The database with its tables up to date, closed at the end.

    Raises ConfigurationError when they have to be `there` and are a SQLite file that is not: books
    that are empty because their name was mistyped would look as if all were well.
    """
    file = file_of(url)
    if there and file is not None and not file.exists():
        raise ConfigurationError(
            [
                f"there are no books at {file}: set JOBGATE_DATABASE_URL to those that the gateway"
                " writes; `jobgate serve` begins new ones"
            ]
        )
    database = Database(url)
    try:
        migrate(database)
        yield database
    finally:
        database.close()
