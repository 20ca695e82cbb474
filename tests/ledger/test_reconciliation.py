"""Each difference between the ledger and a bill is of one kind, and the kind is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from fractions import Fraction
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import FrozenClock
from gateway.ledger.booked import booked
from gateway.ledger.entries import PRESUMED
from gateway.ledger.provider_exports import CREDIT, OTHER, USAGE, BilledLine, Export
from gateway.ledger.reconciliation import (
    AROUND,
    BESIDE,
    CREDITS,
    MIDNIGHT,
    MISSING,
    MONEY,
    PRESUMPTION,
    PRICE,
    ROUNDING,
    SAME,
    TOKENS,
    Difference,
    Place,
    Plan,
    Side,
    days_between,
    reconcile,
)
from gateway.metering.usage import Usage
from gateway.store.database import Database
from gateway.treasury.reconciling import shared
from tests.treasury.booking import Books, charged, opened

PLAN = Plan(providers=("openai",))
MONDAY, TUESDAY = date(2026, 11, 2), date(2026, 11, 3)
NOTHING: Mapping[str, int] = MappingProxyType({})
UTC = ZoneInfo("UTC")


def line(
    nanos: int | None = 1_000,
    day: date = MONDAY,
    model: str = "gpt-test",
    kind: str = USAGE,
    keys: tuple[str, ...] = (),
    **tokens: int,
) -> BilledLine:
    money = None if nanos is None else Fraction(nanos)
    return BilledLine(1, day, model, keys, kind, tokens, money)


def ours(
    nanos: int = 1_000, day: date = MONDAY, count: int = 1, presumed: int = 0, **tokens: int
) -> dict[Place, Side]:
    full = dict.fromkeys(("input", "cache_read", "cache_write", "output"), 0) | tokens
    place = Place(day.isoformat(), "openai", "gpt-test")
    return {place: Side(full, Fraction(nanos), count, presumed)}


def differences(
    lines: list[BilledLine], ledger: dict[Place, Side], plan: Plan = PLAN, places: int = 9
) -> list[Difference]:
    days = days_between(MONDAY, TUESDAY)
    return reconcile(Export(lines=lines, places=places), ledger, plan, days)


def kinds(
    lines: list[BilledLine], ledger: dict[Place, Side], plan: Plan = PLAN, places: int = 9
) -> list[str]:
    return [difference.kind for difference in differences(lines, ledger, plan, places)]


BOTH = {"input": 100, "output": 10}


@pytest.mark.parametrize(
    ("billed", "booked_", "kind"),
    [
        (line(**BOTH), ours(**BOTH), SAME),
        (line(1_003, **BOTH), ours(count=3, **BOTH), ROUNDING),
        (line(1_004, **BOTH), ours(count=2, **BOTH), PRICE),
        (line(900, **BOTH), ours(**BOTH), PRICE),
        (line(input=200, output=10), ours(**BOTH), AROUND),
        (line(input=100, output=9), ours(**BOTH), MISSING),
        (line(input=101, output=9), ours(**BOTH), TOKENS),
        (line(cache_read=50, **BOTH), ours(cache_read=40, **BOTH), TOKENS),
        (line(900, **BOTH), ours(presumed=400, **BOTH), PRESUMPTION),
        (line(None, **BOTH), ours(**BOTH), SAME),
        (line(None, input=200, output=10), ours(**BOTH), AROUND),
        (line(2_000), ours(**BOTH), MONEY),
        (line(), ours(**BOTH), SAME),
    ],
)
def test_a_difference_is_of_the_kind_that_tokens_and_money_say(
    billed: BilledLine, booked_: dict[Place, Side], kind: str
) -> None:
    assert kinds([billed], booked_) == [kind]


def test_what_the_ledger_has_nothing_of_went_around_the_gateway() -> None:
    (found,) = differences([line(**BOTH)], {})
    assert (found.kind, found.note) == (AROUND, "the ledger has nothing of it")
    assert kinds([line()], {}) == [AROUND]


def test_what_the_bill_has_nothing_of_is_missing() -> None:
    found = differences([line(**BOTH)], ours(**BOTH) | ours(day=TUESDAY, **BOTH))
    assert [d.kind for d in found] == [SAME, MISSING]
    assert found[1].nanos == -1_000


def test_a_bill_that_does_not_tell_the_output_does_not_tell_that_the_tokens_are_the_same() -> None:
    (found,) = differences([line(900, input=100)], ours(**BOTH))
    assert (found.kind, found.note) == (MONEY, "the bill does not tell its output tokens")
    assert kinds([line(900, input=100)], ours(input=100)) == [PRICE], "embeddings have none"
    assert kinds([line(1_000, input=100)], ours(**BOTH)) == [SAME], "and the money agrees"


def test_a_line_for_each_class_means_that_a_class_without_a_line_was_not_billed() -> None:
    export = Export(lines=[line(900, input=100)], places=9, by_class=True)
    (found,) = reconcile(export, ours(**BOTH), PLAN, [MONDAY])
    assert found.kind == MISSING


def test_tokens_on_a_bill_that_has_amounts_for_other_models_alone_are_not_the_same() -> None:
    lines = [line(None, **BOTH), line(500, model="gpt-other", **BOTH)]
    other = {Place(MONDAY.isoformat(), "openai", "gpt-other"): Side(BOTH, Fraction(500), 1)}
    first, second = differences(lines, ours(**BOTH) | other)
    assert (first.kind, second.kind) == (SAME, MONEY)
    assert second.note == "the bill has its tokens, and no amount for them"
    assert kinds(lines, ours(nanos=1, **BOTH) | other) == [SAME, SAME], "less than it rounds"
    tuesday = [line(None, day=TUESDAY, **BOTH), line(500, model="gpt-other", **BOTH)]
    assert kinds(tuesday, ours(day=TUESDAY, **BOTH) | other) == [SAME, SAME], "another day"


def test_a_bill_in_cents_is_rounded_by_half_a_cent_a_line() -> None:
    half_a_cent = 5_000_000
    ledger = ours(1_000_000_000, **BOTH)
    within = [line(1_000_000_000 + half_a_cent, **BOTH)]
    assert kinds(within, ledger, places=2) == [ROUNDING]
    beyond = [line(1_000_000_000 + half_a_cent + 2, **BOTH)]
    assert kinds(beyond, ledger, places=2) == [PRICE]


def test_credits_and_taxes_stand_for_themselves() -> None:
    lines = [line(**BOTH), line(-300, kind=CREDIT), line(-200, kind=CREDIT), line(50, kind=OTHER)]
    found = differences(lines, ours(**BOTH))
    told = {difference.kind: difference.nanos for difference in found}
    assert told == {SAME: 0, CREDITS: -500, BESIDE: 50}
    assert all(difference.explained for difference in found)


def test_a_request_across_midnight_is_not_taken_for_traffic_around_the_gateway() -> None:
    lines = [line(2_000, TUESDAY, input=200, output=20)]
    ledger = ours(**BOTH) | ours(day=TUESDAY, **BOTH)
    assert kinds(lines, ledger) == [MIDNIGHT, MIDNIGHT]
    dearer = [line(2_500, TUESDAY, input=200, output=20)]
    assert kinds(dearer, ledger) == [MISSING, AROUND]


def test_a_key_that_is_not_the_gateways_went_around_it() -> None:
    plan = Plan(providers=("openai",), keys={"key_gateway": "openai"})
    lines = [
        line(keys=("key_gateway", "proj_a"), **BOTH),
        line(700, keys=("key_laptop", "proj_a"), input=5, output=5),
    ]
    found = differences(lines, ours(**BOTH), plan)
    assert [(d.kind, d.place.provider) for d in found] == [(AROUND, ""), (SAME, "openai")]
    assert found[0].note == "key_laptop, proj_a: not a key of the gateway"


def test_costs_of_whole_days_are_held_against_whole_days() -> None:
    usage = line(None, **BOTH)
    whole_day = line(1_000, model="")
    assert kinds([usage, whole_day], ours(**BOTH)) == [SAME, SAME]
    assert kinds([usage, line(1_500, model="")], ours(**BOTH)) == [PRICE, SAME]
    assert kinds([line(1_500, model="")], ours(**BOTH)) == [MONEY]


def test_usage_and_costs_from_two_files_are_one_bill() -> None:
    usage, costs = Export(lines=[line(None, **BOTH)]), Export(lines=[line(1_500)], places=9)
    usage.add(costs)
    (found,) = reconcile(usage, ours(**BOTH), PLAN, [MONDAY])
    assert (found.kind, found.nanos) == (PRICE, 500)


def test_months_are_compared_as_a_whole() -> None:
    plan = Plan(providers=("openai",), by_month=True)
    lines = [line(500, MONDAY, **BOTH), line(500, TUESDAY, **BOTH)]
    place = Place("2026-11", "openai", "gpt-test")
    ledger = {place: Side({"input": 200, "output": 20}, Fraction(1_000), 2)}
    assert kinds(lines, ledger, plan) == [SAME]


@given(st.integers(-(10**15), 10**15), st.lists(st.integers(0, 10**12), min_size=1, max_size=30))
def test_parts_of_a_difference_add_up_to_it_and_are_in_proportion(
    total: int, weights: list[int]
) -> None:
    parts = shared(total, weights)
    assert sum(parts) == total
    whole = sum(weights)
    for part, weight in zip(parts, weights, strict=True):
        share = Fraction(total * weight, whole) if whole else Fraction(total, len(weights))
        assert abs(part - share) < 1


USED = Usage(
    input=10,
    cache_read=20,
    cache_read_audio=1,
    cache_write=30,
    cache_write_1h=2,
    output=5,
    reasoning=4,
    audio_input=3,
    image_output=6,
)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Empty books on each engine in turn."""
    found = opened(database_url)
    yield found
    found.close()


def some_books(database: Database, at: str, **more: Any) -> Books:
    """Books with one entry of a hundred nano-dollars at a moment."""
    books = Books(database, clock=FrozenClock(at))
    book_one(books, **more)
    return books


def book_one(books: Books, **more: Any) -> None:
    ending = charged(USED, **{"model_served": "gpt-test-2026-01-01", "amount_nanos": 100} | more)
    books.end(books.hold(1_000, 1_000), ending)


def test_what_is_booked_is_summed_by_day_and_model_in_the_bills_figures(database: Database) -> None:
    books = some_books(database, "2026-11-02T23:59:59+00:00")
    books.clock.move(1)
    book_one(books)
    book_one(books)
    days = days_between(MONDAY, TUESDAY)
    found = booked(books.database, "main", PLAN, days, UTC)
    monday, tuesday = (found[Place(str(day), "openai", "gpt-test")] for day in days)
    assert monday.tokens == {"input": 66, "cache_read": 21, "cache_write": 32, "output": 15}
    assert (monday.nanos, monday.count, tuesday.nanos, tuesday.count) == (100, 1, 200, 2)
    assert booked(books.database, "main", Plan(providers=("other",)), days, UTC) == {}


def test_the_ledgers_day_is_the_bills(database: Database) -> None:
    books = some_books(database, "2026-11-02T07:59:59+00:00")  # 1 November in California
    found = booked(books.database, "main", PLAN, [MONDAY], UTC)
    assert set(found) == {Place("2026-11-02", "openai", "gpt-test")}
    pacific = ZoneInfo("America/Los_Angeles")
    days = days_between(date(2026, 11, 1), MONDAY)
    found = booked(books.database, "main", PLAN, days, pacific)
    assert set(found) == {Place("2026-11-01", "openai", "gpt-test")}


def test_presumed_money_is_told_until_it_is_corrected(database: Database) -> None:
    books = some_books(database, "2026-11-02T12:00:00+00:00", quality=PRESUMED)
    (side,) = booked(books.database, "main", PLAN, [MONDAY], UTC).values()
    assert side.presumed == 100
