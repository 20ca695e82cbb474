"""What differs between two price books: models that came, went, or cost something else now.

Rates that nobody stated follow their neighbours (`assembling`), so a change of `output` would be
told again for `reasoning`. Such an echo is left out: a class is told when either book's rate for
it is not simply its neighbour's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from gateway.prices.assembling import FALLBACK
from gateway.prices.book import PriceBook
from gateway.prices.rates import Price, Rates, Tier

_TENTH = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Change:
    """One rate of one model that is not what it was; nano-dollars per million tokens (or calls).

    `what` is a class, with its tier: "input", "output above 200000", "flex input". `before` is
    None where the old book has no such rate, `after` where the new one has none.
    """

    provider: str
    model: str
    what: str
    before: int | None
    after: int | None

    @property
    def percent(self) -> Decimal | None:
        """By how much it moved, to a tenth; None where there is nothing to compare with."""
        if not self.before or self.after is None:
            return None
        exact = Decimal(self.after - self.before) * 100 / Decimal(self.before)
        return exact.quantize(_TENTH, ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Difference:
    """All that differs; models are "provider/model", sorted."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[Change, ...]

    @property
    def empty(self) -> bool:
        """Whether both books state the same prices for the same models."""
        return not (self.added or self.removed or self.changed)


def compare(old: PriceBook, new: PriceBook) -> Difference:
    """What `new` says that `old` did not, model by model and class by class."""
    before, after = set(old.models), set(new.models)
    changed = [
        change
        for provider, model in sorted(before & after)
        for change in _changes(provider, model, old, new)
    ]
    return Difference(
        added=tuple("/".join(name) for name in sorted(after - before)),
        removed=tuple("/".join(name) for name in sorted(before - after)),
        changed=tuple(changed),
    )


def _changes(provider: str, model: str, old: PriceBook, new: PriceBook) -> Iterator[Change]:
    before, after = old.find(provider, model), new.find(provider, model)
    if before is None or after is None:  # both have it: only for the type checker's sake
        return
    was, now = stated_rates(before.price), stated_rates(after.price)
    echoes = _echoes(before.price) & _echoes(after.price)
    for what in dict.fromkeys((*was, *now)):
        if was.get(what) != now.get(what) and what not in echoes:
            yield Change(provider, model, what, was.get(what), now.get(what))


def stated_rates(price: Price) -> dict[str, int]:
    """Every rate of a price by what it is for: "input", "output above 200000", "flex input"."""
    return {what: rate for what, rate, _ in _walk(price)}


def _echoes(price: Price) -> set[str]:
    """The rates that only repeat their neighbour's, and fees that are not there."""
    return {what for what, _, is_echo in _walk(price) if is_echo}


def _walk(price: Price) -> Iterator[tuple[str, int, bool]]:
    yield from _rates("{}", price.rates)
    yield from _tiers("{}", price.tiers)
    for name, schedule in sorted(price.service_tiers.items()):
        yield from _rates(f"{name} {{}}", schedule.rates)
        yield from _tiers(f"{name} {{}}", schedule.tiers)


def _tiers(form: str, tiers: tuple[Tier, ...]) -> Iterator[tuple[str, int, bool]]:
    for tier in tiers:
        word = "from" if tier.at_or_above else "above"
        yield from _rates(f"{form} {word} {tier.above}", tier.rates)


def _rates(form: str, rates: Rates) -> Iterator[tuple[str, int, bool]]:
    for name in Rates.__struct_fields__:
        rate = getattr(rates, name)
        neighbour = FALLBACK.get(name)
        is_echo = neighbour is not None and rate == getattr(rates, neighbour)
        yield form.format(name), rate, is_echo
