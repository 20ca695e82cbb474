"""What time it is, and how long things take.

Times in the books are whole microseconds since 1970 in UTC; zones matter only to calendar
periods. There are two clocks: the real one, and one for tests that stands still until moved.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

MICROS = 1_000_000
"""Microseconds in a second."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """A source of wall-clock time."""

    def now(self) -> int:
        """Microseconds since 1970, UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1000


class FrozenClock:
    """A clock that moves when it is told to, backwards too."""

    def __init__(self, at: str = "2026-11-02T12:00:00+00:00") -> None:
        self.micros = to_micros(datetime.fromisoformat(at))

    def now(self) -> int:
        return self.micros

    def move(self, seconds: float) -> None:
        """Move by so many seconds; negative ones step back."""
        self.micros += round(seconds * MICROS)


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970 of an aware datetime. Raises ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone is ambiguous")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def midnight(day: date, zone: ZoneInfo) -> int:
    """When a day begins in a zone, in microseconds since 1970; the first time, if twice."""
    return to_micros(datetime(day.year, day.month, day.day, tzinfo=zone))


def to_datetime(micros: int) -> datetime:
    """The aware UTC datetime of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=micros)


def to_text(micros: int) -> str:
    """ISO 8601 in UTC, such as 2026-11-02T12:00:00.000000Z."""
    return to_datetime(micros).isoformat(timespec="microseconds").replace("+00:00", "Z")
