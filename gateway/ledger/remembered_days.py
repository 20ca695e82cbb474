"""Days of the roll-ups that were read before, good for as long as nothing was added to them.

A page asks for a month again and again, and most of its days are as they were. But no day is ever
taken for finished: an entry may come late, to an hour that is long over. So whoever asks counts
first, in the same transaction, what a day has now, and is given what is remembered only where that
is what it had. Entries are never edited and never deleted, and each adds one to the count of one
hour, in its own commit: the same count means the same entries, and so the same rows. The other
sums are compared besides.

This room does not read the books, and does not know what the rows mean.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any

Row = tuple[Any, ...]
ROWS_AT_MOST = 200_000
"""Rows in memory, of about 250 bytes each; the days that nobody asked for the longest go first."""


class RememberedDays:
    """Rows by what was asked for, of which hours; for any number of threads."""

    def __init__(self, rows_at_most: int = ROWS_AT_MOST) -> None:
        self._rows_at_most = rows_at_most
        self._known: OrderedDict[Hashable, tuple[Row, Sequence[Row]]] = OrderedDict()
        self._rows = 0
        self._lock = threading.Lock()

    def recall(self, asked: Hashable, count: Row) -> Sequence[Row] | None:
        """What was kept for the same question, if its count was the same; None if not."""
        with self._lock:
            found = self._known.get(asked)
            if found is None or found[0] != count:
                return None
            self._known.move_to_end(asked)
            return found[1]

    def keep(self, asked: Hashable, count: Row, rows: Sequence[Row]) -> Sequence[Row]:
        """Remember the rows that were read beside this count; returns them."""
        kept = [tuple(sys.intern(v) if type(v) is str else v for v in row) for row in rows]
        with self._lock:
            self._forget(asked)
            self._known[asked] = (count, kept)
            self._rows += len(kept)
            while self._rows > self._rows_at_most:
                self._forget(next(iter(self._known)))
        return kept

    def _forget(self, asked: Hashable) -> None:
        _count, rows = self._known.pop(asked, ((), ()))
        self._rows -= len(rows)
