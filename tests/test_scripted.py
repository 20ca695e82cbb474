"""The scripted provider speaks every format, plays what it is told, and keeps an exact bill."""

from __future__ import annotations

import asyncio
import io
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from gateway.metering.usage import Usage
from tests.scripted import Script, ScriptedProvider, ThreadedProvider
from tests.scripted.client import (
    CHAT,
    GEMINI,
    GEMINI_STREAM,
    MESSAGES,
    RESPONSES,
    asking,
    post,
    stream,
)

pytestmark = pytest.mark.anyio

THREE = Script(chunks=("one", " two", " three"), input=10, output=6)


# --- formats


async def test_the_default_answer_echoes_and_counts_words(provider, client):
    _, answer = await post(client, provider, CHAT)
    assert answer["choices"][0]["message"]["content"] == "You said: tell me more"
    assert answer["usage"]["prompt_tokens"] == len(["tell", "me", "more"]) + 3
    assert answer["usage"]["completion_tokens"] == len(["You", "said:", "tell", "me", "more"])


async def test_openai_puts_the_cache_and_reasoning_inside_the_whole(provider, client):
    provider.script = Script(text="a", input=10, cache_read=5, cache_write=3, output=4, reasoning=2)
    _, answer = await post(client, provider, CHAT)
    usage = answer["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (
        18,
        6,
        24,
    )
    assert usage["prompt_tokens_details"]["cached_tokens"] == 5
    assert usage["prompt_tokens_details"]["cache_write_tokens"] == 3
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 2


async def test_openai_streams_usage_only_when_asked(provider, client):
    provider.script = THREE
    unasked, _ = await stream(client, provider, CHAT)
    asked, _ = await stream(client, provider, CHAT, stream_options={"include_usage": True})
    assert all("usage" not in chunk for chunk in unasked[:-1])
    assert [chunk["usage"] for chunk in asked[:-2]] == [None] * (len(asked) - 2)
    assert asked[-2]["choices"] == []
    assert asked[-2]["usage"]["completion_tokens"] == 6
    assert asked[-1] == unasked[-1] == b"[DONE]"
    said = [c["choices"][0]["delta"].get("content") for c in unasked[:-1]]
    assert [piece for piece in said if piece] == list(THREE.chunks)


async def test_mistral_tells_usage_unasked_and_refuses_to_be_asked(client):
    async with ScriptedProvider("mistral", script=THREE) as mistral:
        chunks, _ = await stream(client, mistral, CHAT)
        options = {"stream_options": {"include_usage": True}}
        status, refusal = await post(client, mistral, CHAT, stream=True, **options)
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-2]["usage"]["total_tokens"] == 16
    assert status == 422
    assert refusal["message"]["detail"][0]["loc"] == ["body", "stream_options", "include_usage"]
    assert len(mistral.bill) == 1


async def test_a_path_may_name_the_flavour(provider, client):
    provider.script = THREE
    chunks, _ = await stream(client, provider, "/ollama" + CHAT)
    asked, _ = await stream(
        client, provider, "/ollama" + CHAT, stream_options={"include_usage": True}
    )
    assert all(not chunk.get("usage") for chunk in chunks[:-1])
    assert set(asked[-2]["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}


@pytest.mark.parametrize(
    ("flavour", "completion", "total"), [("openai", 7, 12), ("xai", 4, 12), ("gemini", 4, 12)]
)
async def test_reasoning_is_inside_or_beside_by_flavour(client, flavour, completion, total):
    script = Script(text="a", input=5, output=4, reasoning=3)
    async with ScriptedProvider(flavour, script=script) as one:
        _, answer = await post(client, one, CHAT)
    assert answer["usage"]["completion_tokens"] == completion
    assert answer["usage"]["total_tokens"] == total


async def test_embeddings_have_no_output(provider, client):
    body = {"model": "e-1", "input": ["two words", "three more words"]}
    async with client.post(provider.url + "/v1/embeddings", json=body) as answer:
        told = await answer.json()
    assert [one["index"] for one in told["data"]] == [0, 1]
    assert told["usage"] == {"prompt_tokens": 8, "total_tokens": 8}
    assert provider.totals() == Usage(input=8)


async def test_models_are_listed(provider, client):
    provider.by_model["gpt-x"] = THREE
    async with client.get(provider.url + "/v1/models") as answer:
        assert [one["id"] for one in (await answer.json())["data"]] == ["scripted-1", "gpt-x"]


async def test_anthropic_keeps_the_cache_beside_the_input(provider, client):
    provider.script = Script(
        text="a", input=7, cache_read=5, cache_write=3, cache_write_1h=2, output=4, requests=1
    )
    _, answer = await post(client, provider, MESSAGES)
    usage = answer["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (7, 5)
    assert usage["cache_creation_input_tokens"] == 5
    assert usage["cache_creation"]["ephemeral_1h_input_tokens"] == 2
    assert usage["server_tool_use"]["web_search_requests"] == 1


async def test_anthropic_streams_cumulative_usage(provider, client):
    provider.script = THREE
    events, _ = await stream(client, provider, MESSAGES)
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[0]["message"]["usage"]["input_tokens"] == 10
    assert events[0]["message"]["usage"]["output_tokens"] == 1
    assert events[-2]["usage"]["output_tokens"] == 6


async def test_gemini_restates_usage_in_every_chunk(provider, client):
    provider.script = Script(chunks=("one", " two"), input=10, cache_read=4, output=6, reasoning=3)
    chunks, _ = await stream(client, provider, GEMINI_STREAM)
    told = [chunk["usageMetadata"] for chunk in chunks]
    assert [usage["candidatesTokenCount"] for usage in told] == [3, 6, 6]
    assert told[-1]["promptTokenCount"] == 14
    assert told[-1]["cachedContentTokenCount"] == 4
    assert told[-1]["thoughtsTokenCount"] == 3
    assert told[-1]["totalTokenCount"] == 23
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"


async def test_gemini_without_sse_streams_one_array(provider, client):
    path = GEMINI_STREAM.partition("?")[0]
    status, answer = await post(client, provider, path)
    assert status == 200
    assert len(answer) > 1
    assert answer[-1]["candidates"][0]["finishReason"] == "STOP"
    _, plain = await post(client, provider, GEMINI)
    assert plain["usageMetadata"] == answer[-1]["usageMetadata"]


async def test_responses_end_with_the_whole_and_its_usage(provider, client):
    provider.script = THREE
    events, _ = await stream(client, provider, RESPONSES)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[0]["type"] == "response.created"
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["usage"]["output_tokens"] == 6
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "one two three"


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES, GEMINI])
async def test_tool_calls_reach_every_format(provider, client, path):
    provider.script = Script(tool_calls=(("weather", '{"city":"Rome"}'),))
    _, answer = await post(client, provider, path)
    events, _ = await stream(client, provider, GEMINI_STREAM if path == GEMINI else path)
    for told in (json.dumps(answer), json.dumps([e for e in events if isinstance(e, dict)])):
        assert "weather" in told
        assert "Rome" in told


async def test_a_limit_shortens_a_worked_out_answer_and_not_a_stated_one(provider, client):
    _, short = await post(client, provider, CHAT, max_tokens=2, n=3)
    provider.script = Script(text="a b c", output=50)
    _, over = await post(client, provider, CHAT, max_tokens=2)
    assert [choice["finish_reason"] for choice in short["choices"]] == ["length"] * 3
    assert short["usage"]["completion_tokens"] == 6
    assert over["usage"]["completion_tokens"] == 50


# --- which script plays


async def test_marker_goes_before_queue_before_model_before_script(provider, client):
    provider.script = Script(text="last")
    provider.by_model["m-1"] = Script(text="by model")
    provider.scripts(Script(text="queued"))
    texts = []
    for said in ('please script:{"text":"marked","output":5} thanks', "a", "b"):
        _, answer = await post(client, provider, CHAT, text=said)
        texts.append(answer["choices"][0]["message"]["content"])
    _, other = await post(client, provider, CHAT, model="m-2")
    assert texts == ["marked", "queued", "by model"]
    assert other["choices"][0]["message"]["content"] == "last"
    assert provider.bill[0].usage["output"] == 5


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (Script(cut_after_chunk=9, text="a"), "the stream has 1 chunks"),
        (Script(image_output=1), "openai has no word for image_output"),
        (Script(cut_bytes=10**6), "cut_bytes"),
    ],
)
async def test_a_script_that_cannot_be_played_is_an_error(client, script, why):
    async with ScriptedProvider() as mistaken:
        mistaken.script = script
        status, answer = await post(client, mistaken, CHAT, stream=True)
    assert status == 500
    assert why in answer["error"]["message"]
    assert len(mistaken.mistakes) == 1
    assert mistaken.bill == []


# --- records and transport


async def test_requests_are_recorded_whole(provider, client):
    headers = {"Authorization": "Bearer sk-1", "X-Request-Id": "r-1"}
    async with client.post(provider.url + CHAT, json=asking(CHAT), headers=headers):
        pass
    (seen,) = provider.requests
    assert (seen.order, seen.method, seen.path) == (1, "POST", CHAT)
    assert seen.headers["authorization"] == "Bearer sk-1"
    assert seen.body["messages"][0]["content"] == "tell me more"
    assert provider.bill[0].request_id == "r-1"


async def test_a_wrong_key_is_refused(client):
    async with ScriptedProvider(api_key="right") as strict:
        status, _ = await post(client, strict, CHAT)
        keyed: Mapping[str, str] = {"x-api-key": "right"}
        async with client.post(strict.url + MESSAGES, json=asking(MESSAGES), headers=keyed) as ok:
            assert (status, ok.status) == (401, 200)


async def test_large_bodies_arrive_with_a_length_or_in_chunks(provider, client):
    text = "x" * 5_000_000
    body = json.dumps(asking(CHAT, text=text)).encode()

    async def in_chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 100_000):
            yield body[at : at + 100_000]

    for data in (io.BytesIO(body), in_chunks()):
        async with client.post(provider.url + CHAT, data=data) as answer:
            assert answer.status == 200
    assert [seen.raw == body for seen in provider.requests] == [True, True]


async def test_pipelined_requests_are_answered_in_order(provider):
    port = int(provider.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for text in ("first", "second"):
        body = json.dumps(asking(CHAT, text=text)).encode()
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n" % len(body))
        last = b"connection: close\r\n" if text == "second" else b""
        writer.write(last + b"\r\n" + body)
    both = await reader.read()
    writer.close()
    assert re.findall(rb"You said: (\w+)", both) == [b"first", b"second"]


async def test_without_records_a_constant_answer_is_still_counted(client):
    async with ScriptedProvider(script=THREE, record=False) as quick:
        for _ in range(3):
            await post(client, quick, CHAT)
        events, _ = await stream(client, quick, CHAT, stream_options={"include_usage": True})
        assert events[-2]["usage"]["total_tokens"] == 16
        assert quick.requests == []
        assert quick.bill == []
        assert quick.arrived == 4
        assert quick.totals() == Usage(input=40, output=24)


# --- elsewhere


def _fetch(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=5) as answer:
        return json.loads(answer.read())


def test_a_thread_runs_the_same_provider():
    with ThreadedProvider() as threaded:
        threaded.script = Script(status=503)
        with pytest.raises(urllib.error.HTTPError):
            _fetch(threaded.url + CHAT, asking(CHAT))
        threaded.scripts(Script(text="ok", output=1))
        assert _fetch(threaded.url + CHAT, asking(CHAT))["usage"]["completion_tokens"] == 1
        threaded.until(lambda p: len(p.requests) == 2)
        assert [line.usage["output"] for line in threaded.bill] == [1]


def test_a_process_runs_the_same_provider_and_stops_with_its_stdin():
    command = [sys.executable, "-m", "tests.scripted", "--script", '{"text":"from afar"}']
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        url = json.loads(process.stdout.readline())["url"]
        answer = _fetch(url + CHAT, asking(CHAT))
        assert answer["choices"][0]["message"]["content"] == "from afar"
        _fetch(url + "/_scripted/script", {"output": 9, "text": "new"})
        _fetch(url + CHAT, asking(CHAT))
        assert [line["usage"]["output"] for line in _fetch(url + "/_scripted/bill")] == [2, 9]
        assert _fetch(url + "/_scripted/state")["arrived"] == 2
        process.stdin.close()
        assert process.wait(timeout=5) == 0
