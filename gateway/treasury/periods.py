"""Calendar periods: where "this month" begins and ends, in the organisation's time zone.

Periods follow the wall clock, so a day can have 23 or 25 hours, and a month begins at local
midnight. Both ends are microseconds since 1970 in UTC; the end belongs to the next period. Every
moment is in exactly one period of a kind: where a clock is moved by less than an hour, the hour
around it is cut in two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from gateway.clock import MICROS, midnight, to_datetime

FOREVER = (0, 2**62)
MINUTE = 60 * MICROS
HOUR = 3600 * MICROS

SHORT_PERIODS = frozenset({"minute", "hour"})
"""Periods whose limits pass by themselves soon: rate limits, answered with 429 and not 402."""


def every(period: str) -> str:
    """How people say a limit's period after its amount: "a month", "an hour", "in all"."""
    if period == "forever":
        return "in all"
    return f"{'an' if period == 'hour' else 'a'} {period.replace('_', ' ')}"


@dataclass(frozen=True, slots=True)
class Calendar:
    """How the organisation counts time."""

    zone: ZoneInfo
    week_starts: int = 0
    """First day of the week; Monday is 0."""
    fiscal_year_starts: int = 1
    """First month of the fiscal year; January is 1."""
    _known: dict[str, tuple[int, int]] = field(default_factory=dict, compare=False, repr=False)
    """The bounds last found for each period: almost every question is about the present one."""

    def bounds(self, period: str, at: int) -> tuple[int, int]:
        """Start and end of the period that the moment `at` is in, in microseconds UTC.

        Raises ValueError for a period that is not one of those in routes.yaml.
        """
        known = self._known.get(period)
        if known is None or not known[0] <= at < known[1]:
            known = self._known[period] = self._find(period, at)
        return known

    def _find(self, period: str, at: int) -> tuple[int, int]:
        if period == "forever":
            return FOREVER
        if period == "minute":
            start = at - at % MINUTE
            return start, start + MINUTE
        local = to_datetime(at).astimezone(self.zone)
        if period == "hour":
            return self._hour(at)
        first, after = self._dates(period, self._day(local.date(), at))
        return midnight(first, self.zone), midnight(after, self.zone)

    def _hour(self, at: int) -> tuple[int, int]:
        offset = self._offset(at)
        start = at - (at + offset) % HOUR
        end = start + HOUR
        if self._offset(start) != offset:
            start = self._change(start, at)
        if self._offset(end - 1) != offset:
            end = self._change(at, end - 1)
        return start, end

    def _offset(self, at: int) -> int:
        """By how much the wall clock is ahead of UTC, in microseconds."""
        local = to_datetime(at).astimezone(self.zone)
        return (local.utcoffset() or timedelta()) // timedelta(microseconds=1)

    def _change(self, before: int, after: int) -> int:
        """The first moment with the offset of `after`; at `before` there was another."""
        new = self._offset(after)
        while after - before > 1:
            middle = (before + after) // 2
            if self._offset(middle) == new:
                after = middle
            else:
                before = middle
        return after

    def _day(self, shown: date, at: int) -> date:
        """The day that a moment counts for, which shows the date `shown`.

        Another one when the clock is put back over midnight: a day that has begun is not left.
        """
        if at < midnight(shown, self.zone):
            return shown - timedelta(days=1)
        if at >= midnight(shown + timedelta(days=1), self.zone):
            return shown + timedelta(days=1)
        return shown

    def _dates(self, period: str, day: date) -> tuple[date, date]:
        if period == "day":
            return day, day + timedelta(days=1)
        if period == "week":
            first = day - timedelta(days=(day.weekday() - self.week_starts) % 7)
            return first, first + timedelta(days=7)
        if period == "month":
            return _months(day.replace(day=1), 0, 1)
        if period == "quarter":
            back = (day.month - self.fiscal_year_starts) % 3
            return _months(day.replace(day=1), -back, 3)
        if period == "year":
            return date(day.year, 1, 1), date(day.year + 1, 1, 1)
        if period == "fiscal_year":
            back = (day.month - self.fiscal_year_starts) % 12
            return _months(day.replace(day=1), -back, 12)
        raise ValueError(f"{period!r} is not a period")


def _months(first_of_month: date, shift: int, length: int) -> tuple[date, date]:
    """The `length` months that begin `shift` months after the given first of a month."""

    def moved(months: int) -> date:
        years, month = divmod(first_of_month.month - 1 + months, 12)
        return date(first_of_month.year + years, month + 1, 1)

    return moved(shift), moved(shift + length)
