"""Every recorded answer of Anthropic and Gemini translates, and its tokens are all there.

The recordings are not part of the project: they are read from `JOBGATE_RECORDED`, or from
`../shared/recorded` beside the repository, when they are there.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.errors import BadRequest
from gateway.wire.anthropic_reply import AnthropicStream, from_anthropic
from gateway.wire.anthropic_request import to_anthropic
from gateway.wire.errors import NO_REASON, provider_message
from gateway.wire.gemini_reply import GeminiStream, from_gemini
from gateway.wire.gemini_request import to_gemini
from gateway.wire.sse import EventSplitter, data_of, name_of

Json = dict[str, Any]

BESIDE = Path(__file__).parents[2].parent / "shared" / "recorded"
FILE = Path(os.environ.get("JOBGATE_RECORDED", BESIDE)) / "recorded.jsonl.gz"
NATIVE = {"messages", "generate"}


def recorded() -> list[Any]:
    if not FILE.is_file():
        print(f"recorded translations are not tested: there is no {FILE} (set JOBGATE_RECORDED)")
        return []
    with gzip.open(FILE) as lines:
        rows = [msgspec.json.decode(line) for line in lines]
    return [pytest.param(row, id=f"{row['api']}-{row['id']}") for row in rows]


ROWS = recorded()
ANSWERS = [
    param for param in ROWS if param.values[0]["api"] in NATIVE and param.values[0]["status"] == 200
]
FAILURES = [param for param in ROWS if param.values[0]["status"] >= 400]


def answer_of(row: Json) -> tuple[Json, list[Json]]:
    """The translated answer as a completion, and the chunks if it was streamed."""
    body = row["body"].encode()
    if row["framing"] == "json":
        reply = msgspec.json.decode(body)
        if row["api"] == "messages":
            return from_anthropic(reply, created=1), []
        return from_gemini(reply, created=1, answer_id="chatcmpl-1"), []
    return streamed(row, body)


def streamed(row: Json, body: bytes) -> tuple[Json, list[Json]]:
    chunks: list[Json] = []
    stream: AnthropicStream | GeminiStream
    if row["api"] == "messages":
        stream = AnthropicStream(created=1)
        for event in events_of(body):
            chunks += stream.feed(name_of(event), msgspec.json.decode(data_of(event) or b"{}"))
    else:
        stream = GeminiStream(created=1, answer_id="chatcmpl-1")
        if row["framing"] == "json-array":
            pieces = msgspec.json.decode(body)
        else:
            pieces = [msgspec.json.decode(data_of(event) or b"{}") for event in events_of(body)]
        for piece in pieces:
            chunks += stream.feed(piece)
    assert stream.finished or stream.error
    return stream.final_usage_chunk(), chunks


def events_of(body: bytes) -> list[bytes]:
    splitter = EventSplitter()
    events = splitter.feed(body)
    return events + ([splitter.rest] if data_of(splitter.rest) else [])


if ANSWERS:

    @pytest.mark.parametrize("row", ANSWERS)
    def test_a_recorded_answer_translates_with_all_its_tokens(row: Json) -> None:
        answer, chunks = answer_of(row)
        assert msgspec.json.encode([answer, chunks])
        expected = row["expected"]
        if expected is None:
            assert answer["usage"] is None
            return
        usage = answer["usage"]
        assert usage["prompt_tokens"] == expected["input_total"]
        assert usage["completion_tokens"] == expected["output_total"]
        assert usage["prompt_tokens_details"]["cached_tokens"] == expected["input_cached_read"]
        reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
        assert reasoning == (expected["output_reasoning"] or 0)
        if row["stream"]:
            ends = [c for chunk in chunks for c in chunk["choices"] if c["finish_reason"]]
            assert len(ends) == 1
        else:
            assert all(choice["finish_reason"] for choice in answer["choices"])

    @pytest.mark.parametrize("row", FAILURES)
    def test_a_recorded_failure_says_why_without_the_key(row: Json) -> None:
        message = provider_message(row["body"].encode())
        assert message != NO_REASON
        assert "{" not in message[:1]
        assert "sk-" not in message

    @pytest.mark.parametrize("row", [p for p in ROWS if p.values[0]["api"] == "chat"])
    def test_a_recorded_chat_request_is_said_or_refused_by_its_place(row: Json) -> None:
        request = row["request"]
        if request is None:
            return
        try:
            anthropic = to_anthropic(request, model="claude-sonnet-5", max_tokens=9)
            gemini = to_gemini(request, max_tokens=9, model="gemini-3-flash")
        except BadRequest as refusal:
            assert refusal.param
        else:
            assert anthropic.body["messages"][0]["content"]
            assert gemini.body["contents"][0]["parts"]
