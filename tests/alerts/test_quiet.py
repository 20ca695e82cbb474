"""Quiet hours, in any zone and on any day, also when the clock is moved."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.alerts.quiet import heard_at, todays
from gateway.clock import MICROS, to_datetime, to_micros
from gateway.jobs.alert_rules import QuietHours

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = QuietHours(20 * 60, 7 * 60 + 30)


def at(text: str) -> int:
    """A moment of Berlin's wall clock."""
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=BERLIN))


@pytest.mark.parametrize(
    ("quiet", "now", "heard"),
    [
        (None, "2026-11-02T23:00", "2026-11-02T23:00"),
        (NIGHT, "2026-11-02T19:59", "2026-11-02T19:59"),
        (NIGHT, "2026-11-02T20:00", "2026-11-03T07:30"),
        (NIGHT, "2026-11-03T07:29", "2026-11-03T07:30"),
        (NIGHT, "2026-11-03T07:30", "2026-11-03T07:30"),
        (NIGHT, "2027-03-27T23:00", "2027-03-28T07:30"),  # the night of 9.5 hours less one
        (NIGHT, "2026-10-24T23:00", "2026-10-25T07:30"),
        (QuietHours(12 * 60, 13 * 60), "2026-11-02T12:30", "2026-11-02T13:00"),
        (QuietHours(20 * 60, 450, weekends=True), "2026-11-06T21:00", "2026-11-09T07:30"),
        (QuietHours(0, 0, weekends=True), "2026-11-07T10:00", "2026-11-09T00:00"),
        (QuietHours(0, 0, weekends=True), "2026-11-06T23:59", "2026-11-06T23:59"),
    ],
)
def test_what_is_held_back_is_told_when_the_quiet_ends(
    quiet: QuietHours | None, now: str, heard: str
) -> None:
    assert heard_at(at(now), quiet, BERLIN) == at(heard)


MINUTES = st.integers(0, 24 * 60 - 1)


@given(
    moment=st.integers(at("2026-01-01T00:00"), at("2027-12-31T00:00")),
    quiet=st.builds(QuietHours, MINUTES, MINUTES, st.booleans()),
    zone=st.sampled_from(["Europe/Berlin", "UTC", "Asia/Kolkata", "America/Sao_Paulo"]),
)
def test_it_is_never_told_in_quiet_hours_nor_later_than_it_has_to(
    moment: int, quiet: QuietHours, zone: str
) -> None:
    there = ZoneInfo(zone)
    heard = heard_at(moment, quiet, there)

    assert heard >= moment
    assert heard_at(heard, quiet, there) == heard
    assert heard - moment <= 5 * 86_400 * MICROS
    if heard > moment:
        assert heard_at(heard - 1, quiet, there) == heard


@given(moment=st.integers(at("2026-01-01T00:00"), at("2027-12-31T00:00")), minutes=MINUTES)
def test_a_time_of_the_day_is_on_the_day_of_the_moment(moment: int, minutes: int) -> None:
    local = to_datetime(todays(moment, minutes, BERLIN)).astimezone(BERLIN)

    day = to_datetime(moment).astimezone(BERLIN).date()
    assert local.date() == day
    wanted = timedelta(minutes=minutes)
    shown = timedelta(hours=local.hour, minutes=local.minute)
    assert abs(shown - wanted) in (timedelta(0), timedelta(hours=1))  # an hour that is left out
