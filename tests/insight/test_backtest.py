"""Forecasts of past months are made with what was known then, and compared with what came."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.insight.backtest import backtest, summed, trials
from gateway.insight.rhythm import Days, Rhythm
from gateway.insight.synthetic import Company
from gateway.jobs.routes import Routes

FIRST = date(2025, 1, 1)


def days_of(series: list[int], first: date = FIRST) -> Days:
    return Days(first, series)


def test_the_same_every_day_is_foretold_exactly() -> None:
    tested = backtest(Rhythm(days_of([700] * 200)))
    assert tested is not None
    assert tested.error < 0.001
    assert tested.coverage == 1


def test_without_a_whole_month_there_is_nothing_to_test() -> None:
    assert backtest(Rhythm(days_of([]))) is None
    assert backtest(Rhythm(days_of([700] * 20))) is None
    assert backtest(Rhythm(days_of([0] * 200))) is None
    assert summed([]) is None


def test_a_month_is_tested_on_every_third_morning() -> None:
    """January lacks the history; February has 28 days and March 31."""
    tested = backtest(Rhythm(days_of([700] * (31 + 28 + 31))))
    assert tested is not None
    assert tested.forecasts == 10 + 11
    last = backtest(Rhythm(days_of([700] * (31 + 28 + 31))), months=1)
    assert last is not None
    assert last.forecasts == 11


@settings(max_examples=20)
@given(
    st.lists(st.integers(0, 10**12), min_size=92, max_size=92),
    st.lists(st.integers(0, 10**12), min_size=31, max_size=31),
)
def test_a_forecast_knows_nothing_of_what_came_later(past: list[int], later: list[int]) -> None:
    """January to March, then another April: what was foretold in March stays as it is."""
    march = [*past[:90]]
    alone = trials(Rhythm(days_of(march)), 1)
    followed = trials(Rhythm(days_of([*march, *later[:30]])), 2)
    assert alone == followed[-len(alone) :] if alone else True


def test_it_beats_last_week_and_keeps_its_word_on_a_synthetic_year(shipped: Routes) -> None:
    """A small company for speed; `make forecast-report` has all of it, for several seeds."""
    company = Company(shipped, FIRST - timedelta(days=120), seed=3, scale=0.2)
    series = [
        sum(attempt.ending.amount_nanos for attempt in company.day(FIRST + timedelta(days=number)))
        for number in range(365)
    ]
    tested = backtest(Rhythm(days_of(series)))
    assert tested is not None
    assert tested.error < tested.naive_error
    assert 0.65 <= tested.coverage <= 0.95
