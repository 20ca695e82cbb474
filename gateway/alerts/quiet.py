"""When nobody is to be disturbed, and times of the day in the organisation's zone: pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.clock import to_datetime, to_micros
from gateway.jobs.alert_rules import QuietHours

_DAY = 24 * 60
_WEEKEND = (5, 6)
_DAYS_AT_MOST = 4
"""A weekend, and the nights around it."""


def heard_at(moment: int, quiet: QuietHours | None, zone: ZoneInfo) -> int:
    """The first moment from this one on (microseconds since 1970) that is not quiet."""
    if quiet is None:
        return moment
    for _ in range(2 * _DAYS_AT_MOST):
        ends = _ends(moment, quiet, zone)
        if ends is None:
            return moment
        moment = ends
    return moment


def todays(moment: int, minutes: int, zone: ZoneInfo) -> int:
    """The moment of a time of the day (minutes after midnight) on the day of another moment."""
    return _at(to_datetime(moment).astimezone(zone), minutes, zone)


def _ends(moment: int, quiet: QuietHours, zone: ZoneInfo) -> int | None:
    """When the quiet time ends that a moment is in; None when it is in none."""
    local = to_datetime(moment).astimezone(zone)
    now = local.hour * 60 + local.minute
    starts, ends = quiet.starts, quiet.ends
    if quiet.weekends and local.weekday() in _WEEKEND:
        return _at(local + timedelta(days=1), 0, zone)
    if starts < ends:
        return _at(local, ends, zone) if starts <= now < ends else None
    if starts > ends and now >= starts:
        return _at(local + timedelta(days=1), ends, zone)
    return _at(local, ends, zone) if starts > ends and now < ends else None


def _at(local: datetime, minutes: int, zone: ZoneInfo) -> int:
    hour, minute = divmod(minutes % _DAY, 60)
    day = local.date()
    return to_micros(datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone))
