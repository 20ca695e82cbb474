"""Days and weeks for charts, from the sums of hours; and the prices per thousand requests.

Sums stay whole numbers. A day is one of the organisation's; in a zone of half hours, the hour
around midnight counts for the day in which it begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from gateway.ledger.entries import HOUR
from gateway.ledger.spending import HourSums
from gateway.money import round_half_even
from gateway.web.wording import Wording

WEEKS = 8
DAYS = WEEKS * 7


@dataclass(frozen=True, slots=True)
class Point:
    """One day of a chart; None where there is nothing to draw. In one unit."""

    day: date
    so_far: int | None
    limit: int | None = None
    low: int | None = None
    likely: int | None = None
    high: int | None = None


def by_day(
    hours: Iterable[HourSums], say: Wording, *, since: int, name: str = "nanos"
) -> dict[date, int]:
    """The sum of each day; `name` is one of nanos, requests, tokens.

    `since` is when the hours begin (microseconds): the first may be a part of one.
    """
    found: dict[date, int] = {}
    days: dict[int, date] = {}
    for sums in hours:
        day = days.get(sums.hour)
        if day is None:
            day = days[sums.hour] = say.local(max(since, sums.hour * HOUR)).date()
        found[day] = found.get(day, 0) + int(getattr(sums, name))
    return found


def adding_up(
    days: Sequence[date], sums: dict[date, int], today: date, limit: int | None
) -> list[Point]:
    """What was spent so far on each day of a period, up to today."""
    points, total = [], 0
    for day in days:
        total += sums.get(day, 0)
        points.append(Point(day, total if day <= today else None, limit))
    return points


def foretold(
    points: Sequence[Point], today: date, spent: int, range_: tuple[int, int, int]
) -> list[Point]:
    """The same with a forecast: from today to the last day, where its range is.

    Between the two nothing is said: the forecast is of the end.
    """
    low, likely, high = range_
    last = points[-1].day
    found = []
    for point in points:
        told: tuple[int | None, int | None, int | None] = (None, None, None)
        if point.day == last and last > today:
            told = (low, likely, high)
        elif point.day == today and last > today:
            told = (spent, spent, spent)
        found.append(Point(point.day, point.so_far, point.limit, *told))
    return found


def per_thousand(nanos: int, requests: int) -> int | None:
    """Nano-dollars for a thousand requests; None without any."""
    return round_half_even(nanos * 1000, requests) if requests > 0 else None


def weekly_prices(hours: Iterable[HourSums], today: date, say: Wording) -> dict[str, list[int]]:
    """For each value, the price of a thousand requests in each of the last weeks.

    Weeks are of seven days, the last one ends today; one without requests counts as nothing.
    """
    sums: dict[str, list[list[int]]] = {}
    first = today - timedelta(days=DAYS - 1)
    known: dict[int, int] = {}
    for one in hours:
        week = known.get(one.hour)
        if week is None:
            day = say.local(one.hour * HOUR).date()
            week = known[one.hour] = (day - first).days // 7
        if 0 <= week < WEEKS:
            weeks = sums.setdefault(one.value, [[0, 0] for _ in range(WEEKS)])
            weeks[week][0] += one.nanos
            weeks[week][1] += one.requests
    return {
        value: [per_thousand(nanos, requests) or 0 for nanos, requests in weeks]
        for value, weeks in sums.items()
    }
