"""A price far from the book's is questioned, and the likely slip is named."""

from __future__ import annotations

import json

import pytest

from gateway.prices.book import PriceBook
from gateway.prices.checking import check_against_book
from gateway.prices.stated import StatedPrice, to_price

BOOK = PriceBook(
    b"\n".join(
        json.dumps(line).encode()
        for line in (
            {"from": "a test", "version": "1", "imported": "2026-11-02"},
            {
                "provider": "acme",
                "model": "large",
                "mode": "chat",
                "rates": {"input": "3", "cache_read": "0.3", "output": "15"},
            },
        )
    )
)


def verdict(model: str = "large", **rates: str) -> str | None:
    stated = StatedPrice.model_validate({"input": "3", "output": "15"} | rates)
    return check_against_book("acme", model, to_price(stated, None), BOOK)


@pytest.mark.parametrize("rate", ["3", "0.6", "15", "2.40"])
def test_a_price_within_five_times_the_books_is_believed(rate: str) -> None:
    assert verdict(input=rate) is None


@pytest.mark.parametrize(
    ("name", "rate", "meaning"),
    [
        ("input", "0.000003", "a price per token"),
        ("output", "0.000012", "a price per token"),
        ("input", "0.003", "a price per 1,000 tokens"),
        ("input", "300", "cents"),
        ("input", "0.03", "divided by 100"),
        ("output", "15000", "multiplied by 1,000 "),
        ("input", "3000000", "multiplied by 1,000,000"),
        ("cache_read", "30", "cents"),
        ("input", "0", "write `free`"),
    ],
)
def test_a_slip_of_the_unit_is_named(name: str, rate: str, meaning: str) -> None:
    problem = verdict(**{name: rate})

    assert problem is not None
    assert problem.startswith(f"acme/large: `{name}` is stated as ")
    assert meaning in problem


@pytest.mark.parametrize("rate", ["0.59", "15.01", "30"])
def test_a_price_just_beyond_five_times_is_questioned_without_a_guess(
    rate: str,
) -> None:
    problem = verdict(input=rate)

    assert problem is not None
    assert "looks like" not in problem


def test_a_class_that_was_not_stated_is_not_questioned() -> None:
    assert verdict() is None  # cache_read falls back to input, ten times the book's


def test_a_model_that_the_book_does_not_have_cannot_be_compared() -> None:
    assert verdict("unheard-of", input="0.000001") is None


def test_a_price_declared_free_is_a_decision() -> None:
    free = to_price(StatedPrice.model_validate("free"), None)

    assert check_against_book("acme", "large", free, BOOK) is None
