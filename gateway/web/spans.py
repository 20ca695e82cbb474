"""The month that a page shows: which one was asked for, and as much of it as is over.

Months are the organisation's. The one before is cut at the same length, so that a month that has
just begun is not compared with a whole one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from gateway.clock import to_micros
from gateway.errors import BadRequest, ConfigurationError
from gateway.ledger.entries import HOUR
from gateway.ledger.months import Month, month_of, parse_month
from gateway.ledger.queries import Range
from gateway.web.pages import Visit


@dataclass(frozen=True, slots=True)
class Span:
    """A month as a page shows it."""

    month: Month
    so_far: Range
    """From its beginning to the end of the present hour, or of the month."""
    whole: Range
    before: Range
    """As much of the month before."""
    is_now: bool
    """Whether it is not over yet."""

    @property
    def first_day(self) -> date:
        """Its first day."""
        return date(self.month.year, self.month.number, 1)

    @property
    def days(self) -> list[date]:
        """All of its days."""
        after = date(self.month.after.year, self.month.after.number, 1)
        return [self.first_day + timedelta(days=n) for n in range((after - self.first_day).days)]

    @property
    def before_first(self) -> date:
        """The first day of the month before."""
        return date(self.previous.year, self.previous.number, 1)

    @property
    def previous(self) -> Month:
        """The month before."""
        return month_before(self.month)


def span_of(visit: Visit) -> Span:
    """The month that the query names (`month`), else the present one. Raises BadRequest."""
    zone, now = visit.say.zone, visit.now
    present = month_of(now, zone)
    month = present
    if "month" in visit.query:
        try:
            month = parse_month(visit.query["month"])
        except ConfigurationError as error:
            raise BadRequest(error.problems[0], param="month") from None
    month = min(month, present)
    start, end = month.bounds(zone)
    until = min(end, (now // HOUR + 1) * HOUR)
    before, before_end = month_before(month).bounds(zone)
    compared = before_end if until == end else min(before_end, before + until - start)
    return Span(
        month=month,
        so_far=Range(start, until),
        whole=Range(start, end),
        before=Range(before, compared),
        is_now=month == present,
    )


def end_of_day(visit: Visit, text: str, name: str) -> int:
    """The end of a day that a form names, in microseconds since 1970. Raises ConfigurationError.

    `name` is what the form calls it.
    """
    try:
        day = date.fromisoformat(text) + timedelta(days=1)
        return to_micros(datetime(day.year, day.month, day.day, tzinfo=visit.say.zone))
    except (ValueError, OverflowError):
        raise ConfigurationError([f"{name}: name the last day, such as 2027-01-31"]) from None


def month_before(month: Month) -> Month:
    """The month before a month."""
    return Month(month.year - (month.number == 1), (month.number - 2) % 12 + 1)
