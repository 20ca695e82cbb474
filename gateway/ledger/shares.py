"""Which class of tokens an entry's amount is for.

An amount is rounded once, as a whole (law 8), but an invoice has a line for each class. So each
class gets the whole nano-dollars of its own product, rounded down, and the largest class gets
what is left over, which is less than a nano for each class. The shares of an entry always add up
to its amount.

An amount that is not the product of usage and prices (what a provider stated) is shared out in
proportion to the products, and what is left over goes to the largest class as well.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.metering.usage import CLASSES
from gateway.money import TOKENS_PER_PRICE, round_half_even
from gateway.prices.rates import Rates


class Share(msgspec.Struct, frozen=True):
    """What one class used and cost.

    `exact` is number times unit price, in nano-dollars times a million; `rate` is that unit
    price, None when the amount does not follow from prices.
    """

    token_class: str
    number: int
    nanos: int
    rate: int | None
    exact: int = 0


def shares(usage: Mapping[str, int], rates: Rates | None, nanos: int) -> list[Share]:
    """The shares of the classes that were used; none when nothing was.

    `usage` has the number of tokens (or calls with a fee) of each class.
    """
    used = [(name, usage[name]) for name in CLASSES if usage[name]]
    if not used:
        return []
    unit = {name: 0 if rates is None else getattr(rates, name) for name, _ in used}
    exact = [number * unit[name] for name, number in used]
    largest = max(range(len(used)), key=lambda place: (exact[place], used[place][1], -place))
    if round_half_even(sum(exact), TOKENS_PER_PRICE) == nanos:
        parts = [product // TOKENS_PER_PRICE for product in exact]
        parts[largest] += nanos - sum(parts)
        return [
            Share(name, number, part, unit[name], product)
            for (name, number), part, product in zip(used, parts, exact, strict=True)
        ]
    weights = exact if any(exact) else [number for _, number in used]
    total = sum(weights)
    parts = [nanos * weight // total for weight in weights]
    parts[largest] += nanos - sum(parts)
    return [
        Share(name, number, part, None) for (name, number), part in zip(used, parts, strict=True)
    ]
