"""What people write after --budget and --expires."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.cli.keys import parse_budget, parse_expiry
from gateway.clock import to_text
from gateway.errors import ConfigurationError

NOW = datetime(2026, 10, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "nanos", "period"),
    [
        ("50", 50_000_000_000, "month"),
        ("50/month", 50_000_000_000, "month"),
        ("50 USD/month", 50_000_000_000, "month"),
        ("$12.50 a day", 12_500_000_000, "day"),
        ("0.000000001 per hour", 1, "hour"),
        ("0/year", 0, "year"),
        (" 7 / Week ", 7_000_000_000, "week"),
        ("1000/fiscal_year", 1_000_000_000_000, "fiscal_year"),
        ("3/forever", 3_000_000_000, "forever"),
    ],
)
def test_a_budget_is_an_amount_and_a_period(text: str, nanos: int, period: str) -> None:
    assert parse_budget(text) == (nanos, period)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "much",
        "-5/month",
        "1e3/month",
        "50/fortnight",
        "50/minute",
        "50 EUR/month",
        "1,000/month",
        "0.0000000001/month",
        "99999999999/month",
        "50//month",
    ],
)
def test_what_is_no_budget_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_budget(text)

    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("12h", "2026-10-25T00:00:00.000000Z"),
        ("1d", "2026-10-25T12:00:00.000000Z"),
        (" 2w ", "2026-11-07T12:00:00.000000Z"),
        ("2027-01-31", "2027-01-31T00:00:00.000000Z"),
        ("2027-01-31T10:00:00+02:00", "2027-01-31T08:00:00.000000Z"),
    ],
)
def test_an_expiry_is_a_length_or_a_date(text: str, moment: str) -> None:
    assert to_text(parse_expiry(text, NOW)) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "0d",
        "-1d",
        "5y",
        "2026-13-01",
        "2026-10-24",
        "2020-01-01",
        "99999999999999d",
        "9",
    ],
)
def test_what_is_no_expiry_or_is_over_already_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_expiry(text, NOW)

    assert repr(text) in str(refused.value)
