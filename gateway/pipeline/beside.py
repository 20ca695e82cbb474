"""What an answer costs beside its own model's tokens: another model's advice, tools with fees.

Each has a price of its own, so each becomes an entry of its own, in the commit of the attempt.
Whose price nobody has stated is refused before it is asked for (law 10). Should an answer name
such a model all the same, the dearest price known at the provider is booked, `presumed`: too
much, and said so, and never nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from gateway.errors import UnpricedModel
from gateway.jobs.forms import MESSAGES, RESPONSES
from gateway.jobs.routes import Provider, Routes, Target
from gateway.ledger.entries import PRESUMED, REPORTED, Aside, Ending
from gateway.metering.figures import Raw, name, number
from gateway.metering.responses import IMAGE_MODEL
from gateway.metering.usage import NOTHING, Extra, Usage
from gateway.prices.book import PriceBook
from gateway.prices.fees import TOOL_FEES
from gateway.prices.rates import TEXT_CLASSES, Charge, Price, Rates, bound, charge, charge_at
from gateway.prices.stated import SOURCE
from gateway.upstreams.protocol import Meter
from gateway.wire.request_body import RequestBody, says

USES_AT_MOST = 10
"""How often one answer is expected to use a tool at the most, when the caller sets no limit."""
_ADVICE_TOKENS = 8_000
"""Tokens of one piece of advice: several times what Anthropic documents (1,400 to 1,800)."""
_PICTURE_TOKENS = 8_000
"""Tokens of one picture, above the largest that OpenAI documents (6,240)."""
_PICTURES_AT_MOST = 4
_FAST = "fast"


class Wanted(msgspec.Struct, frozen=True):
    """A tool or another model that a request lets its answer use."""

    price: Price
    uses: int
    output_tokens: int = 0
    """Of each use."""
    reads: bool = False
    """Whether each use reads the whole conversation, and the answer then goes on from there."""

    def input_tokens(self, conversation: int) -> int:
        """Input of all uses, for a conversation of so many tokens."""
        return self.uses * conversation if self.reads else 0

    def bound(self, conversation: int) -> int:
        """Nano-dollars that all uses cannot exceed."""
        each = bound(
            self.price,
            input_tokens=conversation if self.reads else 0,
            output_tokens=self.output_tokens,
            service_tier=None,
            requests=1,
            classes=TEXT_CLASSES | {"image_output"},
        )
        return self.uses * each


class Known(msgspec.Struct, frozen=True):
    """A model whose price is known: its target's name, and the price."""

    target: str
    price: Price


class OtherPrices:
    """Prices of models that no request asked for by themselves."""

    def __init__(self, book: PriceBook, routes: Callable[[], Routes]) -> None:
        """`routes` gives the rules that are in force."""
        self._book, self._routes = book, routes

    def find(self, provider: Provider, model: str, at: int) -> Known | None:
        """What a model costs at a moment: as routes.yaml has it for a job, else as the book has.

        None when nobody has stated it.
        """
        wanted = f"{provider.name}/{model}"
        for job in self._routes().jobs.values():
            own = next((target for target in job.reachable if target.name == wanted), None)
            price = None if own is None else own.price_at(at)
            if price is not None:
                return Known(wanted, price)
        facts = self._book.find(provider.price_provider, model) if model else None
        return None if facts is None else Known(f"{provider.name}/{facts.model}", facts.price)

    def wanted(self, chat: RequestBody, target: Target, at: int) -> tuple[Wanted, ...]:
        """What an answer may use at prices of its own; empty for nearly every request.

        Raises UnpricedModel when nobody has stated what it costs.
        """
        raw = chat.fields.get("tools")
        if (
            raw is None
            or chat.form not in _NAMES
            or not any(says(raw, n) for n in _NAMES[chat.form])
        ):
            return ()
        own = target.price_at(at)
        found = []
        for tool in _tools(raw):
            kind = name(tool, "type")
            if kind.startswith("advisor") or kind == "image_generation":
                found.append(self._model_wanted(target, kind, tool, at))
            elif own is not None and own.source != SOURCE and kind in TOOL_FEES:
                found.append(Wanted(TOOL_FEES[kind], USES_AT_MOST))
        return tuple(found)

    def _model_wanted(self, target: Target, kind: str, tool: Raw, at: int) -> Wanted:
        is_advisor = kind != "image_generation"
        model = name(tool, "model") or ("" if is_advisor else IMAGE_MODEL)
        known = self.find(target.provider, model, at)
        if known is None:
            raise UnpricedModel(
                f"the tool {kind} uses the model {model[:_SHOWN]!a}, whose price nobody has stated;"
                f" give {target.provider.name}/{model[:_SHOWN]} a price in routes.yaml and a job",
                param="tools",
            )
        if not is_advisor:
            return Wanted(known.price, _PICTURES_AT_MOST, _PICTURE_TOKENS)
        uses, limit = number(tool, "max_uses"), number(tool, "max_tokens")
        return Wanted(
            known.price,
            USES_AT_MOST if uses is None else uses,
            limit or _ADVICE_TOKENS,
            reads=True,
        )

    def asides(self, target: Target, own: Price, meter: Meter, at: int) -> tuple[Aside, ...]:
        """What the extras of a reply come to; `own` is the price of the answer itself.

        A price that somebody wrote in routes.yaml says all that the target costs, its calls too.
        """
        found = []
        for extra in meter.extras:
            fee = TOOL_FEES.get(extra.of)
            if fee is None:
                found.append(self._of_model(target, own, extra, meter, at))
            elif own.source != SOURCE:
                known = Known(f"{target.provider.name}/{extra.of}", fee)
                found.append(_aside(known, extra, meter, REPORTED))
        return tuple(found)

    def _of_model(self, target: Target, own: Price, extra: Extra, meter: Meter, at: int) -> Aside:
        known = self.find(target.provider, extra.of, at)
        if known is not None:
            return _aside(known, extra, meter, REPORTED)
        names = [m for p, m in self._book.models if p == target.provider.price_provider]
        facts = [self._book.find(target.provider.price_provider, name) for name in names]
        prices = [own, *(each.price for each in facts if each is not None)]
        dearest = max(prices, key=lambda price: charge(price, extra.usage, None).amount_nanos)
        aside = _aside(Known(target.name, dearest), extra, meter, PRESUMED)
        # Its name is the provider's word and in no list of ours, so it is no label either.
        return msgspec.structs.replace(aside, model=target.model)


_NAMES: Mapping[str, tuple[bytes, ...]] = MappingProxyType(
    {MESSAGES: (b"advisor",), RESPONSES: (b"image_generation", b"file_search", b"code_interpreter")}
)
"""What the tools of a form are called whose use costs more than the answer's tokens."""
_SHOWN = 64


def _tools(raw: msgspec.Raw) -> list[Raw]:
    """The tools of a request; what is no list of objects is the provider's to refuse."""
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
    return [tool for tool in found if isinstance(tool, dict)] if isinstance(found, list) else []


def _aside(known: Known, extra: Extra, meter: Meter, quality: str) -> Aside:
    tier = meter.service_tier
    if tier is not None and tier.startswith(_FAST):
        tier = tier.removeprefix(_FAST).removeprefix("-") or None
    cost = charge(known.price, extra.usage, tier)
    return Aside(
        target=known.target,
        model=extra.of,
        ending=Ending(
            outcome="ok",
            quality=quality,
            usage=extra.usage,
            amount_nanos=cost.amount_nanos,
            tokens=extra.usage.total,
            rates=cost.rates,
            model_served=extra.of,
            upstream_id=meter.upstream_id,
            service_tier=tier or "",
            reason=_UNKNOWN if quality == PRESUMED else "",
        ),
    )


_UNKNOWN = "nobody has stated what this model costs: the dearest price known is presumed"


def by_round(
    price: Price, meter: Meter, usage: Usage
) -> tuple[Usage, Charge, tuple[tuple[Usage, Charge], ...]]:
    """Usage and charge of an answer that was made in rounds, where size tiers go by the round.

    Rounds on other rates than the last stand apart, because an entry has one list of prices.
    """
    tier = meter.service_tier
    if not meter.rounds or usage is not meter.usage:
        return usage, charge(price, usage, tier), ()
    others: dict[Rates, Usage] = {}
    for each in meter.rounds:
        rates = charge(price, each, tier).rates
        others[rates] = others.get(rates, NOTHING).plus(each)
    last = charge(price, meter.rounds[-1], tier)
    others.pop(last.rates)
    for other in others.values():
        usage = usage.less(other)
    apart = ((other, charge_at(rates, other, last.service_tier)) for rates, other in others.items())
    return usage, charge_at(last.rates, usage, last.service_tier), tuple(apart)


def round_apart(target: Target, meter: Meter, usage: Usage, cost: Charge) -> Aside:
    """The entry of rounds of the answering model on other rates than its last."""
    ending = Ending(
        outcome="ok",
        quality=REPORTED,
        usage=usage,
        amount_nanos=cost.amount_nanos,
        tokens=usage.total,
        rates=cost.rates,
        model_served=meter.model,
        upstream_id=meter.upstream_id,
        service_tier=meter.service_tier or "",
    )
    return Aside(target=target.name, model=target.model, ending=ending)
