"""From what a reply told, or did not tell, to the ending of its hold.

    reported   the provider's usage, at the price of the model that answered
    counted    the provider told nothing, or was cut: prompt and delivered text, counted by us
    presumed   it may have cost money and nobody can know how much: the ceiling

Nothing is ever booked below what is known, and an explicit zero stays zero.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN

import msgspec

from gateway.errors import UpstreamFailed
from gateway.jobs.routes import Target
from gateway.ledger.entries import CHARGE_STATED, COUNTED, PRESUMED, REPORTED, UNBILLED, Ending
from gateway.metering.usage import NOTHING, Usage
from gateway.money import NANOS_PER_DOLLAR
from gateway.pipeline.beside import OtherPrices, by_round, round_apart
from gateway.prices.answering import price_of_answer
from gateway.prices.book import PriceBook
from gateway.prices.rates import NO_COST, Charge, Price, charge, charge_at
from gateway.treasury.holds import Hold
from gateway.upstreams.protocol import Meter


class Costing:
    """Prices usage; remembers the price of each model that has answered."""

    def __init__(self, book: PriceBook, others: OtherPrices) -> None:
        self._book, self._others = book, others
        self._known: dict[tuple[str, str], Price] = {}

    def reported(self, target: Target, meter: Meter, outcome: str, admitted_at: int) -> Ending:
        """The ending of an attempt whose usage the provider told, at the price of its admission."""
        price = self._price(target, meter.model, admitted_at)
        if meter.unbilled:
            free = charge_at(NO_COST, meter.usage or NOTHING, None)
            ending = _priced(free, meter, meter.usage or NOTHING, outcome, REPORTED)
            return msgspec.structs.replace(ending, reason=UNBILLED)
        usage, cost, apart = by_round(price, meter, meter.usage or NOTHING)
        ending = _priced(cost, meter, usage, outcome, REPORTED)
        if not (apart or meter.extras):
            return ending
        rounds = tuple(round_apart(target, meter, other, its) for other, its in apart)
        extras = self._others.asides(target, price, meter, admitted_at)
        return msgspec.structs.replace(ending, beside=(*rounds, *extras))

    def counted(
        self,
        target: Target,
        meter: Meter,
        counts: tuple[int, int],
        outcome: str,
        admitted_at: int,
    ) -> Ending:
        """The ending of an attempt whose usage is incomplete; `counts` are input and output.

        What the provider did tell stands: the input of a cut stream, and output beyond what
        arrived.
        """
        told, (counted_input, counted_output) = meter.usage, counts
        if told is None:
            usage = Usage(input=counted_input, output=counted_output)
        else:
            more = max(0, counted_output - told.output_total)
            usage = msgspec.structs.replace(told, output=told.output + more)
        price = self._price(target, meter.model, admitted_at)
        cost = charge(price, usage, meter.service_tier)
        ending = _priced(cost, meter, usage, outcome, COUNTED)
        extras = self._others.asides(target, price, meter, admitted_at)
        return msgspec.structs.replace(ending, beside=extras) if extras else ending

    def _price(self, target: Target, served: str, admitted_at: int) -> Price:
        """The price of the model that answered, as it was when the attempt was admitted.

        A clock that was set back may name a moment before the first price; then the newest holds.
        """
        own = target.price_at(admitted_at) or target.price or _NO_PRICE
        if not served or served == target.model:
            return own
        if target.dated:
            return price_of_answer(own, self._book, target.provider.price_provider, served)
        known = self._known.get((target.name, served))
        if known is None:
            known = price_of_answer(own, self._book, target.provider.price_provider, served)
            self._known[target.name, served] = known
        return known


_NO_PRICE = Price(rates=NO_COST, source="nobody")
"""Never used: a target without any price is refused before it is asked (law 10)."""


def _priced(cost: Charge, meter: Meter, usage: Usage, outcome: str, quality: str) -> Ending:
    nanos, rates = cost.amount_nanos, cost.rates
    if meter.stated_cost is not None and quality == REPORTED:
        nanos = int((meter.stated_cost * NANOS_PER_DOLLAR).to_integral_value(ROUND_HALF_EVEN))
    return Ending(
        outcome=outcome,
        quality=quality,
        usage=usage,
        amount_nanos=nanos,
        tokens=usage.total,
        rates=rates,
        model_served=meter.model,
        upstream_id=meter.upstream_id,
        service_tier=meter.service_tier or "",
        reason=CHARGE_STATED if nanos != cost.amount_nanos else "",
    )


def failed(hold: Hold, failure: UpstreamFailed, outcome: str) -> Ending:
    """The ending of an attempt that brought nothing.

    A refusal by status costs nothing (providers do not bill errors); when the provider had begun
    and might bill, the ceiling is presumed until somebody corrects it.
    """
    if not failure.may_have_cost:
        return Ending(outcome=outcome, quality=REPORTED, reason=_why(failure))
    return presumed(hold, outcome, _why(failure))


def _why(failure: UpstreamFailed) -> str:
    """What goes into the books of a failure: never the provider's own words, which the caller
    gets, because a refusal may quote the prompt (law 13)."""
    if failure.provider_status is not None:
        return f"the provider answered {failure.provider_status}"
    return _FAILURES.get(failure.code, "the provider failed")


_FAILURES = {
    "upstream_timed_out": "the provider did not answer in time",
    "upstream_failed": "the provider could not be reached, broke off, or made no sense",
    "upstream_busy": "the provider was not asked: its breaker is open",
}


def presumed(hold: Hold, outcome: str, reason: str) -> Ending:
    """The ending of an attempt of which nobody can know what it cost: its ceiling."""
    return Ending(
        outcome=outcome,
        quality=PRESUMED,
        amount_nanos=hold.ceiling_nanos,
        tokens=hold.ceiling_tokens,
        reason=reason,
    )
