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

import re
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from msgspec.structs import replace

from gateway.metering.figures import Raw, first, number, number_of_money, part, searches
from gateway.metering.usage import Usage

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
    if "prompt_tokens" not in raw and "input_tokens" in raw:
        return openai_responses(raw, searches(raw))  # some servers have one usage for all forms
    parts_in = part(raw, "prompt_tokens_details") or part(raw, "prompt_token_details")
    parts_out = part(raw, "completion_tokens_details")
    return _inside(raw, ("prompt_tokens", "completion_tokens"), parts_in, parts_out, searches(raw))


def openai_responses(raw: Raw, calls: int = 0) -> Usage | None:
    """Usage of a response in OpenAI's Responses shape; `calls` are billed tool calls."""
    if "input_tokens" not in raw and "prompt_tokens" in raw:
        usage = openai_chat(raw)
        return None if usage is None else replace(usage, requests=calls)
    parts_in, parts_out = part(raw, "input_tokens_details"), part(raw, "output_tokens_details")
    return _inside(raw, ("input_tokens", "output_tokens"), parts_in, parts_out, calls)


def litellm_chat(raw: Raw) -> Usage | None:
    """Usage as LiteLLM 1.106 shapes it: OpenAI's totals, with every provider's parts inside.

    Cache reads and writes are inside `prompt_tokens`, and each is told two or three times over;
    the lifetimes of a write stand in `cache_creation_token_details`. Gemini's tool-use prompt is
    in the prompt, unless it was grounded: then only the total holds it. LiteLLM writes zeros
    where the provider told nothing: all zeros are None here.
    """
    prompt, completion = number(raw, "prompt_tokens") or 0, number(raw, "completion_tokens") or 0
    total = number(raw, "total_tokens") or 0
    if not (prompt or completion or total):
        return None
    parts = part(raw, "prompt_tokens_details")
    tool_use = number(parts, "tool_use_tokens") or 0
    if total >= prompt + completion + tool_use:
        prompt += tool_use
    read = first(number(parts, "cached_tokens"), number(raw, "cache_read_input_tokens"))
    written = first(number(parts, "cache_write_tokens"), number(raw, "cache_creation_input_tokens"))
    usage = _inside(
        {**raw, "prompt_tokens": prompt},
        ("prompt_tokens", "completion_tokens"),
        {**parts, "cached_tokens": read, "cache_write_tokens": written},
        part(raw, "completion_tokens_details"),
        searches(raw) or number(parts, "web_search_requests") or 0,
    )
    if usage is None:
        return None
    split = part(parts, "cache_creation_token_details")
    hour = min(number(split, "ephemeral_1h_input_tokens") or 0, usage.cache_write)
    return replace(usage, cache_write=usage.cache_write - hour, cache_write_1h=hour)


def gemini(raw: Raw, calls: int = 0) -> Usage | None:
    """Usage of a Gemini answer (usageMetadata), from the Developer API or from Vertex; `calls`
    are the ones with a fee, as `gemini_calls` has them."""
    prompt, total = number(raw, "promptTokenCount"), number(raw, "totalTokenCount")
    written, thoughts = number(raw, "candidatesTokenCount"), number(raw, "thoughtsTokenCount")
    tools = number(raw, "toolUsePromptTokenCount") or 0
    if prompt is None:
        if total is None:
            return None
        prompt = max(0, total - tools - (written or 0) - (thoughts or 0))
    prompt += tools
    untold = max(0, (total or 0) - prompt - (written or 0) - (thoughts or 0))
    pieces = _pieces(raw, "candidatesTokensDetails")
    if written is not None and written + untold >= pieces > written:
        written, untold = pieces, untold - (pieces - written)  # pictures that the count left out
    if written is None:
        written, untold = untold, 0
    if thoughts is None:
        thoughts = untold
    cached = min(number(raw, "cachedContentTokenCount") or 0, prompt)
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
        requests=calls,
    )


def gemini_calls(model: str, searches: int) -> int:
    """Calls with a fee of an answer grounded by so many web searches.

    Up to Gemini 2.5 a grounded answer has one fee, however many searches it took; from Gemini 3
    on each search has one (Gemini API pricing, grounding with Google Search).
    """
    return min(searches, 1) if _ONE_FEE.search(model) else searches


_ONE_FEE = re.compile(r"gemini-[12]\b")
_GEMINI_INPUT = ("promptTokensDetails", "toolUsePromptTokensDetails")


def ollama(raw: Raw) -> Usage | None:
    """Usage of Ollama's native API; None when the prompt's count is missing (a full cache hit)."""
    prompt, output = number(raw, "prompt_eval_count"), number(raw, "eval_count")
    if prompt is None:
        return None
    cached = min(number(raw, "prompt_eval_cached_count") or 0, prompt)
    return Usage(input=prompt - cached, cache_read=cached, output=output or 0)


def service_tier(raw: Raw) -> str | None:
    """The tier that a usage object names (Anthropic, Gemini, Vertex); None when it names none.

    Anthropic's fast mode is told as a speed, and an answer that was made in the United States
    alone as a place: both have rates of their own, and each other's.
    """
    at_home = "us" if raw.get("inference_geo") == "us" else ""
    if raw.get("speed") == "fast":
        return "fast-us" if at_home else "fast"
    if at_home and raw.get("service_tier") in (None, "standard"):
        return at_home
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
        ticks = number_of_money(raw.get("cost_in_usd_ticks"))
        return None if ticks is None else ticks / _TICKS_PER_DOLLAR
    if flavour != "openrouter":
        return None
    cost = number_of_money(raw.get("cost"))
    if cost is None or raw.get("is_byok") is not True:
        return cost
    charged = number_of_money(part(raw, "cost_details").get("upstream_inference_cost"))
    return None if charged is None else cost + charged


def _inside(
    raw: Raw, names: tuple[str, str], parts_in: Raw, parts_out: Raw, calls: int
) -> Usage | None:
    """Totals with their parts inside, made disjoint; None when the input cannot be told."""
    prompt, completion = number(raw, names[0]), number(raw, names[1])
    total = number(raw, "total_tokens")
    if prompt is None:
        if total is None:
            return None
        prompt = max(0, total - (completion or 0))
    if completion is None:
        completion = max(0, (total or 0) - prompt)
    beside = max(0, (total or 0) - prompt - completion)
    audio = number(parts_in, "audio_tokens") or 0
    thought = first(number(parts_out, "reasoning_tokens"), number(raw, "reasoning_tokens"))
    cached, written = _cached(raw, parts_in), _written(parts_in)
    if number(raw, "prompt_audio_seconds"):
        prompt, audio, beside = prompt + beside, audio + beside, 0
    elif _is_beside(cached + written, prompt, total, beside, thought):
        prompt, beside = prompt + cached + written, 0
    if total is None and thought > completion:
        beside = thought  # a part that is larger than its whole is not inside it
    cached = min(cached, prompt)
    written = min(written, prompt - cached)
    cached_parts = part(parts_in, "cached_tokens_details")
    cached_audio = min(number(cached_parts, "audio_tokens") or 0, cached)
    audio = min(max(0, audio - cached_audio), prompt - cached - written)
    image = min(number(parts_in, "image_tokens") or 0, prompt - cached - written - audio)
    output = completion + beside
    reasoning = min(max(thought, beside), output)
    audio_out = min(number(parts_out, "audio_tokens") or 0, output - reasoning)
    image_out = min(number(parts_out, "image_tokens") or 0, output - reasoning - audio_out)
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


def _is_beside(kept: int, prompt: int, total: int | None, beside: int, thought: int) -> bool:
    """Whether cached and written tokens are beside the prompt, as servers have it that pass
    Anthropic's figures on in OpenAI's shape: the total says so, or they would not fit inside."""
    if total is None:
        return kept > prompt
    return 0 < kept == beside != thought


def _written(parts: Raw) -> int:
    """Input written to the cache, under the name that OpenAI, LiteLLM or Qwen gives it."""
    return (
        number(parts, "cache_write_tokens")
        or number(parts, "cache_creation_tokens")
        or number(parts, "cache_creation_input_tokens")
        or 0
    )


def _cached(raw: Raw, parts: Raw) -> int:
    """Cached input, under the name that OpenAI, DeepSeek, Mistral or Moonshot gives it."""
    return (
        number(parts, "cached_tokens")
        or number(raw, "prompt_cache_hit_tokens")
        or number(raw, "num_cached_tokens")
        or number(raw, "cached_tokens")
        or 0
    )


def _modality(raw: Raw, name: str, modality: str) -> int:
    return sum(tokens for kind, tokens in _details(raw, name) if kind == modality)


def _pieces(raw: Raw, name: str) -> int:
    return sum(tokens for _kind, tokens in _details(raw, name))


def _details(raw: Raw, name: str) -> list[tuple[object, int]]:
    """Modalities and tokens of a list of details."""
    details = raw.get(name)
    return [
        (_named(each.get("modality")), number(each, "tokenCount") or 0)
        for each in (details if isinstance(details, list) else ())
        if isinstance(each, dict)
    ]


def _named(modality: object) -> object:
    return _NUMBERED.get(modality) if isinstance(modality, int) else modality
