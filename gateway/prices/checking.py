"""Is a stated price plausible? A slip of the unit is a factor of a hundred, or of a million.

A stated price is believed; this room only finds those so far from the price book that the writer
most likely meant another unit, and says which.
"""

from __future__ import annotations

from fractions import Fraction

from gateway.metering.usage import TOKEN_CLASSES
from gateway.money import to_dollars
from gateway.prices.assembling import FALLBACK
from gateway.prices.book import PriceBook
from gateway.prices.rates import Price, Rates

_SUSPICIOUS = 5
"""Contracts move a price by less than this; slips of the unit by more."""

_NEAR = 3
"""How close a ratio must be to a slip's factor to be taken for it."""

_SLIPS = (
    (Fraction(1, 1_000_000), "a price per token, where USD per million tokens belong"),
    (
        Fraction(1, 1000),
        "a price per 1,000 tokens, where USD per million tokens belong",
    ),
    (
        Fraction(1, 100),
        "an amount divided by 100 once too often, as if it had been cents",
    ),
    (Fraction(100), "cents, where dollars belong"),
    (Fraction(1000), "a price multiplied by 1,000 once too often"),
    (Fraction(1_000_000), "a price multiplied by 1,000,000 once too often"),
)


def check_against_book(provider: str, model: str, price: Price, book: PriceBook) -> str | None:
    """One sentence when a rate is more than five times off the book's, or None.

    None as well for a model that the book does not have, and for a price that is declared free.
    """
    facts = book.find(provider, model)
    if facts is None or price.free:
        return None
    listed = facts.price.rates
    for name in TOKEN_CLASSES:
        ours, theirs = getattr(price.rates, name), getattr(listed, name)
        # An unstated class costs what its neighbour does; that it differs is not a slip.
        if theirs and not _is_fallback(price.rates, name):
            ratio = Fraction(ours, theirs)
            if ratio * _SUSPICIOUS < 1 or ratio > _SUSPICIOUS:
                return f"{provider}/{model}: {_sentence(name, ours, theirs)} ({book.version})"
    return None


def _is_fallback(rates: Rates, name: str) -> bool:
    neighbour = FALLBACK.get(name)
    return neighbour is not None and getattr(rates, name) == getattr(rates, neighbour)


def _sentence(name: str, ours: int, theirs: int) -> str:
    said = f"`{name}` is stated as ${_plain(ours)} per million tokens"
    if ours == 0:
        return f"{said}, but the price book has ${_plain(theirs)}; write `free` if that is meant"
    ratio = Fraction(ours, theirs)
    off = f"{round(ratio):,} times" if ratio > 1 else f"1/{round(1 / ratio):,} of"
    for factor, meaning in _SLIPS:
        if factor / _NEAR <= ratio <= factor * _NEAR:
            return f"{said}, {off} the price book's ${_plain(theirs)}: it looks like {meaning}"
    return f"{said}, {off} the price book's ${_plain(theirs)}"


def _plain(nanos: int) -> str:
    return f"{to_dollars(nanos).normalize():f}"
