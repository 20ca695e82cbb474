"""What was spent in a day or a week, read from the books for a digest.

Figures come from the roll-ups and the entries (`ledger.spending`), the same as those of pages and
reports. Names are those of teams, jobs and targets; tags, which callers write, are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from gateway.clock import to_datetime, to_micros
from gateway.jobs.alert_rules import DigestPeriod
from gateway.ledger.entries import HOUR
from gateway.ledger.queries import Range
from gateway.ledger.spending import Spending, Total
from gateway.treasury.periods import Calendar
from gateway.treasury.standing import Standing

DIMENSIONS = ("team", "job", "target")


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """One period that is over, and the one before it; amounts in nano-dollars."""

    period: DigestPeriod
    label: str
    """Such as 2026-11-01, or 2026-10-26 to 2026-11-01."""
    total: Total
    before: Total
    reported_nanos: int
    """The part whose amount is known from what providers reported."""
    by: Mapping[str, Mapping[str, Total]]
    """By team, job and target: the dearest first, and together the total."""
    series: Sequence[tuple[str, int]]
    """Hour by hour of a day, or day by day of a week; together the total."""
    standings: Sequence[Standing]
    """How budgets stand now."""


def last_period(calendar: Calendar, period: DigestPeriod, now: int) -> Range:
    """The day or week that ended last before a moment (microseconds since 1970)."""
    starts_at, _ = calendar.bounds(period, now)
    return Range(*calendar.bounds(period, starts_at - 1))


def read_digest(
    spending: Spending,
    calendar: Calendar,
    period: DigestPeriod,
    asked: Range,
    standings: Sequence[Standing],
) -> Digest:
    """Read one from the books. Blocks. Raises DatabaseDown."""
    cube = spending.cube(asked)
    before = spending.cube(Range(*calendar.bounds(period, asked.start - 1)))
    first, last = (_date(calendar, moment) for moment in (asked.start, asked.end - 1))
    return Digest(
        period=period,
        label=first if first == last else f"{first} to {last}",
        total=cube.total,
        before=before.total,
        reported_nanos=cube.reported.nanos,
        by={name: cube.by(name) for name in DIMENSIONS},
        series=_series(spending, calendar, period, asked),
        standings=standings,
    )


def _series(
    spending: Spending, calendar: Calendar, period: DigestPeriod, asked: Range
) -> list[tuple[str, int]]:
    sums = dict.fromkeys(_labels(calendar, period, asked), 0)
    for one in spending.hourly(asked, "quality"):
        label = _label(calendar, period, max(one.hour * HOUR, asked.start))
        sums[label] = sums.get(label, 0) + one.nanos
    return list(sums.items())


def _labels(calendar: Calendar, period: DigestPeriod, asked: Range) -> list[str]:
    """Every hour or day of the period, also those in which nothing was spent."""
    if period == "day":
        moments = range(asked.start, asked.end, HOUR)
        return [_label(calendar, period, moment) for moment in moments]
    day = to_datetime(asked.start).astimezone(calendar.zone)
    labels = []
    while to_micros(day) < asked.end:
        labels.append(day.date().isoformat())
        day += timedelta(days=1)  # of the wall clock: a day can have 23 hours
    return labels


def _label(calendar: Calendar, period: DigestPeriod, moment: int) -> str:
    local = to_datetime(moment).astimezone(calendar.zone)
    return f"{local.hour:02}:00" if period == "day" else local.date().isoformat()


def _date(calendar: Calendar, moment: int) -> str:
    return to_datetime(moment).astimezone(calendar.zone).date().isoformat()
