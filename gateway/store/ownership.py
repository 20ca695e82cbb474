"""One gateway process for one SQLite file.

SQLite has one writer at a time and its balances are only exact while one committer owns them, so
a second `serve` on the same file is refused. The lock is the operating system's: it goes with the
process, however that ends. The command line's other commands do not need it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from gateway.errors import ConfigurationError


class Ownership:
    """Holds the lock of a database file until it is released or the process ends."""

    def __init__(self, database_file: Path) -> None:
        path = database_file.with_name(database_file.name + ".lock")
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise ConfigurationError(
                [
                    f"{database_file} is served by another gateway process; stop that one, or use"
                    " PostgreSQL (--database-url postgresql://...) to run several"
                ]
            ) from None

    def release(self) -> None:
        """Let another process own the file."""
        os.close(self._file)
