"""Copying SQLite's write-ahead log back into its database file, beside everything else.

SQLite would do it inside a commit, whenever the log has grown by a thousand pages, and wait for
the disk meanwhile. Here a thread does it on a connection of its own, without stopping writers.
"""

from __future__ import annotations

import logging
import threading

from gateway.store.database import Database, DatabaseDown

log = logging.getLogger(__name__)

EVERY_SECONDS = 0.5


class Checkpoints:
    """The thread; start it once, stop it once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after one last time. Blocks."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_SECONDS):
            self._copy("PASSIVE")
        self._copy("TRUNCATE")

    def _copy(self, how: str) -> None:
        try:
            self._database.checkpoint(how)
        except DatabaseDown as error:
            log.debug("the log is copied later: %s", error)
