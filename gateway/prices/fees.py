"""Fees of built-in tools that no model's price states.

A web search has its fee in the price of the model that made it (`requests`). Other tools cost the
same whatever model calls them, so their fees stand here, as prices whose only rate is the call's.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from gateway.metering.responses import CONTAINER, FILE_SEARCH
from gateway.money import TOKENS_PER_PRICE
from gateway.prices.rates import NO_COST, Price

_SOURCE = "OpenAI pricing, built-in tools, as of November 2026"


def _per_call(nanos: int) -> Price:
    return Price(
        rates=msgspec.structs.replace(NO_COST, requests=nanos * TOKENS_PER_PRICE), source=_SOURCE
    )


TOOL_FEES: Mapping[str, Price] = MappingProxyType(
    {FILE_SEARCH: _per_call(2_500_000), CONTAINER: _per_call(30_000_000)}
)
"""2.50 USD per 1,000 file searches; 0.03 USD per container. One that was used before is charged
again, because an answer does not tell: the books count too much rather than too little."""
