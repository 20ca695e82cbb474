"""What a provider reports, and what we make of it.

Each row is a sentence, the usage object as the provider sends it, and the tokens that we book,
class by class; a class that is not named is zero. The sum of the classes of a row is what the
provider bills, so no token is in two of them.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.metering.reading import (
    anthropic,
    gemini,
    ollama,
    openai_chat,
    openai_responses,
    service_tier,
    stated_cost,
)
from gateway.metering.usage import CLASSES, Usage

Raw = dict[str, Any]
Rows = dict[str, tuple[Raw, dict[str, int] | None]]
UNKNOWN = None
"""Nothing that could be booked was told: tokens are counted by us then."""

OPENAI_CHAT: Rows = {
    "text in, text out": (
        {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
        {"input": 100, "output": 20},
    ),
    "cached tokens are inside the prompt": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "prompt_tokens_details": {"cached_tokens": 64},
        },
        {"input": 36, "cache_read": 64, "output": 20},
    ),
    "written tokens are inside the prompt": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 50},
        },
        {"input": 10, "cache_read": 40, "cache_write": 50, "output": 20},
    ),
    "reasoning is inside the completion, and not added to it": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 90,
            "total_tokens": 190,
            "completion_tokens_details": {"reasoning_tokens": 64},
        },
        {"input": 100, "output": 26, "reasoning": 64},
    ),
    "predictions are inside the completion and change nothing": (
        {
            "prompt_tokens": 10,
            "completion_tokens": 9,
            "completion_tokens_details": {
                "accepted_prediction_tokens": 4,
                "rejected_prediction_tokens": 3,
            },
        },
        {"input": 10, "output": 9},
    ),
    "sound in and out": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 80,
            "prompt_tokens_details": {"audio_tokens": 30, "cached_tokens": 0},
            "completion_tokens_details": {"audio_tokens": 60},
        },
        {"input": 70, "audio_input": 30, "output": 20, "audio_output": 60},
    ),
    "cached sound is sound, and cached": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 0,
            "prompt_tokens_details": {
                "audio_tokens": 30,
                "cached_tokens": 25,
                "cached_tokens_details": {"audio_tokens": 20, "text_tokens": 5},
            },
        },
        {"input": 65, "cache_read": 5, "cache_read_audio": 20, "audio_input": 10},
    ),
    "pictures in and out": (
        {
            "prompt_tokens": 50,
            "completion_tokens": 40,
            "prompt_tokens_details": {"image_tokens": 30},
            "completion_tokens_details": {"image_tokens": 35},
        },
        {"input": 20, "image_input": 30, "output": 5, "image_output": 35},
    ),
    "an embedding has no output": (
        {"prompt_tokens": 12, "total_tokens": 12},
        {"input": 12},
    ),
    "details that are null are as good as none": (
        {
            "prompt_tokens": 12,
            "completion_tokens": 3,
            "prompt_tokens_details": None,
            "completion_tokens_details": None,
        },
        {"input": 12, "output": 3},
    ),
    "a part that is null is as good as none": (
        {
            "prompt_tokens": 12,
            "completion_tokens": 3,
            "prompt_tokens_details": {"cached_tokens": None, "audio_tokens": None},
        },
        {"input": 12, "output": 3},
    ),
    "a stated zero is a zero": (
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {},
    ),
    "no figures at all": ({}, UNKNOWN),
    "all figures null": ({"prompt_tokens": None, "completion_tokens": None}, UNKNOWN),
    "output alone does not tell the input": ({"completion_tokens": 20}, UNKNOWN),
    "a missing prompt is what the total leaves for it": (
        {"completion_tokens": 20, "total_tokens": 120},
        {"input": 100, "output": 20},
    ),
    "a missing completion is what the total leaves for it": (
        {"prompt_tokens": 100, "total_tokens": 120},
        {"input": 100, "output": 20},
    ),
    "a part is never larger than its whole": (
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 25, "audio_tokens": 7},
            "completion_tokens_details": {"reasoning_tokens": 50},
        },
        {"cache_read": 10, "reasoning": 5},
    ),
    "counts may be floats, or text": (
        {"prompt_tokens": 100.0, "completion_tokens": "20", "total_tokens": 120.0},
        {"input": 100, "output": 20},
    ),
    "negative and absurd counts are no counts": (
        {"prompt_tokens": -1, "completion_tokens": 10**15, "total_tokens": True},
        UNKNOWN,
    ),
}

OTHERS_IN_OPENAIS_SHAPE: Rows = {
    "xAI: reasoning is beside the completion, as the total tells": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "total_tokens": 170,
            "prompt_tokens_details": {"text_tokens": 100, "cached_tokens": 90},
            "completion_tokens_details": {"reasoning_tokens": 50},
        },
        {"input": 10, "cache_read": 90, "output": 20, "reasoning": 50},
    ),
    "xAI: without a total, reasoning larger than the completion must be beside it": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "completion_tokens_details": {"reasoning_tokens": 50},
        },
        {"input": 100, "output": 20, "reasoning": 50},
    ),
    "Gemini's compatible endpoint: thoughts stand only in the total": (
        {"prompt_tokens": 66, "completion_tokens": 6, "total_tokens": 100},
        {"input": 66, "output": 6, "reasoning": 28},
    ),
    "DeepSeek: the cache's hits and misses add up to the prompt": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "prompt_cache_hit_tokens": 64,
            "prompt_cache_miss_tokens": 36,
        },
        {"input": 36, "cache_read": 64, "output": 20},
    ),
    "DeepSeek: the same tokens under two names are counted once": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "prompt_cache_hit_tokens": 64,
            "prompt_tokens_details": {"cached_tokens": 64},
        },
        {"input": 36, "cache_read": 64, "output": 20},
    ),
    "Mistral: cached tokens under its own name": (
        {"prompt_tokens": 100, "completion_tokens": 20, "num_cached_tokens": 80},
        {"input": 20, "cache_read": 80, "output": 20},
    ),
    "Mistral: what was heard stands only in the total, on the input's side": (
        {
            "prompt_tokens": 4,
            "completion_tokens": 60,
            "total_tokens": 264,
            "prompt_audio_seconds": 16,
        },
        {"input": 4, "audio_input": 200, "output": 60},
    ),
    "Mistral: seconds that are null mean that nothing was heard": (
        {
            "prompt_tokens": 4,
            "completion_tokens": 60,
            "total_tokens": 64,
            "prompt_audio_seconds": None,
        },
        {"input": 4, "output": 60},
    ),
    "Moonshot: cached tokens at the top level": (
        {"prompt_tokens": 100, "completion_tokens": 20, "cached_tokens": 80},
        {"input": 20, "cache_read": 80, "output": 20},
    ),
    "Groq: times beside the counts are not counts": (
        {
            "prompt_tokens": 9,
            "completion_tokens": 3,
            "total_tokens": 12,
            "queue_time": 0.03,
            "total_time": 0.12,
        },
        {"input": 9, "output": 3},
    ),
    "OpenRouter: searches have a fee of their own": (
        {
            "prompt_tokens": 9,
            "completion_tokens": 3,
            "server_tool_use_details": {"web_search_requests": 2},
        },
        {"input": 9, "output": 3, "requests": 2},
    ),
    "llama.cpp: the cached part is inside the prompt": (
        {
            "prompt_tokens": 40,
            "completion_tokens": 8,
            "total_tokens": 48,
            "prompt_tokens_details": {"cached_tokens": 39},
        },
        {"input": 1, "cache_read": 39, "output": 8},
    ),
}

OPENAI_RESPONSES: Rows = {
    "cached and reasoning tokens are inside": (
        {
            "input_tokens": 100,
            "output_tokens": 90,
            "total_tokens": 190,
            "input_tokens_details": {"cached_tokens": 64},
            "output_tokens_details": {"reasoning_tokens": 64},
        },
        {"input": 36, "cache_read": 64, "output": 26, "reasoning": 64},
    ),
    "written tokens are inside": (
        {
            "input_tokens": 100,
            "output_tokens": 5,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 90},
        },
        {"input": 10, "cache_write": 90, "output": 5},
    ),
    "a background response has no usage yet": ({"input_tokens": None}, UNKNOWN),
}

ANTHROPIC: Rows = {
    "text in, text out": (
        {"input_tokens": 100, "output_tokens": 20},
        {"input": 100, "output": 20},
    ),
    "cache reads and writes are beside the input": (
        {
            "input_tokens": 10,
            "cache_read_input_tokens": 500,
            "cache_creation_input_tokens": 200,
            "output_tokens": 20,
        },
        {"input": 10, "cache_read": 500, "cache_write": 200, "output": 20},
    ),
    "each lifetime of a write has its own class": (
        {
            "input_tokens": 10,
            "cache_creation_input_tokens": 200,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 50,
                "ephemeral_1h_input_tokens": 150,
            },
            "output_tokens": 20,
        },
        {"input": 10, "cache_write": 50, "cache_write_1h": 150, "output": 20},
    ),
    "the split alone is enough": (
        {
            "input_tokens": 10,
            "cache_creation": {"ephemeral_1h_input_tokens": 150},
            "output_tokens": 20,
        },
        {"input": 10, "cache_write_1h": 150, "output": 20},
    ),
    "thinking is inside the output": (
        {
            "input_tokens": 10,
            "output_tokens": 50,
            "output_tokens_details": {"thinking_tokens": 30},
        },
        {"input": 10, "output": 20, "reasoning": 30},
    ),
    "searches have a fee, fetches do not": (
        {
            "input_tokens": 10,
            "output_tokens": 5,
            "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 4},
        },
        {"input": 10, "output": 5, "requests": 3},
    ),
    "a compaction is billed beside the message": (
        {
            "input_tokens": 200,
            "output_tokens": 10,
            "iterations": [
                {"type": "compaction", "input_tokens": 1800, "output_tokens": 35},
                {"type": "message", "input_tokens": 200, "output_tokens": 10},
            ],
        },
        {"input": 2000, "output": 45},
    ),
    "an advisor's tokens are another model's": (
        {
            "input_tokens": 200,
            "output_tokens": 10,
            "iterations": [
                {"type": "message", "input_tokens": 90, "output_tokens": 6},
                {"type": "advisor_message", "model": "x", "input_tokens": 80, "output_tokens": 9},
                {"type": "message", "input_tokens": 110, "output_tokens": 4},
            ],
        },
        {"input": 200, "output": 10},
    ),
    "nulls in the cache fields are as good as none": (
        {
            "input_tokens": 10,
            "cache_read_input_tokens": None,
            "cache_creation_input_tokens": None,
            "cache_creation": None,
            "server_tool_use": None,
            "output_tokens": 5,
        },
        {"input": 10, "output": 5},
    ),
    "output alone does not tell the input": ({"output_tokens": 5}, UNKNOWN),
}

GEMINI: Rows = {
    "text in, text out": (
        {"promptTokenCount": 100, "candidatesTokenCount": 20, "totalTokenCount": 120},
        {"input": 100, "output": 20},
    ),
    "thoughts are beside the candidates": (
        {
            "promptTokenCount": 100,
            "candidatesTokenCount": 20,
            "thoughtsTokenCount": 70,
            "totalTokenCount": 190,
        },
        {"input": 100, "output": 20, "reasoning": 70},
    ),
    "the prompt of tool use is beside the prompt": (
        {"promptTokenCount": 100, "toolUsePromptTokenCount": 40, "candidatesTokenCount": 20},
        {"input": 140, "output": 20},
    ),
    "the cached part is inside the prompt": (
        {"promptTokenCount": 100, "cachedContentTokenCount": 80, "candidatesTokenCount": 20},
        {"input": 20, "cache_read": 80, "output": 20},
    ),
    "nothing was written": (
        {"promptTokenCount": 100, "totalTokenCount": 100},
        {"input": 100},
    ),
    "thoughts that stand only in the total": (
        {"promptTokenCount": 100, "candidatesTokenCount": 20, "totalTokenCount": 190},
        {"input": 100, "output": 20, "reasoning": 70},
    ),
    "sound and pictures by their modality": (
        {
            "promptTokenCount": 100,
            "candidatesTokenCount": 50,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 20},
                {"modality": "AUDIO", "tokenCount": 50},
                {"modality": "IMAGE", "tokenCount": 30},
            ],
            "candidatesTokensDetails": [
                {"modality": "IMAGE", "tokenCount": 40},
                {"modality": "AUDIO", "tokenCount": 5},
            ],
        },
        {
            "input": 20,
            "audio_input": 50,
            "image_input": 30,
            "output": 5,
            "audio_output": 5,
            "image_output": 40,
        },
    ),
    "modalities by Vertex's numbers": (
        {
            "promptTokenCount": 100,
            "candidatesTokenCount": 5,
            "promptTokensDetails": [
                {"modality": 1, "tokenCount": 20},
                {"modality": 4, "tokenCount": 80},
            ],
        },
        {"input": 20, "audio_input": 80, "output": 5},
    ),
    "cached sound is cached, and not sound at the full price": (
        {
            "promptTokenCount": 100,
            "cachedContentTokenCount": 60,
            "candidatesTokenCount": 5,
            "promptTokensDetails": [
                {"modality": "AUDIO", "tokenCount": 70},
                {"modality": "TEXT", "tokenCount": 30},
            ],
            "cacheTokensDetails": [
                {"modality": "AUDIO", "tokenCount": 50},
                {"modality": "TEXT", "tokenCount": 10},
            ],
        },
        {"input": 20, "cache_read": 10, "cache_read_audio": 50, "audio_input": 20, "output": 5},
    ),
    "a modality that nobody knows yet costs what text costs": (
        {
            "promptTokenCount": 100,
            "candidatesTokenCount": 5,
            "promptTokensDetails": [{"modality": "SMELL", "tokenCount": 100}, {"modality": None}],
        },
        {"input": 100, "output": 5},
    ),
    "the kind of traffic alone is not a zero": ({"trafficType": "ON_DEMAND"}, UNKNOWN),
    "numbers as text, as protocol buffers write them": (
        {"promptTokenCount": "100", "candidatesTokenCount": "20"},
        {"input": 100, "output": 20},
    ),
}

OLLAMA: Rows = {
    "text in, text out": (
        {"prompt_eval_count": 100, "eval_count": 20},
        {"input": 100, "output": 20},
    ),
    "the cached part is inside": (
        {"prompt_eval_count": 100, "prompt_eval_cached_count": 90, "eval_count": 20},
        {"input": 10, "cache_read": 90, "output": 20},
    ),
    "a missing prompt count is unknown and not zero": ({"eval_count": 20}, UNKNOWN),
}

Reader = Callable[[Raw], Usage | None]
TABLES: dict[Reader, list[Rows]] = {
    openai_chat: [OPENAI_CHAT, OTHERS_IN_OPENAIS_SHAPE],
    openai_responses: [OPENAI_RESPONSES],
    anthropic: [ANTHROPIC],
    gemini: [GEMINI],
    ollama: [OLLAMA],
}


@pytest.mark.parametrize(
    ("read", "raw", "booked"),
    [
        pytest.param(read, raw, booked, id=f"{read.__name__}: {sentence}")
        for read, tables in TABLES.items()
        for table in tables
        for sentence, (raw, booked) in table.items()
    ],
)
def test_what_a_provider_reports_is_what_is_booked(
    read: Reader, raw: Raw, booked: dict[str, int] | None
) -> None:
    assert read(raw) == (None if booked is None else Usage(**booked))


def test_billed_tool_calls_of_a_response_are_calls_with_a_fee() -> None:
    usage = openai_responses({"input_tokens": 3, "output_tokens": 2}, calls=4)
    assert usage == Usage(input=3, output=2, requests=4)


@pytest.mark.parametrize(
    ("raw", "tier"),
    [
        ({"service_tier": "priority"}, "priority"),
        ({"service_tier": "standard", "speed": "fast"}, "fast"),
        ({"serviceTier": "flex"}, "flex"),
        ({"serviceTier": "SERVICE_TIER_PRIORITY"}, "priority"),
        ({"trafficType": "ON_DEMAND_FLEX"}, "flex"),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority"),
        ({"trafficType": "ON_DEMAND"}, None),
        ({"trafficType": 1}, None),
        ({"service_tier": None, "serviceTier": 7}, None),
        ({}, None),
    ],
)
def test_the_service_tier_is_the_one_that_the_answer_names(raw: Raw, tier: str | None) -> None:
    assert service_tier(raw) == tier


@pytest.mark.parametrize(
    ("flavour", "raw", "dollars"),
    [
        ("openrouter", {"cost": 0.00019325}, "0.00019325"),
        ("openrouter", {"cost": 1.4e-05, "is_byok": False}, "0.000014"),
        ("openrouter", {"cost": 0}, "0"),
        (
            "openrouter",
            {"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}},
            "0.021",
        ),
        ("openrouter", {"cost": 0.001, "is_byok": True}, None),
        ("openrouter", {"cost": -1}, None),
        ("openrouter", {"cost": "much"}, None),
        ("openrouter", {"cost": True}, None),
        ("openrouter", {"cost": {"total": 1}}, None),
        ("openrouter", {}, None),
        ("xai", {"cost_in_usd_ticks": 1_330_500}, "0.00013305"),
        ("xai", {"cost": 3}, None),
        ("openai", {"cost": 0.5, "cost_in_usd_ticks": 5}, None),
    ],
)
def test_a_charge_is_taken_only_from_who_says_what_it_means(
    flavour: str, raw: Raw, dollars: str | None
) -> None:
    assert stated_cost(raw, flavour) == (None if dollars is None else Decimal(dollars))


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
MODALITY = st.fixed_dictionaries(
    {},
    optional={
        "modality": st.one_of(ODD, st.sampled_from(["TEXT", "AUDIO", "IMAGE", 2, 4])),
        "tokenCount": st.one_of(ODD, st.integers(0, 500)),
    },
)
COUNT = st.one_of(st.integers(0, 1000), ODD)
NAMES = sorted(
    {
        *(
            name
            for tables in TABLES.values()
            for table in tables
            for raw, _ in table.values()
            for name in raw
        ),
        *("cost", "speed", "service_tier"),
    }
)
PARTS = st.dictionaries(
    st.sampled_from(
        [
            "cached_tokens",
            "cache_write_tokens",
            "audio_tokens",
            "image_tokens",
            "reasoning_tokens",
            "thinking_tokens",
            "web_search_requests",
            "ephemeral_1h_input_tokens",
            "ephemeral_5m_input_tokens",
            "type",
        ]
    ),
    COUNT,
)
REPORTS = st.dictionaries(
    st.sampled_from(NAMES), st.one_of(COUNT, PARTS, st.lists(MODALITY), st.lists(PARTS))
)


@given(raw=REPORTS)
def test_no_report_however_odd_raises_or_makes_a_negative_count(raw: Raw) -> None:
    for read in TABLES:
        usage = read(raw)
        if usage is not None:
            counts = [getattr(usage, name) for name in CLASSES]
            assert all(type(count) is int and count >= 0 for count in counts)
    service_tier(raw)
    for flavour in ("openrouter", "xai", "openai"):
        assert (stated_cost(raw, flavour) or 0) >= 0


@given(
    prompt=st.integers(0, 10**6),
    completion=st.integers(0, 10**6),
    parts_in=PARTS,
    parts_out=PARTS,
)
def test_whatever_the_parts_say_the_totals_stay(
    prompt: int, completion: int, parts_in: Raw, parts_out: Raw
) -> None:
    usage = openai_chat(
        {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": parts_in,
            "completion_tokens_details": parts_out,
        }
    )
    assert usage is not None
    assert (usage.input_total, usage.output_total) == (prompt, completion)
