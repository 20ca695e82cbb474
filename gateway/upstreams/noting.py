"""What an answer in a provider's own format puts into a meter.

It stands apart because the same usage comes whole, in the events of a stream that is translated,
and in those of one that is passed through.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.metering.anthropic import anthropic, anthropic_extras, anthropic_rounds
from gateway.metering.reading import gemini, gemini_calls, service_tier, stated_cost
from gateway.metering.responses import response_extras, response_usage
from gateway.upstreams.protocol import Meter

_TOOLS_WITH_FEES = frozenset({"openai", "azure"})
"""Whose built-in tools cost what OpenAI's do; others state their charge, or charge nothing."""


def note_anthropic(raw: Mapping[str, Any], meter: Meter, stop_reason: object) -> None:
    """Note the usage of an Anthropic message, as far as it is told.

    A refusal before any output is not billed (Anthropic API reference, refusals).
    """
    meter.usage = anthropic(raw)
    meter.unbilled = stop_reason == "refusal" and raw.get("output_tokens") == 0
    meter.service_tier = service_tier(raw)
    if raw.get("iterations"):
        meter.extras, meter.rounds = anthropic_extras(raw), anthropic_rounds(raw)


def note_gemini(raw: Mapping[str, Any], meter: Meter, searches: int) -> None:
    """Note the usage of a Gemini answer; `searches` are the queries that it was grounded by."""
    meter.usage = gemini(raw, gemini_calls(meter.model, searches))
    meter.service_tier = service_tier(raw)


def note_response(told: Mapping[str, Any], meter: Meter, flavour: str) -> None:
    """Note what a response of the Responses API tells of itself, whole or in an event."""
    raw = told.get("usage")
    if isinstance(raw, dict):
        meter.usage = response_usage(told)
        meter.stated_cost = stated_cost(raw, flavour)
        if flavour in _TOOLS_WITH_FEES:
            meter.extras = response_extras(told)
    for name, value in (("upstream_id", told.get("id")), ("model", told.get("model"))):
        if isinstance(value, str) and value:
            setattr(meter, name, value)
    tier = told.get("service_tier")
    if isinstance(tier, str):
        meter.service_tier = tier
