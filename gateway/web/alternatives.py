"""What a month's tokens of a job would have cost elsewhere: at the list prices of other targets.

It is a reckoning and not an experiment: the same tokens, in the same classes, at each target's
prices. Another model counts and answers otherwise, prices that rise with a prompt's size are left
out, and so is what a cache there would have done. The pages say so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.jobs.routes import Job, Routes, Target
from gateway.ledger.spending import Total
from gateway.metering.usage import CLASSES
from gateway.money import TOKENS_PER_PRICE, round_half_even
from gateway.prices.rates import Price


@dataclass(frozen=True, slots=True)
class Alternative:
    """One target, and what the tokens would have cost there, in nano-dollars.

    `nanos` is None where the target has no price.
    """

    target: Target
    price: Price | None
    nanos: int | None
    is_in_chain: bool
    """Whether the job falls back to it."""


def alternatives(job: Job, routes: Routes, used: Total, moment: int) -> list[Alternative]:
    """Every target that the job could have, the cheapest first, at the prices of a moment.

    A job that stays in the house is only compared with targets in the house.
    """
    own = {target.name for target in job.targets}
    found: dict[str, Alternative] = {}
    for target in _all(job, routes):
        if job.residency == "on_prem" and target.provider.residency != "on_prem":
            continue
        if target.name not in found:
            price = target.price_at(moment)
            nanos = None if price is None else cost(price, used)
            found[target.name] = Alternative(target, price, nanos, target.name in own)
    return sorted(
        found.values(), key=lambda one: (one.nanos is None, one.nanos or 0, one.target.name)
    )


def cost(price: Price, used: Total) -> int:
    """Nano-dollars of a usage at list prices, rounded once."""
    exact = sum(used.of(name) * getattr(price.rates, name) for name in CLASSES)
    return round_half_even(exact, TOKENS_PER_PRICE)


def _all(job: Job, routes: Routes) -> Iterable[Target]:
    yield from job.targets
    for other in routes.jobs.values():
        yield from other.targets
