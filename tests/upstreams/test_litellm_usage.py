"""LiteLLM reshapes what providers report; read back, it has to be what they reported.

The judge is our reading of the provider's own figures: whatever they are, the way through
LiteLLM's shape comes to the same classes.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.metering.anthropic import anthropic
from gateway.metering.reading import gemini, litellm_chat
from gateway.metering.usage import NOTHING, Usage
from tests.upstreams.bridged import MARKS

from litellm.llms.anthropic.chat.transformation import AnthropicConfig  # isort: skip
from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import (  # isort: skip
    VertexGeminiConfig,
)

pytestmark = MARKS[1:]
Json = dict[str, Any]

COUNTS = st.integers(0, 5000)


@st.composite
def anthropic_reports(draw: st.DrawFn) -> Json:
    short, hour, output = draw(COUNTS), draw(COUNTS), draw(COUNTS)
    report: Json = {"input_tokens": draw(st.integers(1, 5000)), "output_tokens": output}
    if draw(st.booleans()):
        report["cache_read_input_tokens"] = draw(COUNTS)
    if draw(st.booleans()):
        report["cache_creation_input_tokens"] = short + hour
        if draw(st.booleans()):
            report["cache_creation"] = {
                "ephemeral_5m_input_tokens": short,
                "ephemeral_1h_input_tokens": hour,
            }
    if draw(st.booleans()):
        report["output_tokens_details"] = {"thinking_tokens": draw(st.integers(0, output))}
    if draw(st.booleans()):
        report["server_tool_use"] = {"web_search_requests": draw(st.integers(0, 9))}
    return report


@st.composite
def gemini_reports(draw: st.DrawFn) -> Json:
    text, audio, cached = draw(st.integers(1, 5000)), draw(COUNTS), draw(COUNTS)
    candidates, thoughts, tools = draw(st.integers(1, 5000)), draw(COUNTS), draw(COUNTS)
    report: Json = {
        "promptTokenCount": text + audio + cached,
        "candidatesTokenCount": candidates,
        "totalTokenCount": text + audio + cached + candidates + thoughts + tools,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": text + cached}],
    }
    if audio:
        report["promptTokensDetails"].append({"modality": "AUDIO", "tokenCount": audio})
    if cached:
        report["cachedContentTokenCount"] = cached
    if thoughts:
        report["thoughtsTokenCount"] = thoughts
    if tools:
        report["toolUsePromptTokenCount"] = tools
    return report


def dumped(usage: Any) -> Json:
    told: Json = usage.model_dump(exclude_none=True, warnings=False)
    return told


@settings(deadline=None)
@given(anthropic_reports())
def test_what_anthropic_reports_comes_through_class_by_class(report: Json) -> None:
    theirs = AnthropicConfig().calculate_usage(report, reasoning_content=None)
    assert litellm_chat(dumped(theirs)) == anthropic(report)


@settings(deadline=None)
@given(gemini_reports(), st.booleans())
def test_what_gemini_reports_comes_through_class_by_class(report: Json, grounded: bool) -> None:
    candidate = {"groundingMetadata": {"webSearchQueries": ["tea"]}} if grounded else {}
    reply: Any = {"usageMetadata": report, "candidates": [candidate]}
    read = litellm_chat(dumped(VertexGeminiConfig._calculate_usage(reply)))
    assert read is not None
    assert replace(read, requests=0) == gemini(report)


READ: dict[str, tuple[Json, Usage | None]] = {
    "zeros are what it writes when it was told nothing": (
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        None,
    ),
    "nothing at all": ({}, None),
    "a cache read that stands only beside": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 5,
            "total_tokens": 105,
            "cache_read_input_tokens": 60,
        },
        Usage(input=40, cache_read=60, output=5),
    ),
    "a write told three times over": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 5,
            "total_tokens": 105,
            "cache_creation_input_tokens": 70,
            "prompt_tokens_details": {"cache_write_tokens": 70, "cache_creation_tokens": 70},
        },
        Usage(input=30, cache_write=70, output=5),
    ),
    "an hour's write that is larger than the write": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 0,
            "total_tokens": 100,
            "prompt_tokens_details": {
                "cache_write_tokens": 70,
                "cache_creation_token_details": {"ephemeral_1h_input_tokens": 90},
            },
        },
        Usage(input=30, cache_write_1h=70),
    ),
    "thoughts that only the total holds": (
        {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 35},
        Usage(input=10, output=5, reasoning=20),
    ),
    "an explicit zero of output": (
        {"prompt_tokens": 10, "completion_tokens": 0, "total_tokens": 10},
        replace(NOTHING, input=10),
    ),
}


@pytest.mark.parametrize("case", READ)
def test_its_shape_is_read(case: str) -> None:
    raw, usage = READ[case]
    assert litellm_chat(raw) == usage
