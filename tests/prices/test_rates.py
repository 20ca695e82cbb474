"""A usage costs exactly what its rates say, and never more than was bound."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.metering.usage import CLASSES, NOTHING, TOKEN_CLASSES, Usage
from gateway.prices.assembling import Statement, TierStatement, assemble
from gateway.prices.rates import (
    INPUT_CLASSES,
    NO_COST,
    OUTPUT_CLASSES,
    TEXT_CLASSES,
    Price,
    Rates,
    bound,
    charge,
)

DOLLAR = 1_000_000_000
EVERY_CLASS = INPUT_CLASSES | OUTPUT_CLASSES

RATE = st.integers(0, 600 * DOLLAR)
RATES = st.fixed_dictionaries(
    {"input": RATE, "output": RATE},
    optional={name: RATE for name in CLASSES if name not in ("input", "output")},
)
SOME_RATES = st.fixed_dictionaries({}, optional=dict.fromkeys(CLASSES, RATE))
TIERS = st.lists(
    st.builds(
        TierStatement,
        above=st.sampled_from((10, 128_000, 200_000)),
        at_or_above=st.booleans(),
        rates=SOME_RATES,
    ),
    max_size=2,
    unique_by=lambda tier: tier.above,
).map(tuple)
SERVICES = st.dictionaries(
    st.sampled_from(("flex", "priority")),
    st.builds(Statement, rates=SOME_RATES, tiers=TIERS),
)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    return assemble(
        Statement(rates=draw(RATES), tiers=draw(TIERS)), draw(SERVICES), source="a test"
    )


USAGES = st.builds(
    Usage, **{name: st.integers(0, 1_000_000) | st.integers(0, 20) for name in CLASSES}
)


def a_price(*, above: int | None = None, at_or_above: bool = False) -> Price:
    """A dollar a million for every class, and two dollars on the tier."""
    tiers: tuple[TierStatement, ...] = ()
    if above is not None:
        dearer = {"input": 2 * DOLLAR, "output": 2 * DOLLAR}
        tiers = (TierStatement(above=above, at_or_above=at_or_above, rates=dearer),)
    stated = Statement(rates={"input": DOLLAR, "output": DOLLAR}, tiers=tiers)
    return assemble(stated, {}, source="a test")


def test_each_class_has_a_rate_and_is_input_or_output() -> None:
    assert set(Rates.__struct_fields__) == set(CLASSES)
    assert set(TOKEN_CLASSES) == EVERY_CLASS
    assert not INPUT_CLASSES & OUTPUT_CLASSES


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_is_charged_at_its_own_rate_and_no_other(name: str) -> None:
    rates = {field: DOLLAR * (index + 1) for index, field in enumerate(CLASSES)}
    price = assemble(Statement(rates=rates), {}, source="a test")

    charged = charge(price, Usage(**{name: 1_000_000}), None)

    assert charged.amount_nanos == rates[name]


@given(prices(), USAGES, st.sampled_from((None, "flex", "priority", "default")))
def test_a_charge_is_the_exact_sum_rounded_once(
    price: Price, usage: Usage, service_tier: str | None
) -> None:
    charged = charge(price, usage, service_tier)

    exact = Decimal(0)
    for name in CLASSES:
        exact += Decimal(getattr(usage, name)) * Decimal(getattr(charged.rates, name))
    assert charged.amount_nanos == (exact / 1_000_000).quantize(Decimal(1), ROUND_HALF_EVEN)


@pytest.mark.parametrize(
    ("tokens", "nanos"),
    [(1, 0), (2, 1), (3, 2), (5, 2), (7, 4)],
    ids=["half to 0", "whole", "half to 2", "half down to 2", "half up to 4"],
)
def test_half_a_nano_goes_to_the_even_neighbour(tokens: int, nanos: int) -> None:
    half_a_nano_a_token = Statement(rates={"input": 500_000, "output": 0})
    price = assemble(half_a_nano_a_token, {}, source="a test")

    assert charge(price, Usage(input=tokens), None).amount_nanos == nanos


def test_classes_are_added_before_rounding() -> None:
    price = assemble(Statement(rates={"input": 400_000, "output": 400_000}), {}, source="a test")

    assert charge(price, Usage(input=1, output=1), None).amount_nanos == 1


@pytest.mark.parametrize(
    ("at_or_above", "input_tokens", "dollars"),
    [
        (False, 199_999, 1),
        (False, 200_000, 1),
        (False, 200_001, 2),
        (True, 199_999, 1),
        (True, 200_000, 2),
        (True, 200_001, 2),
    ],
)
def test_a_size_tier_begins_after_its_threshold_and_for_some_at_it(
    at_or_above: bool, input_tokens: int, dollars: int
) -> None:
    price = a_price(above=200_000, at_or_above=at_or_above)

    charged = charge(price, Usage(input=input_tokens), None)

    assert charged.amount_nanos == input_tokens * dollars * 1000


def test_cached_tokens_count_towards_the_threshold() -> None:
    usage = Usage(input=1, cache_read=150_000, cache_write=50_000)

    assert charge(a_price(above=200_000), usage, None).rates.input == 2 * DOLLAR


def test_output_tokens_do_not_count_towards_the_threshold_but_change_price_with_it() -> None:
    price = a_price(above=200_000)

    assert charge(price, Usage(output=300_000), None).amount_nanos == 300_000 * 1000
    whole = charge(price, Usage(input=200_001, output=10), None)
    assert whole.amount_nanos == 200_011 * 2000


def test_the_highest_tier_reached_sets_the_price_in_whatever_order_they_come() -> None:
    rates = {dollars: {"input": dollars * DOLLAR, "output": 0} for dollars in (1, 2, 3)}
    tiers = (
        TierStatement(above=50, rates=rates[3]),
        TierStatement(above=10, rates=rates[2]),
    )
    price = assemble(Statement(rates=rates[1], tiers=tiers), {}, source="a test")

    for tokens, dollars in ((10, 1), (11, 2), (50, 2), (51, 3)):
        assert charge(price, Usage(input=tokens), None).rates.input == dollars * DOLLAR


@pytest.mark.parametrize(
    ("answered", "dollars", "on"),
    [
        (None, 10, None),
        ("default", 10, None),
        ("flex", 5, "flex"),
        ("priority", 20, "priority"),
        ("unheard-of", 10, None),
    ],
)
def test_the_answered_service_tier_sets_the_price(
    answered: str | None, dollars: int, on: str | None
) -> None:
    services = {
        "flex": Statement(rates={"input": 5 * DOLLAR, "output": 5 * DOLLAR}),
        "priority": Statement(rates={"input": 20 * DOLLAR, "output": 20 * DOLLAR}),
    }
    price = assemble(
        Statement(rates={"input": 10 * DOLLAR, "output": 10 * DOLLAR}),
        services,
        source="a test",
    )

    charged = charge(price, Usage(output=1_000_000), answered)

    assert (charged.amount_nanos, charged.service_tier) == (dollars * DOLLAR, on)


def test_nothing_used_costs_nothing_and_neither_does_what_is_free() -> None:
    free = Price(rates=NO_COST, source="routes.yaml", free=True)

    assert charge(a_price(), NOTHING, None).amount_nanos == 0
    assert charge(free, Usage(input=5, output=7, requests=1), None).amount_nanos == 0
    assert bound(free, input_tokens=5, output_tokens=7, service_tier=None) == 0


@given(prices(), USAGES, st.sampled_from((None, "auto", "flex", "priority")), st.data())
def test_no_usage_within_the_bound_is_charged_more(
    price: Price, usage: Usage, asked: str | None, data: st.DataObject
) -> None:
    answered = data.draw(st.sampled_from((asked, None, "default")))
    room = data.draw(st.integers(0, 5))

    ceiling = bound(
        price,
        input_tokens=usage.input_total + room,
        output_tokens=usage.output_total + room,
        requests=usage.requests,
        service_tier=asked,
        classes=EVERY_CLASS,
    )

    assert charge(price, usage, answered).amount_nanos <= ceiling


@given(prices(), USAGES, st.sets(st.sampled_from(sorted(EVERY_CLASS))))
def test_the_bound_holds_for_the_classes_that_were_named(
    price: Price, usage: Usage, named: set[str]
) -> None:
    possible = named | {"input", "output"}
    used = Usage(**{name: getattr(usage, name) for name in possible})

    ceiling = bound(
        price,
        input_tokens=used.input_total,
        output_tokens=used.output_total,
        service_tier=None,
        classes=frozenset(named),
    )

    assert charge(price, used, None).amount_nanos <= ceiling


def test_the_bound_is_no_larger_than_the_dearest_use() -> None:
    price = assemble(
        Statement(
            rates={
                "input": 3 * DOLLAR,
                "output": 15 * DOLLAR,
                "cache_write_1h": 6 * DOLLAR,
            }
        ),
        {"priority": Statement(rates={"input": 30 * DOLLAR, "output": 150 * DOLLAR})},
        source="a test",
    )

    text = bound(price, input_tokens=1_000, output_tokens=100, service_tier=None)
    plain = bound(
        price,
        input_tokens=1_000,
        output_tokens=100,
        service_tier=None,
        classes=frozenset(),
    )

    assert text == 1_000 * 6_000 + 100 * 15_000
    assert plain == 1_000 * 3_000 + 100 * 15_000


def test_a_bound_is_rounded_up() -> None:
    price = assemble(Statement(rates={"input": 1, "output": 0}), {}, source="a test")

    assert Fraction(1, 1_000_000) < bound(price, input_tokens=1, output_tokens=0, service_tier=None)


def test_a_request_that_asked_for_flex_can_be_answered_at_the_standard_price() -> None:
    price = assemble(
        Statement(rates={"input": 10 * DOLLAR, "output": 0}),
        {"flex": Statement(rates={"input": 5 * DOLLAR, "output": 0})},
        source="a test",
    )

    ceiling = bound(price, input_tokens=1_000_000, output_tokens=0, service_tier="flex")

    assert ceiling == charge(price, Usage(input=1_000_000), "default").amount_nanos


def test_audio_is_bound_when_it_is_possible() -> None:
    rates = {"input": DOLLAR, "output": DOLLAR, "audio_input": 40 * DOLLAR}
    price = assemble(Statement(rates=rates), {}, source="a test")

    with_audio = TEXT_CLASSES | {"audio_input"}
    ceiling = bound(price, input_tokens=100, output_tokens=0, service_tier=None, classes=with_audio)

    assert ceiling == charge(price, Usage(audio_input=100), None).amount_nanos
