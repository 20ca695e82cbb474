"""Reading usage out of what providers report, whatever their convention.

Each function takes the provider's usage object, decoded, and returns disjoint classes, or None
when it does not tell the input: missing is unknown, and never the same as zero. Which field means
what is from the providers' API references (late 2026):

    OpenAI       cached, written, audio and reasoning tokens are inside the totals
    Anthropic    cache reads and writes are beside input_tokens; thinking is inside output_tokens
    Gemini       thoughts are beside candidates, tool-use prompts beside the prompt, the cached
                 part inside the prompt
    xAI          reasoning is beside completion_tokens; the total tells it, as it tells Gemini's
                 thoughts on its OpenAI-compatible endpoint
    Mistral      heard seconds are told beside prompt_tokens; their tokens stand only in the total

Where a convention is in doubt, the total decides: total = input + output. No part is larger than
its whole, nothing is negative, and no report, however odd, raises.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace

from gateway.metering.usage import CLASSES, Usage

Raw = Mapping[str, Any]

_MOST = 1_000_000_000
"""The largest number that is taken for a count; no model has a thousandth of it."""
_DIGITS = 10
_TICKS_PER_DOLLAR = 10_000_000_000
"""xAI states charges in ten-billionths of a dollar."""
_TEXT, _IMAGE, _VIDEO, _AUDIO, _DOCUMENT = "TEXT", "IMAGE", "VIDEO", "AUDIO", "DOCUMENT"
_NUMBERED: Mapping[object, str] = MappingProxyType(
    {1: _TEXT, 2: _IMAGE, 3: _VIDEO, 4: _AUDIO, 5: _DOCUMENT}
)
"""Vertex's numbers of modalities, which some of its clients get instead of the names."""
_TRAFFIC: Mapping[object, str] = MappingProxyType(
    {"ON_DEMAND_FLEX": "flex", "ON_DEMAND_PRIORITY": "priority"}
)
"""What Vertex calls the service tiers that have rates of their own."""


def openai_chat(raw: Raw) -> Usage | None:
    """Usage of a chat completion, a completion or an embedding in OpenAI's shape.

    Also Azure, Mistral, Groq, DeepSeek, xAI, OpenRouter, Ollama, llama.cpp, vLLM, and Gemini's
    OpenAI-compatible endpoint.
    """
    parts_in = _part(raw, "prompt_tokens_details") or _part(raw, "prompt_token_details")
    parts_out = _part(raw, "completion_tokens_details")
    return _inside(raw, ("prompt_tokens", "completion_tokens"), parts_in, parts_out, _searches(raw))


def openai_responses(raw: Raw, calls: int = 0) -> Usage | None:
    """Usage of a response in OpenAI's Responses shape; `calls` are billed tool calls."""
    parts_in, parts_out = _part(raw, "input_tokens_details"), _part(raw, "output_tokens_details")
    return _inside(raw, ("input_tokens", "output_tokens"), parts_in, parts_out, calls)


def litellm_chat(raw: Raw) -> Usage | None:
    """Usage as LiteLLM 1.106 shapes it: OpenAI's totals, with every provider's parts inside.

    Cache reads and writes are inside `prompt_tokens`, and each is told two or three times over;
    the lifetimes of a write stand in `cache_creation_token_details`. Gemini's tool-use prompt is
    in the prompt, unless it was grounded: then only the total holds it. LiteLLM writes zeros
    where the provider told nothing: all zeros are None here.
    """
    prompt, completion = _number(raw, "prompt_tokens") or 0, _number(raw, "completion_tokens") or 0
    total = _number(raw, "total_tokens") or 0
    if not (prompt or completion or total):
        return None
    parts = _part(raw, "prompt_tokens_details")
    tool_use = _number(parts, "tool_use_tokens") or 0
    if total >= prompt + completion + tool_use:
        prompt += tool_use
    read = _first(_number(parts, "cached_tokens"), _number(raw, "cache_read_input_tokens"))
    written = _first(
        _number(parts, "cache_write_tokens"), _number(raw, "cache_creation_input_tokens")
    )
    usage = _inside(
        {**raw, "prompt_tokens": prompt},
        ("prompt_tokens", "completion_tokens"),
        {**parts, "cached_tokens": read, "cache_write_tokens": written},
        _part(raw, "completion_tokens_details"),
        _searches(raw) or _number(parts, "web_search_requests") or 0,
    )
    if usage is None:
        return None
    split = _part(parts, "cache_creation_token_details")
    hour = min(_number(split, "ephemeral_1h_input_tokens") or 0, usage.cache_write)
    return replace(usage, cache_write=usage.cache_write - hour, cache_write_1h=hour)


def anthropic(raw: Raw) -> Usage | None:
    """Usage of an Anthropic message; a write without the split is a five-minute one.

    A compaction of the context is billed and told only in `iterations`, so it is added. The
    other iterations of this model are in the top level already; an advisor's are another
    model's, at its own rates, and not part of this usage.
    """
    own = _anthropic_counts(raw)
    iterations = raw.get("iterations")
    if own is None or not isinstance(iterations, list):
        return own
    for iteration in iterations:
        if isinstance(iteration, dict) and iteration.get("type") == "compaction":
            more = _anthropic_counts(iteration)
            own = own if more is None else _sum(own, more)
    return own


def gemini(raw: Raw) -> Usage | None:
    """Usage of a Gemini answer (usageMetadata), from the Developer API or from Vertex."""
    prompt, total = _number(raw, "promptTokenCount"), _number(raw, "totalTokenCount")
    written, thoughts = _number(raw, "candidatesTokenCount"), _number(raw, "thoughtsTokenCount")
    tools = _number(raw, "toolUsePromptTokenCount") or 0
    if prompt is None:
        if total is None:
            return None
        prompt = max(0, total - tools - (written or 0) - (thoughts or 0))
    prompt += tools
    untold = max(0, (total or 0) - prompt - (written or 0) - (thoughts or 0))
    if written is None:
        written, untold = untold, 0
    if thoughts is None:
        thoughts = untold
    cached = min(_number(raw, "cachedContentTokenCount") or 0, prompt)
    audio_cached = min(_modality(raw, "cacheTokensDetails", _AUDIO), cached)
    audio = sum(_modality(raw, name, _AUDIO) for name in _GEMINI_INPUT)
    audio = min(max(0, audio - audio_cached), prompt - cached)
    image = sum(_modality(raw, name, _IMAGE) for name in _GEMINI_INPUT)
    image = max(0, image - _modality(raw, "cacheTokensDetails", _IMAGE))
    image = min(image, prompt - cached - audio)
    audio_out = min(_modality(raw, "candidatesTokensDetails", _AUDIO), written)
    image_out = min(_modality(raw, "candidatesTokensDetails", _IMAGE), written - audio_out)
    return Usage(
        input=prompt - cached - audio - image,
        cache_read=cached - audio_cached,
        cache_read_audio=audio_cached,
        audio_input=audio,
        image_input=image,
        output=written - audio_out - image_out,
        reasoning=thoughts,
        audio_output=audio_out,
        image_output=image_out,
    )


_GEMINI_INPUT = ("promptTokensDetails", "toolUsePromptTokensDetails")


def ollama(raw: Raw) -> Usage | None:
    """Usage of Ollama's native API; None when the prompt's count is missing (a full cache hit)."""
    prompt, output = _number(raw, "prompt_eval_count"), _number(raw, "eval_count")
    if prompt is None:
        return None
    cached = min(_number(raw, "prompt_eval_cached_count") or 0, prompt)
    return Usage(input=prompt - cached, cache_read=cached, output=output or 0)


def service_tier(raw: Raw) -> str | None:
    """The tier that a usage object names (Anthropic, Gemini, Vertex); None when it names none.

    Anthropic's fast mode is told as a speed.
    """
    if raw.get("speed") == "fast":
        return "fast"
    for name in ("service_tier", "serviceTier"):
        tier = raw.get(name)
        if isinstance(tier, str) and tier:
            return tier.lower().removeprefix("service_tier_")
    traffic = raw.get("trafficType")
    return _TRAFFIC.get(traffic) if isinstance(traffic, str) else None


def stated_cost(raw: Raw, flavour: str) -> Decimal | None:
    """The charge in USD that a provider states itself, exactly; None when it states none.

    Only OpenRouter and xAI say what their figure means; a `cost` from anybody else may be in
    another currency, or somebody's estimate. When the customer's own key was used at OpenRouter,
    `cost` is its fee alone, and what the key was charged stands beside it.
    """
    if flavour == "xai":
        ticks = _number_of_money(raw.get("cost_in_usd_ticks"))
        return None if ticks is None else ticks / _TICKS_PER_DOLLAR
    if flavour != "openrouter":
        return None
    cost = _number_of_money(raw.get("cost"))
    if cost is None or raw.get("is_byok") is not True:
        return cost
    charged = _number_of_money(_part(raw, "cost_details").get("upstream_inference_cost"))
    return None if charged is None else cost + charged


def _anthropic_counts(raw: Raw) -> Usage | None:
    prompt, output = _number(raw, "input_tokens"), _number(raw, "output_tokens")
    if prompt is None:
        return None
    written = _number(raw, "cache_creation_input_tokens") or 0
    split = _part(raw, "cache_creation")
    hour = _number(split, "ephemeral_1h_input_tokens") or 0
    short = _number(split, "ephemeral_5m_input_tokens") or 0
    thinking = _number(_part(raw, "output_tokens_details"), "thinking_tokens") or 0
    thinking = min(thinking, output or 0)
    return Usage(
        input=prompt,
        cache_read=_number(raw, "cache_read_input_tokens") or 0,
        cache_write=max(short, written - hour),
        cache_write_1h=hour,
        output=(output or 0) - thinking,
        reasoning=thinking,
        requests=_searches(raw),
    )


def _inside(
    raw: Raw, names: tuple[str, str], parts_in: Raw, parts_out: Raw, calls: int
) -> Usage | None:
    """Totals with their parts inside, made disjoint; None when the input cannot be told."""
    prompt, completion = _number(raw, names[0]), _number(raw, names[1])
    total = _number(raw, "total_tokens")
    if prompt is None:
        if total is None:
            return None
        prompt = max(0, total - (completion or 0))
    if completion is None:
        completion = max(0, (total or 0) - prompt)
    beside = max(0, (total or 0) - prompt - completion)
    audio = _number(parts_in, "audio_tokens") or 0
    if _number(raw, "prompt_audio_seconds"):
        prompt, audio, beside = prompt + beside, audio + beside, 0
    thought = _number(parts_out, "reasoning_tokens") or 0
    if total is None and thought > completion:
        beside = thought  # a part that is larger than its whole is not inside it
    cached = min(_cached(raw, parts_in), prompt)
    written = _first(
        _number(parts_in, "cache_write_tokens"), _number(parts_in, "cache_creation_tokens")
    )
    written = min(written, prompt - cached)
    cached_parts = _part(parts_in, "cached_tokens_details")
    cached_audio = min(_number(cached_parts, "audio_tokens") or 0, cached)
    audio = min(max(0, audio - cached_audio), prompt - cached - written)
    image = min(_number(parts_in, "image_tokens") or 0, prompt - cached - written - audio)
    output = completion + beside
    reasoning = min(max(thought, beside), output)
    audio_out = min(_number(parts_out, "audio_tokens") or 0, output - reasoning)
    image_out = min(_number(parts_out, "image_tokens") or 0, output - reasoning - audio_out)
    return Usage(
        input=prompt - cached - written - audio - image,
        cache_read=cached - cached_audio,
        cache_read_audio=cached_audio,
        cache_write=written,
        audio_input=audio,
        image_input=image,
        output=output - reasoning - audio_out - image_out,
        reasoning=reasoning,
        audio_output=audio_out,
        image_output=image_out,
        requests=calls,
    )


def _cached(raw: Raw, parts: Raw) -> int:
    """Cached input, under the name that OpenAI, DeepSeek, Mistral or Moonshot gives it."""
    return _first(
        _number(parts, "cached_tokens"),
        _number(raw, "prompt_cache_hit_tokens"),
        _number(raw, "num_cached_tokens"),
        _number(raw, "cached_tokens"),
    )


def _searches(raw: Raw) -> int:
    """Web searches with a fee, as Anthropic tells them, and OpenRouter."""
    return _first(
        _number(_part(raw, "server_tool_use"), "web_search_requests"),
        _number(_part(raw, "server_tool_use_details"), "web_search_requests"),
    )


def _number(raw: Raw, name: str) -> int | None:
    """A count; None when it is missing, null, negative, or no number.

    JSON made from protocol buffers has large numbers as text, and some servers compute counts as
    floats; a part of a token is a token.
    """
    value = raw.get(name)
    if isinstance(value, str) and len(value) <= _DIGITS and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, float) and math.isfinite(value):
        value = math.ceil(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        return None
    return value


def _number_of_money(value: object) -> Decimal | None:
    """An amount of zero or more; None for anything else. Floats by their shortest text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value))
    except (InvalidOperation, ValueError):
        return None
    return amount if amount.is_finite() and 0 <= amount <= _MOST * _TICKS_PER_DOLLAR else None


def _part(raw: Raw, name: str) -> Raw:
    value = raw.get(name)
    return value if isinstance(value, dict) else {}


def _first(*values: int | None) -> int:
    return next((value for value in values if value), 0)


def _modality(raw: Raw, name: str, modality: str) -> int:
    details = raw.get(name)
    if not isinstance(details, list):
        return 0
    return sum(
        _number(part, "tokenCount") or 0
        for part in details
        if isinstance(part, dict) and _named(part.get("modality")) == modality
    )


def _named(modality: object) -> object:
    return _NUMBERED.get(modality) if isinstance(modality, int) else modality


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(**{name: getattr(one, name) + getattr(other, name) for name in CLASSES})
