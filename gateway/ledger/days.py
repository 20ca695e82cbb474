"""Periods as people name them: two days, or two moments, in a time zone.

The last day is itself included; a text with a time is that moment, and a moment without an offset
is one of the zone.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.clock import midnight, to_datetime, to_micros
from gateway.errors import ConfigurationError
from gateway.ledger.queries import Range

_DAY = "2026-11-01"


def period_between(
    first: str, last: str, zone: ZoneInfo, now: int, names: tuple[str, str]
) -> Range:
    """From the first day's midnight to the midnight after the last.

    Without a first day it is that of the month of `now` (microseconds since 1970), without a last
    one that of `now`. `names` are those of both to whoever asked. Raises ConfigurationError.
    """
    today = to_datetime(now).astimezone(zone).date()
    start, end = midnight(today.replace(day=1), zone), midnight(today + timedelta(days=1), zone)
    if first:
        start = _moment(names[0], first, zone, after=False)
    if last:
        end = _moment(names[1], last, zone, after=True)
    if start >= end:
        since, until = first or "the first of this month", last or "today"
        raise ConfigurationError([f"{names[0]} {since} is not before {names[1]} {until}"])
    return Range(start, end)


def _moment(name: str, text: str, zone: ZoneInfo, *, after: bool) -> int:
    try:
        if len(text) <= len(_DAY):
            day = date.fromisoformat(text)
            micros = midnight(day + timedelta(days=1) if after else day, zone)
        else:
            moment = datetime.fromisoformat(text)
            micros = to_micros(moment if moment.tzinfo else moment.replace(tzinfo=zone))
        to_datetime(micros)  # in another zone it may be before the first year, or after the last
        return micros
    except (ValueError, OverflowError):
        raise ConfigurationError([f"{name}: {text!r} is not a day such as {_DAY}"]) from None
