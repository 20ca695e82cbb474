"""Calendar periods follow the wall clock, and every moment is in exactly one of each kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import MICROS, to_datetime, to_micros
from gateway.treasury.periods import FOREVER, HOUR, Calendar

PERIODS = ("minute", "hour", "day", "week", "month", "quarter", "year", "fiscal_year", "forever")
SUNDAY, MONDAY, SATURDAY = 6, 0, 5


def local(zone: str, text: str, fold: int = 0) -> int:
    """The moment at which clocks in the zone show this; fold 1 is the second time they do."""
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold))


def utc(text: str) -> int:
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("zone", "day", "starts", "hours"),
    [
        ("Europe/Berlin", "2026-01-15", "2026-01-14T23:00", 24),
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00", 23),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00", 25),
        ("America/New_York", "2026-03-08", "2026-03-08T05:00", 23),
        ("America/New_York", "2026-11-01", "2026-11-01T04:00", 25),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00", 24.5),
        ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30", 23.5),
        ("Asia/Kolkata", "2026-11-22", "2026-11-21T18:30", 24),
        ("Asia/Kathmandu", "2026-11-22", "2026-11-21T18:15", 24),
        ("Pacific/Chatham", "2026-04-05", "2026-04-04T10:15", 25),
        # midnight does not exist: the day begins at one o'clock
        ("America/Santiago", "2026-09-06", "2026-09-06T04:00", 23),
        ("Africa/Cairo", "2026-04-24", "2026-04-23T22:00", 23),
        ("Asia/Beirut", "2026-03-29", "2026-03-28T22:00", 23),
        # midnight comes twice: the day begins with the first
        ("America/Havana", "2026-11-01", "2026-11-01T04:00", 25),
        ("America/St_Johns", "2010-11-07", "2010-11-07T02:30", 25),
        # the day before a day that was left out
        ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00", 24),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00", 24),
    ],
)
def test_a_day_is_as_long_as_clocks_make_it(zone: str, day: str, starts: str, hours: float) -> None:
    start, end = Calendar(ZoneInfo(zone)).bounds("day", local(zone, f"{day}T12:00"))
    assert to_datetime(start) == datetime.fromisoformat(starts).replace(tzinfo=UTC)
    assert end - start == hours * HOUR


@pytest.mark.parametrize(
    ("period", "at", "starts", "ends"),
    [
        ("month", "2026-11-22", "2026-11-01", "2026-12-01"),
        ("month", "2026-12-31", "2026-12-01", "2027-01-01"),
        ("month", "2028-02-29", "2028-02-01", "2028-03-01"),
        ("month", "2027-02-28", "2027-02-01", "2027-03-01"),
        ("year", "2026-01-01", "2026-01-01", "2027-01-01"),
        ("year", "2026-12-31", "2026-01-01", "2027-01-01"),
    ],
)
def test_months_and_years_end_where_the_calendar_says(
    period: str, at: str, starts: str, ends: str
) -> None:
    calendar = Calendar(ZoneInfo("Europe/Berlin"))
    found = calendar.bounds(period, local("Europe/Berlin", f"{at}T23:59:59"))
    assert found == (local("Europe/Berlin", starts), local("Europe/Berlin", ends))


@pytest.mark.parametrize(
    ("first_month", "at", "quarter", "year"),
    [
        (1, "2026-11-22", ("2026-10-01", "2027-01-01"), ("2026-01-01", "2027-01-01")),
        (4, "2026-11-22", ("2026-10-01", "2027-01-01"), ("2026-04-01", "2027-04-01")),
        (4, "2027-03-31", ("2027-01-01", "2027-04-01"), ("2026-04-01", "2027-04-01")),
        (10, "2026-09-30", ("2026-07-01", "2026-10-01"), ("2025-10-01", "2026-10-01")),
        (2, "2026-01-15", ("2025-11-01", "2026-02-01"), ("2025-02-01", "2026-02-01")),
        (12, "2026-12-01", ("2026-12-01", "2027-03-01"), ("2026-12-01", "2027-12-01")),
    ],
)
def test_quarters_follow_the_fiscal_year(
    first_month: int, at: str, quarter: tuple[str, str], year: tuple[str, str]
) -> None:
    calendar = Calendar(ZoneInfo("UTC"), fiscal_year_starts=first_month)
    assert calendar.bounds("quarter", utc(at)) == (utc(quarter[0]), utc(quarter[1]))
    assert calendar.bounds("fiscal_year", utc(at)) == (utc(year[0]), utc(year[1]))


@pytest.mark.parametrize(
    ("first_day", "at", "starts", "ends"),
    [
        (MONDAY, "2026-11-22", "2026-11-16", "2026-11-23"),
        (SUNDAY, "2026-11-22", "2026-11-22", "2026-11-29"),
        (SATURDAY, "2026-11-22", "2026-11-21", "2026-11-28"),
        (MONDAY, "2026-11-23", "2026-11-23", "2026-11-30"),
        (SUNDAY, "2027-01-01", "2026-12-27", "2027-01-03"),
    ],
)
def test_a_week_begins_on_the_day_that_was_chosen(
    first_day: int, at: str, starts: str, ends: str
) -> None:
    calendar = Calendar(ZoneInfo("UTC"), week_starts=first_day)
    assert calendar.bounds("week", utc(at)) == (utc(starts), utc(ends))


@pytest.mark.parametrize(
    ("zone", "at", "starts", "ends"),
    [
        ("UTC", "2026-11-22T07:31:09", "2026-11-22T07:00", "2026-11-22T08:00"),
        ("Asia/Kolkata", "2026-11-22T07:31:09", "2026-11-22T07:30", "2026-11-22T08:30"),
        ("Asia/Kathmandu", "2026-11-22T07:31:09", "2026-11-22T07:15", "2026-11-22T08:15"),
        # clocks go on by half an hour at two: the hour that shows 2:30 is half an hour long
        ("Australia/Lord_Howe", "2026-10-03T15:45", "2026-10-03T15:30", "2026-10-03T16:00"),
        ("Australia/Lord_Howe", "2026-10-03T15:29", "2026-10-03T14:30", "2026-10-03T15:30"),
        # and back: half an hour is shown again
        ("Australia/Lord_Howe", "2026-04-04T14:59", "2026-04-04T14:00", "2026-04-04T15:00"),
        ("Australia/Lord_Howe", "2026-04-04T15:00", "2026-04-04T15:00", "2026-04-04T15:30"),
    ],
)
def test_an_hour_is_what_clocks_show(zone: str, at: str, starts: str, ends: str) -> None:
    assert Calendar(ZoneInfo(zone)).bounds("hour", utc(at)) == (utc(starts), utc(ends))


def test_a_minute_is_a_minute_and_forever_has_no_end() -> None:
    calendar = Calendar(ZoneInfo("Asia/Kathmandu"))
    at = utc("2026-11-22T07:31:09.5")
    assert calendar.bounds("minute", at) == (utc("2026-11-22T07:31"), utc("2026-11-22T07:32"))
    assert calendar.bounds("forever", at) == FOREVER


def test_the_second_midnight_of_a_day_does_not_begin_it_again() -> None:
    calendar = Calendar(ZoneInfo("America/Havana"))
    first = local("America/Havana", "2026-11-01T00:00")
    second = local("America/Havana", "2026-11-01T00:00", fold=1)
    assert second - first == HOUR
    assert calendar.bounds("day", first) == calendar.bounds("day", second)
    assert calendar.bounds("month", second)[0] == first


def test_the_end_of_a_period_belongs_to_the_next() -> None:
    calendar = Calendar(ZoneInfo("Europe/Berlin"))
    end = local("Europe/Berlin", "2026-12-01")
    assert calendar.bounds("month", end - 1)[1] == end
    assert calendar.bounds("month", end)[0] == end


def test_a_word_that_is_no_period_is_refused() -> None:
    with pytest.raises(ValueError, match="'fortnight' is not a period"):
        Calendar(ZoneInfo("UTC")).bounds("fortnight", 0)


ZONES = sorted(zone for zone in available_timezones() if not zone.startswith(("Etc/", "posix")))
EARLIEST, LATEST = utc("1970-01-01T00:00"), utc("2100-01-01T00:00")
calendars = st.builds(
    Calendar,
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    week_starts=st.integers(0, 6),
    fiscal_year_starts=st.integers(1, 12),
)
moments = st.integers(EARLIEST, LATEST)


@cache
def changes_of(zone: ZoneInfo) -> list[int]:
    """Moments around which a zone's clocks are moved, between 2000 and 2030, to the hour."""
    hours = range(utc("2000-01-01") // HOUR, utc("2030-01-01") // HOUR, 24)
    offsets = [(h, to_datetime(h * HOUR).astimezone(zone).utcoffset()) for h in hours]
    return [b * HOUR for (_, x), (b, y) in pairwise(offsets) if x != y]


@given(calendars, st.sampled_from(PERIODS), moments)
def test_every_moment_is_in_one_period_and_periods_touch(
    calendar: Calendar, period: str, at: int
) -> None:
    check(calendar, period, at)


@settings(deadline=None)
@given(calendars, st.sampled_from(PERIODS), st.data())
def test_periods_touch_where_clocks_are_moved_too(
    calendar: Calendar, period: str, data: st.DataObject
) -> None:
    changes = changes_of(calendar.zone)
    if changes:
        near = data.draw(st.sampled_from(changes))
        check(calendar, period, near + data.draw(st.integers(-26 * HOUR, 2 * HOUR)))


def check(calendar: Calendar, period: str, at: int) -> None:
    start, end = calendar.bounds(period, at)
    assert start <= at < end
    for inside in (start, end - 1, (start + end) // 2):
        fresh = Calendar(calendar.zone, calendar.week_starts, calendar.fiscal_year_starts)
        assert fresh.bounds(period, inside) == (start, end)
    if period != "forever":
        assert calendar.bounds(period, start - 1)[1] == start
        assert calendar.bounds(period, end)[0] == end


@given(calendars, moments, st.integers(0, 400 * 24 * 3600 * MICROS))
def test_what_was_remembered_answers_like_what_is_worked_out(
    calendar: Calendar, at: int, later: int
) -> None:
    fresh = Calendar(calendar.zone, calendar.week_starts, calendar.fiscal_year_starts)
    for period in PERIODS:
        calendar.bounds(period, at)
        assert calendar.bounds(period, at + later) == fresh.bounds(period, at + later)


@given(calendars, moments)
def test_longer_periods_are_made_of_whole_shorter_ones(calendar: Calendar, at: int) -> None:
    for shorter, longer in (
        ("hour", "day"),
        ("day", "week"),
        ("day", "month"),
        ("month", "year"),
        ("month", "quarter"),
        ("quarter", "fiscal_year"),
    ):
        inner, outer = calendar.bounds(shorter, at), calendar.bounds(longer, at)
        assert outer[0] <= inner[0] < inner[1] <= outer[1]
    day = calendar.bounds("day", at)
    assert timedelta(microseconds=day[1] - day[0]) <= timedelta(hours=49)
