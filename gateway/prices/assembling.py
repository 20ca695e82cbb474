"""From what a source states to a complete price.

No source states all classes. What is missing is filled here, in one way for the price book and
for routes.yaml, and never with zero:

  - a class that a model's price does not state costs what its neighbour costs (`FALLBACK`):
    reasoning as output, a cache read or write as input, a 1-hour write as a 5-minute one,
    audio and images as text, cached audio as cached text;
  - a class that a size tier or service tier does not state moves in proportion to its
    neighbour: where long input costs twice as much, so do its cache writes. A cache read is
    never below its standard rate, because providers that discount a service tier often leave
    cached tokens as they were;
  - a service tier that does not state a size tier which the standard service has gets it in
    the same proportion, so flex is not a way around the long-context price.

Proportions are rounded up to a whole nano-dollar per million. Fees per call are not scaled.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from gateway.metering.usage import TOKEN_CLASSES
from gateway.money import ceil_div
from gateway.prices.rates import Price, Rates, Schedule, Tier

FALLBACK: Mapping[str, str] = MappingProxyType(
    {
        "cache_read": "input",
        "cache_read_audio": "cache_read",
        "cache_write": "input",
        "cache_write_1h": "cache_write",
        "reasoning": "output",
        "audio_input": "input",
        "audio_output": "output",
        "image_input": "input",
        "image_output": "output",
    }
)
"""The neighbour whose rate a class takes when it has none; neighbours come before their users."""

_CACHE_READS = frozenset(("cache_read", "cache_read_audio"))


class TierStatement(msgspec.Struct, frozen=True, kw_only=True):
    """The rates that a source states above so many input tokens; nanos per million tokens."""

    above: int
    at_or_above: bool = False
    rates: dict[str, int]


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """The rates that a source states for one service tier; nanos per million tokens."""

    rates: dict[str, int]
    tiers: tuple[TierStatement, ...] = ()


def assemble(
    standard: Statement,
    services: Mapping[str, Statement],
    *,
    source: str,
    valid_from: int | None = None,
) -> Price:
    """The complete price. `standard` must state input; output missing is output at no cost."""
    rates = complete(standard.rates)
    tiers = tuple(
        Tier(
            above=tier.above,
            at_or_above=tier.at_or_above,
            rates=inherit(tier.rates, rates),
        )
        for tier in sorted(standard.tiers, key=lambda tier: tier.above)
    )
    whole = Schedule(rates=rates, tiers=tiers)
    return Price(
        rates=rates,
        tiers=tiers,
        service_tiers={name: _service(stated, whole) for name, stated in services.items()},
        source=source,
        valid_from=valid_from,
    )


def complete(stated: Mapping[str, int]) -> Rates:
    """Rates of a model, every class filled by its fallback. Raises KeyError without input."""
    filled = {"input": stated["input"], "output": stated.get("output", 0)}
    for name, neighbour in FALLBACK.items():
        filled[name] = stated.get(name, filled[neighbour])
    return Rates(requests=stated.get("requests", 0), **filled)


def inherit(stated: Mapping[str, int], reference: Rates) -> Rates:
    """Rates of a tier that states some classes, the others in proportion to `reference`."""
    filled = {name: stated.get(name, getattr(reference, name)) for name in ("input", "output")}
    for name, neighbour in FALLBACK.items():
        if name in stated:
            filled[name] = stated[name]
            continue
        before = getattr(reference, name)
        filled[name] = _in_proportion(before, filled[neighbour], getattr(reference, neighbour))
        if name in _CACHE_READS:
            filled[name] = max(filled[name], min(before, filled["input"]))
    return Rates(requests=stated.get("requests", reference.requests), **filled)


def _service(stated: Statement, standard: Schedule) -> Schedule:
    """A service tier with every size tier that it or the standard service states."""
    rates = inherit(stated.rates, standard.rates)
    own = {tier.above: tier for tier in stated.tiers}
    usual = {tier.above: tier for tier in standard.tiers}
    tiers = []
    for above in sorted(own.keys() | usual.keys()):
        reference, at_or_above = rates, False
        if above in usual:
            reference = _carried(rates, standard.rates, usual[above].rates)
            at_or_above = usual[above].at_or_above
        if above in own:
            at_or_above = at_or_above or own[above].at_or_above
        said = own[above].rates if above in own else {}
        tiers.append(
            Tier(above=above, at_or_above=at_or_above, rates=inherit(said, reference)),
        )
    return Schedule(rates=rates, tiers=tuple(tiers))


def _carried(service: Rates, standard: Rates, tier: Rates) -> Rates:
    """`service`, changed by as much as the standard rates change on the size tier."""
    return Rates(
        requests=service.requests,
        **{
            name: _in_proportion(
                getattr(service, name), getattr(tier, name), getattr(standard, name)
            )
            for name in TOKEN_CLASSES
        },
    )


def _in_proportion(rate: int, now: int, before: int) -> int:
    """`rate * now / before`, rounded up; from nothing there is no proportion: the dearer one."""
    if before == 0:
        return max(rate, now)
    return ceil_div(rate * now, before)
