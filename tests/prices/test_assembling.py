"""What a source leaves out is filled by rule, and never with zero."""

from __future__ import annotations

import pytest

from gateway.metering.usage import TOKEN_CLASSES
from gateway.prices.assembling import (
    FALLBACK,
    Statement,
    TierStatement,
    assemble,
    complete,
)
from gateway.prices.rates import Price

INPUT, OUTPUT = 1_000, 4_000


def a_price(
    extra: dict[str, int],
    *,
    tier: dict[str, int] | None = None,
    flex: dict[str, int] | None = None,
    flex_tier: dict[str, int] | None = None,
) -> Price:
    """Rates as small numbers; a tier above 10 tokens, a flex service, and its own tier there."""
    tiers = () if tier is None else (TierStatement(above=10, rates=tier),)
    flex_tiers = () if flex_tier is None else (TierStatement(above=10, rates=flex_tier),)
    services = {} if flex is None else {"flex": Statement(rates=flex, tiers=flex_tiers)}
    stated = Statement(rates={"input": INPUT, "output": OUTPUT} | extra, tiers=tiers)
    return assemble(stated, services, source="a test")


@pytest.mark.parametrize(
    ("stated", "name", "rate"),
    [
        ({}, "cache_read", INPUT),
        ({}, "cache_write", INPUT),
        ({}, "cache_write_1h", INPUT),
        ({"cache_write": 1_250}, "cache_write_1h", 1_250),
        ({"cache_write": 1_250, "cache_write_1h": 2_000}, "cache_write_1h", 2_000),
        ({}, "reasoning", OUTPUT),
        ({"reasoning": 9_000}, "reasoning", 9_000),
        ({}, "audio_input", INPUT),
        ({}, "audio_output", OUTPUT),
        ({"cache_read": 100}, "cache_read_audio", 100),
        ({"audio_input": 7_000}, "cache_read_audio", INPUT),
        ({}, "image_input", INPUT),
        ({}, "image_output", OUTPUT),
        ({}, "requests", 0),
    ],
)
def test_an_unstated_class_costs_what_its_neighbour_costs(
    stated: dict[str, int], name: str, rate: int
) -> None:
    assert getattr(a_price(stated).rates, name) == rate


def test_every_class_but_plain_text_has_a_fallback() -> None:
    assert set(FALLBACK) == set(TOKEN_CLASSES) - {"input", "output"}


def test_a_stated_zero_is_believed() -> None:
    assert complete({"input": INPUT, "output": OUTPUT, "cache_read": 0}).cache_read == 0


def test_an_embedding_without_an_output_rate_has_output_at_no_cost() -> None:
    assert complete({"input": INPUT}).output == 0


@pytest.mark.parametrize(
    ("base", "tier", "name", "rate"),
    [
        ({"cache_read": 100}, {"input": 2_000}, "cache_read", 200),
        ({"cache_write": 1_250}, {"input": 2_000}, "cache_write", 2_500),
        (
            {"cache_write": 1_250, "cache_write_1h": 2_000},
            {"input": 2_000},
            "cache_write_1h",
            4_000,
        ),
        ({"reasoning": 2_000}, {"output": 6_000}, "reasoning", 3_000),
        ({}, {"output": 6_000}, "reasoning", 6_000),
        ({}, {"input": 2_000}, "output", OUTPUT),
        ({"audio_input": 3_001}, {"input": 1_500}, "audio_input", 4_502),
        ({"requests": 77}, {"input": 2_000}, "requests", 77),
    ],
)
def test_a_size_tier_moves_unstated_classes_in_proportion(
    base: dict[str, int], tier: dict[str, int], name: str, rate: int
) -> None:
    (above,) = a_price(base, tier=tier).tiers

    assert getattr(above.rates, name) == rate


def test_a_cheaper_service_does_not_make_cached_tokens_cheaper_unless_it_says_so() -> None:
    half = {"input": INPUT // 2, "output": OUTPUT // 2}

    silent = a_price({"cache_read": 100}, flex=half).service_tiers["flex"]
    saying = a_price({"cache_read": 100}, flex=half | {"cache_read": 50}).service_tiers["flex"]
    without_a_rate = a_price({}, flex=half).service_tiers["flex"]

    assert silent.rates.cache_read == 100
    assert saying.rates.cache_read == 50
    assert without_a_rate.rates.cache_read == INPUT // 2


def test_reasoning_on_a_cheaper_service_is_cheaper_as_output_is() -> None:
    price = a_price({"reasoning": OUTPUT}, flex={"input": INPUT, "output": 2_000})

    assert price.service_tiers["flex"].rates.reasoning == 2_000


def test_a_service_that_is_silent_about_long_requests_has_their_price_in_proportion() -> None:
    price = a_price(
        {}, tier={"input": 2_000, "output": 6_000}, flex={"input": 500, "output": 2_000}
    )

    (above,) = price.service_tiers["flex"].tiers

    assert (above.above, above.rates.input, above.rates.output) == (10, 1_000, 3_000)


def test_a_service_that_states_long_requests_is_believed() -> None:
    price = a_price(
        {"cache_read": 100},
        tier={"input": 2_000, "output": 6_000},
        flex={"input": 500, "output": 2_000},
        flex_tier={"input": 600},
    )

    (above,) = price.service_tiers["flex"].tiers

    assert (above.rates.input, above.rates.output) == (600, 3_000)


def test_a_class_that_costs_nothing_leaves_no_proportion_and_the_dearer_rate_counts() -> None:
    (above,) = a_price({"input": 0, "cache_read": 70}, tier={"input": 50}).tiers

    assert above.rates.cache_read == 70
    assert above.rates.cache_write == 50
