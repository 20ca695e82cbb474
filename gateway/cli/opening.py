"""Opening the books for a command: what every command that reads or writes them begins with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.store.database import Database
from gateway.store.schema import migrate


@contextmanager
def open_books(url: str) -> Iterator[Database]:
    """The database with its tables up to date, closed at the end."""
    database = Database(url)
    try:
        migrate(database)
        yield database
    finally:
        database.close()
