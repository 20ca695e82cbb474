"""What a usage costs, and the most that it could.

A rate is whole nano-dollars per 1,000,000 tokens of a class. The class `requests` counts calls
that have a fee of their own (a web search); its rate is nano-dollars per 1,000,000 *calls*, so
one multiplication and one rounding serve every class.

Promises:
  - `charge` multiplies exactly and rounds once, half to even;
  - `bound` is never below `charge` for any usage within its token numbers, whether the answer
    came on the service tier that was asked for or on the standard one.

This room knows what a token costs. It does not know what a job, a team or a budget is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter

import msgspec

from gateway.metering.usage import Usage
from gateway.money import TOKENS_PER_PRICE, ceil_div, round_half_even

INPUT_CLASSES = frozenset(
    (
        "input",
        "cache_read",
        "cache_read_audio",
        "cache_write",
        "cache_write_1h",
        "audio_input",
        "image_input",
    )
)
"""The classes that make up `Usage.input_total`."""

OUTPUT_CLASSES = frozenset(("output", "reasoning", "audio_output", "image_output"))
"""The classes that make up `Usage.output_total`."""

TEXT_CLASSES = frozenset(
    ("input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning")
)
"""What a request without audio and images can use."""


_Getter = Callable[["Rates"], tuple[int, ...]]


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Nano-dollars per 1,000,000 tokens of each class; `requests`: per 1,000,000 calls.

    Every class is always there: `assembling.complete` fills what a source does not state.
    """

    input: int
    cache_read: int
    cache_read_audio: int
    cache_write: int
    cache_write_1h: int
    output: int
    reasoning: int
    audio_input: int
    audio_output: int
    image_input: int
    image_output: int
    requests: int


NO_COST = Rates(
    input=0,
    cache_read=0,
    cache_read_audio=0,
    cache_write=0,
    cache_write_1h=0,
    output=0,
    reasoning=0,
    audio_input=0,
    audio_output=0,
    image_input=0,
    image_output=0,
    requests=0,
)
"""The rates of what somebody declared free."""


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """Rates for the *whole* request once its input, cached tokens included, passes `above`.

    A request of exactly `above` tokens is not on the tier, unless `at_or_above` (xAI).
    """

    above: int
    rates: Rates
    at_or_above: bool = False

    def reached_by(self, input_tokens: int) -> bool:
        """Whether a request with so many input tokens in all is on this tier."""
        return input_tokens > self.above or (self.at_or_above and input_tokens == self.above)


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """The rates of one service tier, with its own size tiers."""

    rates: Rates
    tiers: tuple[Tier, ...] = ()


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What one model at one provider costs.

    `rates` and `tiers` are the standard service; `service_tiers` has the others by the name the
    provider answers with (`flex`, `priority`, `batch`, `fast`). `valid_from` is in microseconds
    since 1970. `source` says who stated the price. `free` is a decision, never an inference.
    """

    rates: Rates
    tiers: tuple[Tier, ...] = ()
    service_tiers: dict[str, Schedule] = msgspec.field(default_factory=dict)
    valid_from: int | None = None
    source: str
    free: bool = False


class Charge(msgspec.Struct, frozen=True):
    """A cost in nano-dollars, the rates that made it, and the service tier they belong to.

    `service_tier` is None on the standard rates: also when the answer named a tier that the
    price does not know.
    """

    amount_nanos: int
    rates: Rates
    service_tier: str | None = None


def charge(price: Price, usage: Usage, service_tier: str | None) -> Charge:
    """The cost of `usage`, on the service tier that the *answer* named (None: standard).

    A service tier without rates of its own (`default`, `auto`, `on_demand`) is the standard one.
    """
    schedule = None if service_tier is None else _schedule(price, service_tier)
    if schedule is None:
        service_tier = None
        rates, tiers = price.rates, price.tiers
    else:
        rates, tiers = schedule.rates, schedule.tiers
    if tiers:
        rates = _rates_at(rates, tiers, usage.input_total)
    return charge_at(rates, usage, service_tier)


def charge_at(rates: Rates, usage: Usage, service_tier: str | None) -> Charge:
    """The cost of `usage` at rates that are known already."""
    return Charge(round_half_even(_exact(rates, usage), TOKENS_PER_PRICE), rates, service_tier)


def bound(
    price: Price,
    *,
    input_tokens: int,
    output_tokens: int,
    service_tier: str | None,
    requests: int = 0,
    classes: frozenset[str] = TEXT_CLASSES,
) -> int:
    """Nano-dollars that so many tokens (and calls with a fee) cannot exceed, rounded up.

    Every token is taken at the dearest rate among `classes`, on the dearest size tier within
    reach. Plain `input` and `output` are always possible; name audio and image classes when the
    request can use them, and leave out `cache_write_1h` when it cannot: that rate may be twice
    the plain one. `service_tier` is the one *asked for*. A provider may answer on the standard
    tier instead, so the standard rates count too; it moves a request to a dearer tier only if
    that was asked for, or set for the whole project: then pass that tier here.
    """
    inputs, outputs = _getters(classes)
    within_reach = [price.rates]
    within_reach += [tier.rates for tier in price.tiers if tier.reached_by(input_tokens)]
    schedule = None if service_tier is None else _schedule(price, service_tier)
    if schedule is not None:
        within_reach.append(schedule.rates)
        within_reach += [tier.rates for tier in schedule.tiers if tier.reached_by(input_tokens)]
    most = 0
    for rates in within_reach:
        cost = (
            input_tokens * max(inputs(rates))
            + output_tokens * max(outputs(rates))
            + requests * rates.requests
        )
        most = max(most, cost)
    return ceil_div(most, TOKENS_PER_PRICE)


@lru_cache(maxsize=256)
def _getters(classes: frozenset[str]) -> tuple[_Getter, _Getter]:
    """What reads the rates of the input classes among these, and of the output classes.

    Plain text stands twice because a getter of one name would return no tuple.
    """
    inputs = attrgetter("input", "input", *(classes & INPUT_CLASSES))
    return inputs, attrgetter("output", "output", *(classes & OUTPUT_CLASSES))


def _schedule(price: Price, service_tier: str) -> Schedule | None:
    """The schedule of a service tier; of one for the United States alone, that of the same without
    it when the price makes no difference; None when that is the standard one."""
    tiers = price.service_tiers
    return tiers.get(service_tier) or tiers.get(service_tier.removesuffix("-us"))


def _rates_at(rates: Rates, tiers: tuple[Tier, ...], input_tokens: int) -> Rates:
    """The rates of the highest tier that so many input tokens reach."""
    highest = -1
    for tier in tiers:
        if tier.above > highest and tier.reached_by(input_tokens):
            highest, rates = tier.above, tier.rates
    return rates


def _exact(rates: Rates, usage: Usage) -> int:
    """Nano-dollars times a million; spelt out because this runs for every answer."""
    return (
        usage.input * rates.input
        + usage.cache_read * rates.cache_read
        + usage.cache_read_audio * rates.cache_read_audio
        + usage.cache_write * rates.cache_write
        + usage.cache_write_1h * rates.cache_write_1h
        + usage.output * rates.output
        + usage.reasoning * rates.reasoning
        + usage.audio_input * rates.audio_input
        + usage.audio_output * rates.audio_output
        + usage.image_input * rates.image_input
        + usage.image_output * rates.image_output
        + usage.requests * rates.requests
    )
