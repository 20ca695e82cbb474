"""A breaker for each target: after several failures in a row it is left alone for a while.

Closed, every call goes through. Open, none does. When the pause is over one call is let through
to try (half open): its success closes the breaker, its failure opens it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable

CLOSED, HALF_OPEN, OPEN = 0, 1, 2
FAILURES_IN_A_ROW = 5
PAUSE_SECONDS = 15.0


class Breaker:
    """The state of one target; `changed` is told of every new state, `now` is in seconds."""

    def __init__(
        self, changed: Callable[[int], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._changed, self._now = changed, now
        self._failures = 0
        self._open_until = 0.0
        self._state = CLOSED

    @property
    def shut(self) -> bool:
        """Whether a call would be held off now; asking takes no trial."""
        return self._state != CLOSED and self._now() < self._open_until

    def allows(self) -> bool:
        """Whether a call goes now; asked by whoever is about to send, because the one that tries
        a half-open breaker is taken here. A trial that never comes back is over after a pause."""
        if self.shut:
            return False
        if self._state != CLOSED:
            self._open_until = self._now() + PAUSE_SECONDS
            if self._state == OPEN:
                self._move(HALF_OPEN)
        return True

    @property
    def seconds_left(self) -> float:
        """How long it stays shut, at least a second."""
        return max(1.0, self._open_until - self._now())

    def succeeded(self) -> None:
        """The target answered."""
        self._failures = 0
        if self._state != CLOSED:
            self._move(CLOSED)

    def failed(self) -> None:
        """The target did not answer, or answered that it cannot."""
        self._failures += 1
        if self._state == HALF_OPEN or self._failures >= FAILURES_IN_A_ROW:
            self._open_until = self._now() + PAUSE_SECONDS
            if self._state != OPEN:
                self._move(OPEN)

    def _move(self, state: int) -> None:
        self._state = state
        self._changed(state)
