"""Figures as people read them: exact as far as they are written, by the reader's locale."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.drawing import bar_width, spark_points
from gateway.web.wording import Locales, Wording, preferred
from tests.ledger.spending import moment

LOCALES = Locales()
BERLIN = ZoneInfo("Europe/Berlin")
SPACE = "\N{NO-BREAK SPACE}"


def wording(accepted: str) -> Wording:
    return Wording(LOCALES.best(accepted), BERLIN)


@pytest.mark.parametrize(
    ("accepted", "locale"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,en;q=0.5", "de_AT"),
        ("en;q=0.5, fr;q=0.9", "fr"),
        ("tlh, en-GB;q=0.8", "en_GB"),
        ("*", "en"),
        ("tlh", "en"),
        (";;q=z, ,;q=, de;q=0", "en"),
        ("a" * 5_000, "en"),
        ("../../etc/passwd, \N{SNOWMAN}", "en"),
    ],
)
def test_the_best_locale_of_a_header_is_taken(accepted: str, locale: str) -> None:
    assert str(LOCALES.best(accepted)) == locale


@given(accepted=st.text(max_size=60))
def test_no_header_breaks_a_page(accepted: str) -> None:
    assert LOCALES.best(accepted) is not None
    assert len(preferred("de," * 1_000)) <= 20


@pytest.mark.parametrize(
    ("nanos", "english", "german"),
    [
        (0, "$0.00", f"0,00{SPACE}$"),
        (1_234_560_000_000, "$1,234.56", f"1.234,56{SPACE}$"),
        (-2_500_000_000, "-$2.50", f"-2,50{SPACE}$"),
        (1_000, "$0.000001", f"0,000001{SPACE}$"),
        (9_999_999, "$0.010000", f"0,010000{SPACE}$"),
        (10_000_000, "$0.01", f"0,01{SPACE}$"),
        (2_505_000_000, "$2.50", f"2,50{SPACE}$"),
        (2_515_000_000, "$2.52", f"2,52{SPACE}$"),
        (9_007_199_254_740_993, "$9,007,199.25", f"9.007.199,25{SPACE}$"),
    ],
)
def test_money_is_written_by_the_locale(nanos: int, english: str, german: str) -> None:
    assert wording("en-US").money(nanos) == english
    assert wording("de").money(nanos) == german


@given(nanos=st.integers(-(2**62), 2**62))
def test_the_exact_amount_has_every_nano(nanos: int) -> None:
    digits = wording("en").exact(nanos).replace("$", "").replace(",", "").replace(".", "")
    assert int(digits) == nanos


@pytest.mark.parametrize(
    ("nanos", "told"),
    [(2_500_000_000, "$2.50"), (150_000_000, "$0.15"), (12_500_000, "$0.0125"), (0, "$0.00")],
)
def test_a_unit_price_has_as_few_places_as_say_it(nanos: int, told: str) -> None:
    assert wording("en").price(nanos) == told


@pytest.mark.parametrize(
    ("now", "before", "told"),
    [(110, 100, "+10%"), (90, 100, "-10%"), (100, 100, "0%"), (999, 1_000, "0%"), (5, 0, "")],
)
def test_a_change_has_a_sign_unless_it_is_none(now: int, before: int, told: str) -> None:
    assert wording("en").change(now, before) == told


def test_times_are_those_of_the_organisation() -> None:
    say = wording("en-US")
    midnight = moment("2026-10-25T00:30:00+00:00")
    assert say.iso(midnight) == "2026-10-25T02:30:00+02:00"
    assert say.date(midnight) == "Oct 25, 2026"
    assert say.told("2026-11-02T12:00:00.000000Z").startswith("Nov 2, 2026, 1:00:00")
    assert say.month(date(2026, 11, 2)) == "November 2026"
    assert wording("de").month(date(2026, 11, 2)) == "November 2026"


@pytest.mark.parametrize(
    ("part", "whole", "width"),
    [(1, 4, "25.00%"), (9, 4, "100.00%"), (-1, 4, "0.00%"), (1, 0, "0%"), (0, 4, "0.00%")],
)
def test_a_bar_stays_in_its_frame(part: int, whole: int, width: str) -> None:
    assert bar_width(part, whole) == width


@given(values=st.lists(st.integers(0, 10**15), min_size=1, max_size=60))
def test_a_sparkline_stays_in_its_frame(values: list[int]) -> None:
    points = [tuple(map(float, point.split(","))) for point in spark_points(values).split()]
    assert len(points) == len(values)
    assert all(0 <= x <= 100 and 0 <= y <= 24 for x, y in points)
