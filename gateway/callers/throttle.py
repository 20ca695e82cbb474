"""Slowing down whoever guesses keys, before any key is looked up.

Each address that failed lately has to wait before its next try, twice as long after each failure
up to a bound; the first few are free. An address is forgiven after a quiet minute or a good key.
Memory is bounded.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_FREE_FAILURES = 5
_FIRST_SECONDS = 0.1
_MOST_SECONDS = 2.0
_FORGIVEN_AFTER = 60.0
_REMEMBERED = 10_000


class Throttle:
    """Remembers failures by address."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._seconds = seconds

    def delay(self, address: str) -> float:
        """Seconds that this address has to wait before its key is looked at."""
        if not self._failures:
            return 0.0
        count, at = self._failures.get(address, (0, 0.0))
        if count <= _FREE_FAILURES or self._seconds() - at > _FORGIVEN_AFTER:
            return 0.0
        return float(min(_MOST_SECONDS, _FIRST_SECONDS * 2 ** min(20, count - _FREE_FAILURES - 1)))

    def failed(self, address: str) -> None:
        """A key from this address was not good."""
        now = self._seconds()
        count, at = self._failures.pop(address, (0, now))
        self._failures[address] = (1 if now - at > _FORGIVEN_AFTER else count + 1, now)
        if len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """A key from this address was good: its failures were mistakes."""
        if self._failures:
            self._failures.pop(address, None)
