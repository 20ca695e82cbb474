"""A price in routes.yaml means what was typed, in one of four ways, or is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.errors import ConfigurationError
from gateway.metering.usage import Usage
from gateway.prices.assembling import Statement, TierStatement, assemble
from gateway.prices.rates import Price, charge
from gateway.prices.stated import StatedPrice, to_price

DOLLAR = 1_000_000_000


def written(text: str, base: Price | None = None) -> Price:
    return to_price(StatedPrice.model_validate(yaml.safe_load(text)), base)


@pytest.mark.parametrize("amount", ["2.5", "2.50", '"2.50"', "25e-1"])
def test_an_amount_is_the_same_as_number_and_as_text(amount: str) -> None:
    assert written(f"{{input: {amount}, output: 10}}").rates.input == 2_500_000_000


@given(st.integers(1, 999_999), st.integers(0, 6))
def test_a_number_that_yaml_makes_a_float_is_what_was_typed(digits: int, places: int) -> None:
    typed = f"{Decimal(digits).scaleb(-places):f}"

    price = written(f"{{input: {typed}, output: {typed}}}")

    assert price.rates.input == Decimal(typed) * DOLLAR


@pytest.mark.parametrize(
    "amount",
    ["-1", "true", ".nan", ".inf", "much", "1.2345678901", "1.2345678901234567", "[1]"],
)
def test_what_is_not_an_exact_amount_is_refused(amount: str) -> None:
    with pytest.raises(ValidationError):
        written(f"{{input: {amount}, output: 10}}")


def test_all_classes_and_tiers_can_be_stated() -> None:
    price = written(
        """
        input: 3
        output: 15
        cache_read: 0.30
        cache_write: 3.75
        cache_write_1h: 6
        per_call: 0.01
        tiers:
          - {above: 200000, input: 6, output: 22.5}
        service_tiers:
          flex: {input: 1.5, output: 7.5, cache_read: 0.15}
        """
    )

    assert price.rates.cache_write_1h == 6 * DOLLAR
    assert price.rates.reasoning == 15 * DOLLAR
    assert price.tiers[0].rates.cache_write == 7_500_000_000
    assert price.service_tiers["flex"].rates.cache_read == 150_000_000
    assert charge(price, Usage(requests=3), None).amount_nanos == 30_000_000
    assert (price.source, price.free) == ("routes.yaml", False)


def test_free_is_a_word() -> None:
    price = written("free")

    assert price.free
    assert charge(price, Usage(input=10, output=10, requests=1), None).amount_nanos == 0


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "gratis",
        "{input: 1}",
        "{output: 1}",
        "{input: 0, output: 0}",
        "{input: 1, output: 1, free: true}",
        "{input: 1, output: 1, discount_percent: 10}",
        "{discount_percent: 0}",
        "{discount_percent: 100}",
        "{per_hour: 2}",
        "{tokens_per_second: 100}",
        "{per_hour: 2, input_tokens_per_second: 100}",
        "{per_hour: 2, tokens_per_second: 0}",
        "{per_hour: 2, tokens_per_second: 100, output: 1}",
        "{input: 1, output: 1, outptu: 2}",
        "{input: 1, output: 1, tiers: [{above: 0, input: 2}]}",
        "{input: 1, output: 1, tiers: [{above: 9, input: 2}, {above: 9, input: 3}]}",
    ],
)
def test_a_price_is_stated_wholly_and_in_one_way(text: str) -> None:
    with pytest.raises(ValidationError):
        written(text)


def test_an_embedding_says_that_it_has_no_output() -> None:
    assert written("{input: 0.02, output: 0}").rates.input == 20_000_000


def test_a_discount_applies_to_every_rate_of_the_book() -> None:
    base = assemble(
        Statement(
            rates={"input": 3 * DOLLAR, "output": 15 * DOLLAR, "requests": 10 * DOLLAR},
            tiers=(TierStatement(above=9, at_or_above=True, rates={"input": 6 * DOLLAR}),),
        ),
        {"flex": Statement(rates={"input": DOLLAR})},
        source="the book",
        valid_from=7,
    )

    price = written("{discount_percent: 12.5}", base)

    assert price.rates.input == 2_625_000_000
    assert price.rates.requests == 8_750_000_000
    assert price.tiers[0].rates.input == 5_250_000_000
    assert price.tiers[0].at_or_above
    assert price.service_tiers["flex"].rates.input == 875_000_000
    assert price.source == "the book, less 12.5% (routes.yaml)"
    assert price.valid_from == 7


def test_a_discount_on_an_unknown_price_is_a_problem_in_the_file() -> None:
    with pytest.raises(ConfigurationError, match="discount_percent"):
        written("{discount_percent: 20}")


def test_a_machine_is_priced_by_the_hour_and_its_throughput() -> None:
    # 3.60 an hour is a tenth of a cent a second: 1,000 tokens, or 1 dollar a million.
    price = written("{per_hour: 3.60, tokens_per_second: 1000, input_tokens_per_second: 8000}")

    assert price.rates.output == DOLLAR
    assert price.rates.reasoning == DOLLAR
    assert price.rates.input == DOLLAR // 8
    assert written("{per_hour: 3.60, tokens_per_second: 1000}").rates.input == DOLLAR


def test_a_machines_price_is_rounded_to_the_nearest_nano() -> None:
    price = written("{per_hour: 1, tokens_per_second: 42.7}")

    exact = Decimal(DOLLAR) * 1_000_000 / (Decimal("42.7") * 3600)
    assert abs(price.rates.output - exact) <= Decimal("0.5")


def test_an_editor_is_told_that_free_will_do() -> None:
    assert {"const": "free"} in StatedPrice.model_json_schema()["anyOf"]
