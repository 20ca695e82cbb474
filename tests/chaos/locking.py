"""Another process that keeps a SQLite database locked for a while, as a backup might.

`python -m tests.chaos.locking FILE SECONDS` says "locked" when it has the lock.
"""

from __future__ import annotations

import sqlite3
import sys
import time


def main() -> None:
    """Take the lock of the writer, keep it for so many seconds, give it back."""
    file, seconds = sys.argv[1:]
    connection = sqlite3.connect(file, timeout=60, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    print("locked", flush=True)
    time.sleep(float(seconds))
    connection.execute("ROLLBACK")
    connection.close()


if __name__ == "__main__":
    main()
