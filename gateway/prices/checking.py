"""Is a stated price plausible? A slip of the unit is a factor of a hundred, or of a million.

A stated price is believed; this room only finds those so far from the price book that the writer
most likely meant another unit, and says which.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from gateway.metering.usage import TOKEN_CLASSES
from gateway.money import to_dollars
from gateway.prices.assembling import FALLBACK
from gateway.prices.book import PriceBook
from gateway.prices.rates import Price, Rates, Tier

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

    Looked at are the standard rates and those of every size tier and service tier that both
    state. None as well for a model that the book does not have, and for a price that is declared
    free.
    """
    facts = book.find(provider, model)
    if facts is None or price.free:
        return None
    for where, ours, theirs in _side_by_side(price, facts.price):
        for name in TOKEN_CLASSES:
            our_rate, their_rate = getattr(ours, name), getattr(theirs, name)
            # An unstated class costs what its neighbour does; that it differs is not a slip.
            if their_rate and not _is_fallback(ours, name):
                ratio = Fraction(our_rate, their_rate)
                if ratio * _SUSPICIOUS < 1 or ratio > _SUSPICIOUS:
                    said = _sentence(f"`{name}`{where}", our_rate, their_rate)
                    return f"{provider}/{model}: {said} ({book.version})"
    return None


def _side_by_side(ours: Price, theirs: Price) -> Iterator[tuple[str, Rates, Rates]]:
    """Rates of both prices for the same requests, and words for which those are."""
    yield "", ours.rates, theirs.rates
    yield from _tiers("", ours.tiers, theirs.tiers)
    for name in ours.service_tiers.keys() & theirs.service_tiers.keys():
        mine, listed = ours.service_tiers[name], theirs.service_tiers[name]
        yield f" of {name}", mine.rates, listed.rates
        yield from _tiers(f" of {name}", mine.tiers, listed.tiers)


def _tiers(
    where: str, ours: tuple[Tier, ...], theirs: tuple[Tier, ...]
) -> Iterator[tuple[str, Rates, Rates]]:
    listed = {tier.above: tier.rates for tier in theirs}
    for tier in ours:
        if tier.above in listed:
            yield f"{where} above {tier.above:,} tokens", tier.rates, listed[tier.above]


def _is_fallback(rates: Rates, name: str) -> bool:
    neighbour = FALLBACK.get(name)
    return neighbour is not None and getattr(rates, name) == getattr(rates, neighbour)


def _sentence(what: str, ours: int, theirs: int) -> str:
    said = f"{what} is stated as ${_plain(ours)} per million tokens"
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
