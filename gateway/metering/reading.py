"""Reading usage out of what providers report, whatever their convention.

Each function takes the provider's usage object, decoded, and returns disjoint classes, or None
when it holds no counts at all: missing is unknown, and never the same as zero. Which field means
what is from the providers' API references (late 2026):

    OpenAI       cached, written, audio and reasoning tokens are inside the totals
    Anthropic    cache reads and writes are beside input_tokens; thinking is inside output_tokens
    Gemini       thoughts are beside candidates, tool-use prompts beside the prompt, the cached
                 part inside the prompt
    xAI          reasoning is beside completion_tokens; the total tells it, as it tells Gemini's
                 thoughts on its OpenAI-compatible endpoint

Where a convention is in doubt, the total decides: total = input + output.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from gateway.metering.usage import Usage

Raw = Mapping[str, Any]


def openai_chat(raw: Raw) -> Usage | None:
    """Usage of a chat completion, a completion or an embedding in OpenAI's shape.

    Also Azure, Mistral, Groq, DeepSeek, xAI, OpenRouter, Ollama, llama.cpp, vLLM, and Gemini's
    OpenAI-compatible endpoint.
    """
    prompt, completion = _number(raw, "prompt_tokens"), _number(raw, "completion_tokens")
    total = _number(raw, "total_tokens")
    if prompt is None and completion is None and total is None:
        return None
    searches = _number(_part(raw, "server_tool_use_details"), "web_search_requests") or 0
    return _inside(
        raw,
        prompt,
        completion,
        total,
        ("prompt_tokens_details", "completion_tokens_details"),
        searches,
    )


def openai_responses(raw: Raw, calls: int = 0) -> Usage | None:
    """Usage of a response in OpenAI's Responses shape; `calls` are billed tool calls."""
    prompt, completion = _number(raw, "input_tokens"), _number(raw, "output_tokens")
    total = _number(raw, "total_tokens")
    if prompt is None and completion is None and total is None:
        return None
    return _inside(
        raw, prompt, completion, total, ("input_tokens_details", "output_tokens_details"), calls
    )


def anthropic(raw: Raw) -> Usage | None:
    """Usage of an Anthropic message; a write without the split is a five-minute one."""
    prompt, output = _number(raw, "input_tokens"), _number(raw, "output_tokens")
    if prompt is None and output is None:
        return None
    written = _number(raw, "cache_creation_input_tokens") or 0
    split = _part(raw, "cache_creation")
    hour = _number(split, "ephemeral_1h_input_tokens") or 0
    short = _number(split, "ephemeral_5m_input_tokens") or 0
    thinking = min(
        _number(_part(raw, "output_tokens_details"), "thinking_tokens") or 0, output or 0
    )
    return Usage(
        input=prompt or 0,
        cache_read=_number(raw, "cache_read_input_tokens") or 0,
        cache_write=max(short, written - hour),
        cache_write_1h=hour,
        output=(output or 0) - thinking,
        reasoning=thinking,
        requests=_number(_part(raw, "server_tool_use"), "web_search_requests") or 0,
    )


def gemini(raw: Raw) -> Usage | None:
    """Usage of a Gemini answer (usageMetadata), from the Developer API or from Vertex."""
    prompt = _number(raw, "promptTokenCount")
    candidates = _number(raw, "candidatesTokenCount")
    thoughts = _number(raw, "thoughtsTokenCount") or 0
    if prompt is None and candidates is None and not thoughts:
        return None
    prompt = (prompt or 0) + (_number(raw, "toolUsePromptTokenCount") or 0)
    cached = min(_number(raw, "cachedContentTokenCount") or 0, prompt)
    audio_cached = min(_modality(raw, "cacheTokensDetails", "AUDIO"), cached)
    audio = _modality(raw, "promptTokensDetails", "AUDIO") + _modality(
        raw, "toolUsePromptTokensDetails", "AUDIO"
    )
    image = max(
        0,
        _modality(raw, "promptTokensDetails", "IMAGE")
        - _modality(raw, "cacheTokensDetails", "IMAGE"),
    )
    audio = min(max(0, audio - audio_cached), prompt - cached)
    image = min(image, prompt - cached - audio)
    written = candidates or 0
    audio_out = min(_modality(raw, "candidatesTokensDetails", "AUDIO"), written)
    image_out = min(_modality(raw, "candidatesTokensDetails", "IMAGE"), written - audio_out)
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


def ollama(raw: Raw) -> Usage | None:
    """Usage of Ollama's native API; None when the prompt's count is missing (a full cache hit)."""
    prompt, output = _number(raw, "prompt_eval_count"), _number(raw, "eval_count")
    if prompt is None:
        return None
    cached = min(_number(raw, "prompt_eval_cached_count") or 0, prompt)
    return Usage(input=prompt - cached, cache_read=cached, output=output or 0)


def _inside(
    raw: Raw,
    prompt: int | None,
    completion: int | None,
    total: int | None,
    parts: tuple[str, str],
    calls: int,
) -> Usage:
    """Totals with their parts inside, made disjoint; no part exceeds its whole."""
    prompt = prompt if prompt is not None else max(0, (total or 0) - (completion or 0))
    completion = completion or 0
    beside = max(0, (total or 0) - prompt - completion)
    parts_in, parts_out = _part(raw, parts[0]), _part(raw, parts[1])
    cached = _first(
        _number(parts_in, "cached_tokens"),
        _number(raw, "prompt_cache_hit_tokens"),
        _number(raw, "num_cached_tokens"),
    )
    cached = min(cached, prompt)
    written = min(_number(parts_in, "cache_write_tokens") or 0, prompt - cached)
    cached_audio = min(
        _number(_part(parts_in, "cached_tokens_details"), "audio_tokens") or 0, cached
    )
    audio = max(0, (_number(parts_in, "audio_tokens") or 0) - cached_audio)
    audio = min(audio, prompt - cached - written)
    image = min(_number(parts_in, "image_tokens") or 0, prompt - cached - written - audio)
    output = completion + beside
    reasoning = min(max(_number(parts_out, "reasoning_tokens") or 0, beside), output)
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


def _number(raw: Raw, name: str) -> int | None:
    """A count; None when it is missing, null, or not a whole number of zero or more."""
    value = raw.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return None
    return value


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
        if isinstance(part, dict) and part.get("modality") == modality
    )


def stated_cost(raw: Raw) -> Decimal | None:
    """The charge in USD that the provider states itself (OpenRouter's `usage.cost`), exactly."""
    cost = raw.get("cost")
    if isinstance(cost, bool) or not isinstance(cost, int | float | str):
        return None
    try:
        dollars = Decimal(str(cost))
    except InvalidOperation:
        return None
    return dollars if dollars.is_finite() and dollars >= 0 else None
