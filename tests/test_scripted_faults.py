"""The scripted provider fails, breaks and waits as it is told, and bills what it generated."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from tests.scripted import Script
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


# --- faults


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES, GEMINI])
async def test_refusals_come_in_the_providers_words_and_cost_nothing(provider, client, path):
    provider.script = Script(status=429, error="slow down", retry_after=7)
    async with client.post(provider.url + path, json=asking(path)) as answer:
        told = await answer.json()
        header = answer.headers.get("retry-after")
    assert answer.status == 429
    assert told["error"]["message"] == "slow down"
    in_body = told["error"].get("details", [{}])[0].get("retryDelay")
    assert (header, in_body) == ((None, "7s") if path == GEMINI else ("7", None))
    assert provider.bill == []


async def test_the_first_requests_fail_and_the_next_do_not(provider, client):
    provider.script = Script(fail_first=2, fail_status=529)
    assert [(await post(client, provider, CHAT))[0] for _ in range(3)] == [529, 529, 200]


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES, GEMINI_STREAM])
@pytest.mark.parametrize("mode", ["reset", "eof", "end"])
@pytest.mark.parametrize("after", [0, 1, 3])
async def test_a_cut_stream_is_billed_for_what_was_generated(provider, client, path, mode, after):
    provider.script = Script(
        chunks=THREE.chunks, input=10, output=6, cut_after_chunk=after, cut_mode=mode
    )
    events, broke = await stream(client, provider, path)
    text = json.dumps([event for event in events if isinstance(event, dict)])
    assert ("one" in text, "two" in text, "three" in text) == (after > 0, after > 1, after > 2)
    assert (broke is None) == (mode == "end")
    (line,) = provider.bill
    assert not line.complete
    assert not line.usage_told
    assert line.usage["input"] == 10
    assert line.generated_output_tokens == line.usage["output"] == 2 * after


async def test_a_broken_stream_may_cost_more_than_was_sent(provider, client):
    provider.script = Script(
        chunks=THREE.chunks, input=1, output=6, cut_after_chunk=1, generated_ahead=3
    )
    await stream(client, provider, CHAT)
    assert provider.bill[0].generated_output_tokens == 5


async def test_a_cut_after_everything_but_the_end_marker_has_told_its_usage(provider, client):
    provider.script = Script(text="a b", cut_after_chunk=-1)
    events, broke = await stream(client, provider, CHAT, stream_options={"include_usage": True})
    assert broke is not None
    assert events[-1]["choices"] == []
    assert provider.bill[0].usage_told
    assert not provider.bill[0].complete


@pytest.mark.parametrize("mode", ["reset", "eof"])
async def test_a_plain_body_can_be_cut(provider, client, mode):
    provider.script = Script(text="a b", cut_bytes=20, cut_mode=mode)
    with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
        await post(client, provider, CHAT)
    assert provider.bill[0].usage["output"] == 2
    assert not provider.bill[0].complete


async def test_hanging_up_costs_nothing(provider, client):
    provider.script = Script(hang_up=True, cut_mode="eof")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await post(client, provider, CHAT)
    assert len(provider.requests) == 1
    assert provider.bill == []


async def test_garbage_truncation_and_error_events(provider, client):
    provider.script = Script(text="a b", garbage_after=1)
    events, broke = await stream(client, provider, CHAT)
    assert broke is None
    assert b"{<not json>" in events
    assert events[-1] == b"[DONE]"
    provider.script = Script(text="a b", error_event_after=1, error="overloaded")
    events, broke = await stream(client, provider, MESSAGES)
    assert broke is None
    assert events[-1]["error"]["message"] == "overloaded"
    provider.script = Script(truncate_json=True)
    with pytest.raises(json.JSONDecodeError):
        await post(client, provider, CHAT)
    assert [line.complete for line in provider.bill] == [True, False, False]


async def test_usage_can_be_left_out_repeated_forged_or_sent_in_every_chunk(provider, client):
    wanted = {"stream_options": {"include_usage": True}}
    provider.script = Script(text="a b", omit_usage=True)
    silent, _ = await stream(client, provider, CHAT, **wanted)
    provider.script = Script(text="a b", duplicate_usage=True)
    twice, _ = await stream(client, provider, CHAT, **wanted)
    provider.script = Script(text="a b", usage_in_every_chunk=True)
    every, _ = await stream(client, provider, CHAT, **wanted)
    provider.script = Script(text="a b", output=2, wire_usage={"prompt_tokens": 0})
    _, forged = await post(client, provider, CHAT)
    assert not any(chunk.get("usage") for chunk in silent[:-1])
    assert twice[-3] == twice[-2]
    assert twice[-2]["choices"] == []
    assert [chunk["usage"]["completion_tokens"] for chunk in every[:-1]] == [0, 1, 2, 2, 2]
    assert forged["usage"] == {"prompt_tokens": 0}
    assert provider.bill[-1].usage["output"] == 2


async def test_no_done_and_gzip(provider, client):
    provider.script = Script(text="a b", no_done=True, gzip=True)
    events, broke = await stream(client, provider, CHAT)
    assert broke is None
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    _, plain = await post(client, provider, CHAT)
    assert plain["choices"][0]["message"]["content"] == "a b"


# --- waiting


async def test_a_stalled_stream_goes_on_when_told(provider, client):
    provider.script = Script(text="a b c", stall_before_chunk=2)
    reading = asyncio.create_task(stream(client, provider, CHAT))
    await provider.until(lambda p: p.stalled == 1)
    assert provider.requests[0].chunks_sent == 2
    assert provider.bill == []
    provider.resume()
    events, broke = await reading
    assert broke is None
    assert events[-1] == b"[DONE]"
    assert provider.bill[0].complete


async def test_a_client_that_leaves_is_noticed_and_billed(provider, client):
    provider.script = Script(chunks=THREE.chunks, input=1, output=6, stall_before_chunk=1)
    async with client.post(provider.url + CHAT, json=asking(CHAT, stream=True)) as answer:
        await answer.content.readany()
        answer.close()
    await provider.until(lambda p: p.requests[0].client_gone)
    assert provider.bill[0].generated_output_tokens == 2
    assert not provider.bill[0].complete
    assert provider.open == 0
    assert provider.stalled == 0


async def test_hold_keeps_requests_open_until_release(provider, client):
    provider.hold()
    asked = [asyncio.create_task(post(client, provider, CHAT)) for _ in range(5)]
    await provider.until(lambda p: p.open == 5)
    assert provider.bill == []
    provider.release()
    assert [status for status, _ in await asyncio.gather(*asked)] == [200] * 5
    assert len(provider.bill) == 5


async def test_who_leaves_while_held_costs_nothing(provider, client):
    provider.hold()
    asked = asyncio.create_task(post(client, provider, CHAT))
    await provider.until(lambda p: p.open == 1)
    asked.cancel()
    await provider.until(lambda p: p.requests[0].client_gone)
    assert provider.bill == []
    assert provider.open == 0


async def test_who_leaves_in_the_moment_of_asking_leaves_nothing_open(provider):
    _, writer = await asyncio.open_connection("127.0.0.1", int(provider.url.rsplit(":", 1)[1]))
    while not provider._connections:
        await asyncio.sleep(0)
    (connection,) = provider._connections
    provider.script = Script(first_byte_delay=60)
    body = json.dumps(asking(CHAT)).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body)
    connection.data_received(head + body)
    assert provider.open == 1
    connection.connection_lost(None)
    await provider.until(lambda p: p.open == 0)
    writer.close()


async def test_until_gives_up(provider):
    with pytest.raises(TimeoutError):
        await provider.until(lambda p: p.arrived == 1, timeout=0.01)


async def test_delays_are_kept(provider, client):
    provider.script = Script(text="a b c", first_byte_delay=0.02, delay_between_chunks=0.01)
    before = asyncio.get_running_loop().time()
    events, _ = await stream(client, provider, CHAT)
    assert asyncio.get_running_loop().time() - before >= 0.04
    assert events[-1] == b"[DONE]"
