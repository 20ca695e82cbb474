"""Usage that is nothing like what it should be does no harm to the answer around it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.metering.usage import CLASSES, Usage
from gateway.upstreams.noting import note_anthropic, note_gemini, note_response
from gateway.upstreams.protocol import Meter
from gateway.wire.anthropic_reply import AnthropicStream, from_anthropic
from gateway.wire.gemini_reply import GeminiStream, from_gemini

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 500),
    st.floats(),
    st.sampled_from(["", "12", "12.0", "-3", "NaN", "many"]),
)
NAMES = st.sampled_from(
    [
        *("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation"),
        *("cache_creation_input_tokens", "ephemeral_1h_input_tokens", "iterations", "type"),
        *("server_tool_use", "web_search_requests", "output_tokens_details", "thinking_tokens"),
        *("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount"),
        *("promptTokensDetails", "cachedContentTokenCount", "tokenCount", "modality"),
    ]
)
ANY = st.recursive(
    ODD,
    lambda inside: st.one_of(
        st.lists(inside, max_size=3), st.dictionaries(NAMES, inside, max_size=4)
    ),
    max_leaves=10,
)
REPORT = st.dictionaries(NAMES, ANY, max_size=6)


def assert_sane(usage: Usage | None) -> None:
    if usage is not None:
        assert all(getattr(usage, name) >= 0 for name in CLASSES)


@given(first=ANY, last=ANY)
def test_no_usage_of_anthropic_spoils_an_answer(first: Any, last: Any) -> None:
    content = [{"type": "text", "text": "Two words"}]
    whole = from_anthropic({"content": content, "usage": last}, created=1)
    assert whole["choices"][0]["message"]["content"] == "Two words"
    stream = AnthropicStream(created=1)
    stream.feed("", {"type": "message_start", "message": {"id": "a", "usage": first}})
    stream.feed("", {"type": "message_delta", "delta": {"stop_reason": "refusal"}, "usage": last})
    stream.feed("", {"type": "message_stop"})
    assert stream.final_usage_chunk()["choices"] == []
    meter = Meter()
    note_anthropic(stream.usage, meter, stream.stop_reason)
    assert_sane(meter.usage)
    for extra in meter.extras:
        assert_sane(extra.usage)


@given(usage=ANY, grounding=ANY)
def test_no_usage_of_gemini_spoils_an_answer(usage: Any, grounding: Any) -> None:
    candidate = {
        "content": {"parts": [{"text": "Two words"}]},
        "finishReason": "STOP",
        "groundingMetadata": grounding,
    }
    reply = {"candidates": [candidate], "usageMetadata": usage}
    whole = from_gemini(reply, created=1, answer_id="a")
    assert whole["choices"][0]["message"]["content"] == "Two words"
    stream = GeminiStream(created=1, answer_id="a")
    stream.feed(reply)
    assert stream.finished
    assert stream.final_usage_chunk()["choices"] == []
    meter = Meter()
    note_gemini(stream.usage, meter, stream.searches)
    assert_sane(meter.usage)


@given(usage=ANY, output=ANY, tools=ANY)
def test_no_usage_of_a_response_spoils_its_meter(usage: Any, output: Any, tools: Any) -> None:
    meter = Meter()
    told = {"usage": usage, "output": output, "tools": tools, "tool_usage": usage, "id": output}
    note_response(told, meter, "openai")
    assert_sane(meter.usage)
    for extra in meter.extras:
        assert_sane(extra.usage)


@pytest.mark.parametrize(
    ("start", "end", "read", "written"),
    [
        ({"input_tokens": 10, "output_tokens": 1}, {"output_tokens": 7}, 10, 7),
        ({"input_tokens": 10, "output_tokens": 1}, {"input_tokens": 0, "output_tokens": 7}, 10, 7),
        ({"input_tokens": 10, "output_tokens": 1}, {"input_tokens": 30, "output_tokens": 7}, 30, 7),
        ({"input_tokens": 10, "output_tokens": 5}, None, 10, 5),
        ({}, {"input_tokens": 10, "output_tokens": 7}, 10, 7),
    ],
)
def test_the_ends_of_a_message_make_one_usage(
    start: dict[str, int], end: dict[str, int] | None, read: int, written: int
) -> None:
    stream = AnthropicStream(created=1)
    stream.feed("", {"type": "message_start", "message": {"id": "a", "usage": start}})
    stream.feed("", {"type": "message_delta", "delta": {}, "usage": end})
    meter = Meter()
    note_anthropic(stream.usage, meter, None)
    assert meter.usage == Usage(input=read, output=written)


def test_a_split_that_is_restated_as_zeros_stays_what_it_was() -> None:
    split = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 20}
    begun = {"input_tokens": 10, "cache_creation_input_tokens": 20, "cache_creation": split}
    stream = AnthropicStream(created=1)
    stream.feed("", {"type": "message_start", "message": {"id": "a", "usage": begun}})
    zeros = dict.fromkeys(split, 0)
    usage = {"output_tokens": 7, "cache_creation_input_tokens": 0, "cache_creation": zeros}
    stream.feed("", {"type": "message_delta", "delta": {}, "usage": usage})
    meter = Meter()
    note_anthropic(stream.usage, meter, None)
    assert meter.usage == Usage(input=10, cache_write_1h=20, output=7)


def test_a_refusal_before_any_output_is_not_billed_though_the_start_had_a_fragment() -> None:
    """The fragment of the start is an estimate; what the end says replaces it, a zero too."""
    stream = AnthropicStream(created=1)
    begun = {"input_tokens": 10, "output_tokens": 1}
    stream.feed("", {"type": "message_start", "message": {"id": "a", "usage": begun}})
    delta = {"stop_reason": "refusal"}
    stream.feed("", {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 0}})
    meter = Meter()
    note_anthropic(stream.usage, meter, stream.stop_reason)
    assert (meter.usage, meter.unbilled) == (Usage(input=10), True)


def test_the_end_of_a_message_says_less_output_than_its_start_and_is_right() -> None:
    stream = AnthropicStream(created=1)
    begun = {"input_tokens": 10, "output_tokens": 8}
    stream.feed("", {"type": "message_start", "message": {"id": "a", "usage": begun}})
    stream.feed("", {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 5}})
    stream.feed("", {"type": "message_delta", "delta": {}, "usage": {"output_tokens": None}})
    meter = Meter()
    note_anthropic(stream.usage, meter, None)
    assert meter.usage == Usage(input=10, output=5)
