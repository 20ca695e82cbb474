"""Months of the organisation's time zone, and their totals."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import to_datetime
from gateway.errors import ConfigurationError
from gateway.ledger.months import Month, month_of, parse_month, totals
from gateway.metering.usage import Usage
from tests.ledger.spending import Spending, moment
from tests.treasury.booking import opened

ZONES = ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Pacific/Apia"]


@pytest.mark.parametrize(
    ("zone", "month", "days"),
    [
        ("Europe/Berlin", "2026-10", timedelta(days=31, hours=1)),
        ("Europe/Berlin", "2026-03", timedelta(days=31, hours=-1)),
        ("Asia/Kolkata", "2026-02", timedelta(days=28)),
        ("Pacific/Apia", "2011-12", timedelta(days=30)),
    ],
)
def test_a_month_is_as_long_as_it_was_on_the_wall(zone: str, month: str, days: timedelta) -> None:
    start, end = parse_month(month).bounds(ZoneInfo(zone))
    assert timedelta(microseconds=end - start) == days


@given(st.integers(10**14, 2**51), st.sampled_from(ZONES))
def test_every_moment_is_in_exactly_the_month_that_it_says(at: int, name: str) -> None:
    zone = ZoneInfo(name)
    month = month_of(at, zone)
    start, end = month.bounds(zone)
    assert start <= at < end
    assert month.after == month_of(end, zone)
    assert str(month) == f"{to_datetime(at).astimezone(zone):%Y-%m}"
    assert parse_month(str(month)) == month


@pytest.mark.parametrize("text", ["2026", "2026-13", "2026-00", "10-2026", "", "0001-01", "x"])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a month such as 2026-10"):
        parse_month(text)


def test_december_is_followed_by_january() -> None:
    assert Month(2026, 12).after == Month(2027, 1)


def test_totals_of_a_month_of_half_hours_are_exact_at_both_ends(database_url: str) -> None:
    books = Spending(opened(database_url), zone="Asia/Kolkata")
    for at, tokens in [
        ("2026-09-30T23:59:59.999999+05:30", 1),
        ("2026-10-01T00:00:00+05:30", 10),
        ("2026-10-01T00:29:59+05:30", 100),
        ("2026-10-17T12:00:00+05:30", 1000),
        ("2026-10-31T23:59:59.999999+05:30", 10_000),
        ("2026-11-01T00:00:00+05:30", 100_000),
    ]:
        books.at(at).book(Usage(input=2 * tokens))
    bounds = parse_month("2026-10").bounds(ZoneInfo("Asia/Kolkata"))
    with books.database.reading() as cursor:
        found = totals(cursor, "main", books.database.engine_name, bounds)
        moments = (moment("2026-10-01T00:10:00+05:30"), moment("2026-10-01T00:20:00+05:30"))
        within_an_hour = totals(cursor, "main", books.database.engine_name, moments)
    books.database.close()
    assert found == (4, 3 * (10 + 100 + 1000 + 10_000))
    assert within_an_hour == (0, 0)
