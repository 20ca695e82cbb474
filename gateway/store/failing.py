"""How a database says no. It stands alone, so that who only tells of it needs no database."""

from __future__ import annotations


class DatabaseDown(Exception):
    """The database cannot be reached, is full, locked or read-only."""


class DatabaseBusy(DatabaseDown):
    """Another writer has the database just now, or was first; the same will do in a moment."""


class DatabaseConflict(Exception):
    """A constraint said no, or a value cannot be kept: the same will never do."""
