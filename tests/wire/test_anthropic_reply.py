"""What Anthropic answers reaches the caller in OpenAI's words, with every token."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import UpstreamBroken
from gateway.wire.anthropic_reply import AnthropicStream, anthropic_usage, from_anthropic

Json = dict[str, Any]

USAGE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 200,
    "cache_creation_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
    "output_tokens": 50,
    "output_tokens_details": {"thinking_tokens": 15},
}
OPENAI_USAGE = {
    "prompt_tokens": 240,
    "completion_tokens": 50,
    "total_tokens": 290,
    "prompt_tokens_details": {"cached_tokens": 200, "cache_write_tokens": 30},
    "completion_tokens_details": {"reasoning_tokens": 15},
}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "sig"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"town": "Rome"}}


def a_message(*content: Json, stop: str = "end_turn") -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "model": "claude-x",
        "content": list(content),
        "stop_reason": stop,
        "usage": USAGE,
    }


def test_a_whole_answer_is_a_completion() -> None:
    text = [{"type": "text", "text": "It is "}, {"type": "text", "text": "sunny."}]
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    assert from_anthropic(a_message(THOUGHT, text[0], search, text[1]), created=7) == {
        "id": "msg_1",
        "object": "chat.completion",
        "created": 7,
        "model": "claude-x",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "It is sunny.",
                    "reasoning_content": "hm",
                    "thinking_blocks": [THOUGHT],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": OPENAI_USAGE,
    }


def test_calls_are_calls_and_the_content_is_null() -> None:
    reply = from_anthropic(a_message(CALL, {**CALL, "id": "toolu_2", "input": {}}), created=7)
    message = reply["choices"][0]["message"]
    assert message["content"] is None
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == [
        '{"town":"Rome"}',
        "{}",
    ]
    assert [call["id"] for call in message["tool_calls"]] == ["toolu_1", "toolu_2"]


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("compaction", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("something new", "stop"),
    ],
)
def test_the_reason_for_the_end_is_said(stop: str, finish: str) -> None:
    reply = from_anthropic(a_message(stop=stop), created=7)
    assert reply["choices"][0]["finish_reason"] == finish
    assert reply["choices"][0]["message"]["content"] == ""


def test_something_else_than_a_message_is_a_broken_answer() -> None:
    with pytest.raises(UpstreamBroken):
        from_anthropic({"type": "error"}, created=7)


def test_writes_are_found_when_only_their_split_is_told() -> None:
    usage = anthropic_usage(
        {key: USAGE[key] for key in USAGE if key != "cache_creation_input_tokens"}
    )
    assert usage == OPENAI_USAGE


def test_a_usage_that_was_not_told_is_unknown_and_not_zero() -> None:
    assert anthropic_usage({}) is None
    assert anthropic_usage({"service_tier": "standard"}) is None
    told = anthropic_usage({"input_tokens": 0, "output_tokens": 0})
    assert told is not None
    assert told["total_tokens"] == 0


START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "model": "claude-x",
        "content": [],
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 200, "output_tokens": 1},
    },
}
STOP = {"type": "message_stop"}


def block(index: int, start: Json, *deltas: Json) -> list[Json]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": each} for each in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def end(reason: str | None, **usage: Any) -> Json:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


def played(*events: Json) -> tuple[AnthropicStream, list[Json]]:
    stream = AnthropicStream(created=7)
    chunks = [chunk for event in events for chunk in stream.feed(event["type"], event)]
    assert all(chunk["id"] == "msg_1" and chunk["model"] == "claude-x" for chunk in chunks)
    return stream, [
        {**chunk["choices"][0]["delta"], "finish": chunk["choices"][0]["finish_reason"]}
        for chunk in chunks
    ]


def test_a_stream_says_the_same_chunk_by_chunk() -> None:
    events = [
        START,
        {"type": "ping"},
        *block(
            0,
            {"type": "thinking", "thinking": ""},
            {"type": "thinking_delta", "thinking": "h"},
            {"type": "thinking_delta", "thinking": "m"},
            {"type": "signature_delta", "signature": "sig"},
        ),
        *block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Sunny"}),
        *block(
            2,
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
            {"type": "input_json_delta", "partial_json": ""},
            {"type": "input_json_delta", "partial_json": '{"town":'},
            {"type": "input_json_delta", "partial_json": '"Rome"}'},
        ),
        *block(3, {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}}),
        end("tool_use", output_tokens=50),
        STOP,
    ]
    stream, deltas = played(*events)
    call = {"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    other = {"id": "toolu_2", "type": "function", "function": {"name": "now", "arguments": ""}}
    assert [{k: v for k, v in delta.items() if v is not None} for delta in deltas] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "h"},
        {"reasoning_content": "m"},
        {"thinking_blocks": [THOUGHT]},
        {"content": "Sunny"},
        {"tool_calls": [{"index": 0, **call}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"town":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Rome"}'}}]},
        {"tool_calls": [{"index": 1, **other}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {"finish": "tool_calls"},
    ]
    assert stream.finished
    assert stream.error is None


def test_the_end_replaces_what_the_start_said_and_keeps_what_it_leaves_out() -> None:
    stream, _ = played(START, end("end_turn", input_tokens=12, output_tokens=50, iterations=None))
    assert stream.usage == {"input_tokens": 12, "cache_read_input_tokens": 200, "output_tokens": 50}
    assert not stream.finished
    last = stream.final_usage_chunk()
    assert last["choices"] == []
    assert last["usage"]["prompt_tokens"] == 212
    assert last["usage"]["completion_tokens"] == 50


def test_a_stream_that_begins_or_ends_twice_is_said_once() -> None:
    text = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Sunny"})
    again = {**START, "message": {**START["message"], "id": "msg_2"}}
    ended = end("end_turn", output_tokens=5)
    stream, deltas = played(START, again, *text, ended, ended, STOP, STOP)
    assert [delta["finish"] for delta in deltas] == [None, None, "stop"]
    assert stream.usage["output_tokens"] == 5


def test_unknown_events_and_blocks_do_no_harm() -> None:
    stream, deltas = played(
        {"type": "brand_new"},
        START,
        *block(
            0,
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            {"type": "input_json_delta", "partial_json": "{}"},
        ),
        *block(1, {"type": "brand_new"}, {"type": "brand_new_delta"}),
        {"type": "content_block_delta", "index": 9, "delta": {"type": "thinking_delta"}},
        {"type": "content_block_stop", "index": 9},
        {"type": "content_block_start"},
        {"type": "content_block_delta"},
        {"type": "message_delta"},
        {"type": "message_start"},
        STOP,
    )
    assert len(deltas) == 1
    assert stream.finished


def test_an_error_in_the_stream_is_kept_with_the_usage_so_far() -> None:
    error = {"type": "overloaded_error", "message": "Overloaded"}
    stream, _ = played(START, {"type": "error", "error": error})
    assert stream.error == error
    assert not stream.finished
    assert stream.usage["input_tokens"] == 10


def test_a_stream_that_said_nothing_has_no_usage() -> None:
    assert AnthropicStream(created=7).final_usage_chunk()["usage"] is None
