"""Where a month will end, from whole days of the past: laws for any series, and known cases."""

from __future__ import annotations

import math
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.insight.forecast import LITTLE_DAYS, Forecast, Period, forecast
from gateway.insight.rhythm import Days

DOLLAR = 10**9
MONDAY = date(2026, 6, 1)

amounts = st.lists(st.integers(-DOLLAR, 500 * DOLLAR), max_size=120)
starts = st.dates(date(2024, 1, 1), date(2026, 12, 31))


def foretold(
    series: list[int],
    *,
    first: date = MONDAY,
    days_left: int = 10,
    spent: int = 0,
    limit: int | None = None,
    left_of_today: float = 1.0,
) -> Forecast:
    """The forecast on the morning after the series, so many days before the period ends."""
    days = Days(first, series)
    ends = days.after + timedelta(days=days_left)
    return forecast(days, Period(days.after, ends, spent, left_of_today), limit)


def weeks(count: int, workday: int = 100 * DOLLAR, weekend: int = 10 * DOLLAR) -> list[int]:
    """Whole weeks from a Monday on."""
    return [workday, workday, workday, workday, workday, weekend, weekend] * count


def near(actual: float, expected: float, by: float) -> bool:
    return math.isclose(actual, expected, rel_tol=by)


@given(amounts, starts, st.integers(0, 45), st.integers(0, 10**13), st.floats(0, 1))
def test_the_range_is_in_order_and_never_below_what_is_spent(
    series: list[int], first: date, days_left: int, spent: int, left: float
) -> None:
    told = foretold(series, first=first, days_left=days_left, spent=spent, left_of_today=left)
    assert spent == told.spent <= told.p10 <= told.p50 <= told.p90


@given(amounts, starts, st.integers(1, 35), st.sampled_from([2, 7, 1000]))
def test_everything_grows_with_the_amounts(
    series: list[int], first: date, days_left: int, times: int
) -> None:
    one = foretold(series, first=first, days_left=days_left)
    many = foretold([times * amount for amount in series], first=first, days_left=days_left)
    for small, large in ((one.p10, many.p10), (one.p50, many.p50), (one.p90, many.p90)):
        assert abs(large - times * small) <= times + large * 1e-6


@given(amounts, starts, st.integers(1, 35), st.integers(0, 10**13), st.integers(0, 10**13))
def test_a_limit_is_reached_the_earlier_the_more_is_spent(
    series: list[int], first: date, days_left: int, spent: int, limit: int
) -> None:
    told = foretold(series, first=first, days_left=days_left, spent=spent, limit=limit)
    assert told.exhaustion is not None
    reached = told.exhaustion
    early, expected, late = (
        day or date.max for day in (reached.early, reached.expected, reached.late)
    )
    assert early <= expected <= late
    # A day of exhaustion is told exactly when the figure beside it reaches the limit.
    for figure, day in ((told.p90, early), (told.p50, expected), (told.p10, late)):
        if abs(figure - limit) > 1 + limit * 1e-9:
            assert (figure > limit) == (day < date.max)


@given(st.integers(0, 10**13), st.integers(0, 40))
def test_without_history_nothing_is_foretold_and_it_says_so(spent: int, quiet_days: int) -> None:
    told = foretold([0] * quiet_days, spent=spent)
    assert (told.p10, told.p50, told.p90) == (spent, spent, spent)
    assert (told.basis, told.history_days) == ("none", 0)
    assert "no history" in told.note


def test_a_steady_series_ends_where_anybody_would_expect() -> None:
    """Two weeks of June are left, from a Monday on: ten working days and four of a weekend."""
    told = foretold(weeks(10), days_left=14, spent=7 * DOLLAR)
    assert near(told.p50, (7 + 10 * 100 + 4 * 10) * DOLLAR, 0.03)
    assert told.basis == "enough"
    assert told.note == ""


def test_a_weekend_is_not_taken_for_working_days() -> None:
    friday_evening = [*weeks(10), *[100 * DOLLAR] * 5]
    assert near(foretold(friday_evening, days_left=2).p50, 20 * DOLLAR, 0.1)
    assert near(foretold(friday_evening, days_left=3).p50, 120 * DOLLAR, 0.05)


def test_month_ends_that_were_always_dear_are_expected_to_be() -> None:
    series, day = [], date(2025, 1, 1)
    while day < date(2025, 12, 29):
        last_two = (day + timedelta(days=2)).month != day.month
        series.append(300 * DOLLAR if last_two else 100 * DOLLAR)
        day += timedelta(days=1)
    told = foretold(series, first=date(2025, 1, 1), days_left=3)
    assert near(told.p50, (100 + 300 + 300) * DOLLAR, 0.12)


def test_two_days_of_a_runaway_agent_do_not_move_the_month() -> None:
    calm = foretold(weeks(12), days_left=14)
    mad = [*weeks(11), *[100 * DOLLAR] * 5, 2000 * DOLLAR, 2000 * DOLLAR]
    after = foretold(mad, days_left=14)
    assert near(after.p50, calm.p50, 0.25)
    assert after.p90 - after.p10 > calm.p90 - calm.p10


@pytest.mark.parametrize(("times", "by"), [(3, 0.1), (0, 0.0)])
def test_a_launch_and_a_stop_are_believed_after_a_week(times: int, by: float) -> None:
    series = [*weeks(10), *(times * amount for amount in weeks(1))]
    assert near(foretold(series, days_left=7).p50, times * 520 * DOLLAR, by)


def test_little_history_says_so_and_widens_the_range() -> None:
    short, long = foretold(weeks(2), days_left=14), foretold(weeks(20), days_left=14)
    assert short.basis == "little"
    assert "14 days" in short.note
    assert LITTLE_DAYS > 14
    assert (short.p90 - short.p10) > 3 * (long.p90 - long.p10)


def test_days_before_the_first_spending_are_no_history() -> None:
    told = foretold([*[0] * 300, *weeks(1)], days_left=14)
    assert told.history_days == 7
    assert told.basis == "little"


def test_the_part_of_today_that_is_over_is_not_expected_again() -> None:
    morning = foretold(weeks(10), days_left=1)
    evening = foretold(weeks(10), days_left=1, spent=90 * DOLLAR, left_of_today=0.1)
    assert near(morning.p50, evening.p50, 0.02)


def test_a_period_that_is_over_ends_with_what_is_spent() -> None:
    told = foretold(weeks(10), days_left=0, spent=5)
    assert (told.p10, told.p50, told.p90) == (5, 5, 5)


def test_a_limit_is_reached_on_the_day_that_it_is() -> None:
    """350 dollars are left on a Monday morning, and 100 go each working day."""
    told = foretold(weeks(10), days_left=14, spent=650 * DOLLAR, limit=1000 * DOLLAR)
    assert told.exhaustion is not None
    monday = MONDAY + timedelta(weeks=10)
    assert told.exhaustion.expected == monday + timedelta(days=3)
    assert foretold(weeks(10), spent=9, limit=9).exhaustion is not None
    assert foretold(weeks(10), limit=None).exhaustion is None


def test_a_series_that_does_not_end_with_yesterday_is_refused() -> None:
    with pytest.raises(ValueError, match="not the one before"):
        forecast(Days(MONDAY, weeks(1)), Period(MONDAY, MONDAY + timedelta(days=9), 0))
