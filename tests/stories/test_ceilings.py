"""What is held is never less than what a request may cost, however the request is written."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.endings.callers import calling
from tests.gateways import RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

TEXT_ONLY = "price: {input: 2.5, cache_read: 1.25, output: 10}"
DEAR = """price: {input: 2.5, cache_read: 1.25, cache_write: 3, cache_write_1h: 20, output: 10,
    audio_input: 40, audio_output: 80, image_input: 30, image_output: 60, per_call: 0.01}"""
PIXEL = "iVBORw0KGgo="

PARTS: dict[str, dict[str, Any]] = {
    "audio": {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
    "an image": {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    "a prompt cached for an hour": {
        "type": "text",
        "text": "Hi",
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
    },
    "a file": {"type": "file", "file": {"file_id": "file-1"}},
}


def body(part: dict[str, Any], **more: Any) -> str:
    said = {"role": "user", "content": [part]}
    return json.dumps({"model": "extraction", "messages": [said], "max_tokens": 10, **more})


def escaped(text: str) -> bytes:
    """The same JSON, every letter within its strings written as an escape."""
    pieces, inside = [], False
    for char in text:
        inside ^= char == '"'
        pieces.append(f"\\u{ord(char):04x}" if (inside and char.isalnum()) or char == "_" else char)
    return "".join(pieces).encode()


async def held(gateway: RunningGateway, text: bytes, path: str = "chat/completions") -> int:
    """Nano-dollars that are held for a request."""
    async with calling(gateway) as caller:
        headers = {"authorization": f"Bearer {caller._key}"}
        url = f"{gateway.url}/v1/{path}"
        async with caller._session.post(url, data=text, headers=headers) as answer:
            told = await answer.text()
            assert answer.status == 200, told
            (entry,) = gateway.entries(answer.headers["x-jobgate-request-id"])
    return int(entry["ceiling_nanos"])


@pytest.mark.parametrize("what", PARTS)
async def test_what_is_dearer_than_text_is_found_however_it_is_escaped(
    what: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Well", input=10, output=1)
    routes = routes_for(provider.url).replace(TEXT_ONLY, DEAR)
    async with running(routes, sqlite_url) as gateway:
        plain = await held(gateway, body(PARTS[what]).encode())
        hidden = await held(gateway, escaped(body(PARTS[what])))
        text = await held(gateway, body({"type": "text", "text": "x" * 100}).encode())
    assert text < plain <= hidden


async def test_a_search_is_found_however_its_tool_is_escaped(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Well", input=10, output=1)
    question = {"type": "text", "text": "Hi"}
    tools = [{"type": "function", "function": {"name": "web_search", "parameters": {}}}]
    routes = routes_for(provider.url).replace(TEXT_ONLY, DEAR)
    async with running(routes, sqlite_url) as gateway:
        plain = await held(gateway, body(question, tools=tools).encode())
        hidden = await held(gateway, escaped(body(question, tools=tools)))
    assert 10 * 10_000_000 < plain <= hidden


async def test_an_image_sent_along_to_messages_is_held_for_and_what_is_counted_fits(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    """Few bytes may be many tokens; and a stream that breaks is booked by our own count."""
    provider.script = Script(chunks=("a", "b"), cut_after_chunk=1, input=4_000)
    image = {"type": "image", "source": {"type": "base64", "media_type": "i", "data": PIXEL}}
    question = [{"role": "user", "content": [image] * 3}]
    asked = {"model": "narrative", "messages": question, "max_tokens": 10, "stream": True}
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        ceiling = await held(gateway, json.dumps(asked).encode(), "messages")
        (entry,) = gateway.entries()
    assert entry["quality"] == "counted"
    assert ceiling >= 3 * 4_800 * 3_000, "Anthropic bills about 4,800 tokens for an image at most"
    assert entry["amount_nanos"] <= ceiling


async def test_a_file_of_unknown_length_is_refused_where_nothing_bounds_it(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with running(routes_for(provider.url), sqlite_url) as gateway, calling(gateway) as caller:
        part = {"type": "file", "file": {"file_data": "data:application/pdf;base64,QQ=="}}
        question = [{"role": "user", "content": [part]}]
        heard = await caller.ask("volume", messages=question)
        assert gateway.entries() == []
    assert (heard.status, heard.error["param"]) == (400, "messages")
    assert "context window" in heard.error["message"]


async def test_fast_mode_is_held_at_its_own_price_and_billed_at_it(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    """Anthropic names it `speed`, in the request and in the usage; it costs six times as much."""
    usage = {"input_tokens": 10, "output_tokens": 10, "speed": "fast"}
    provider.script = Script(text="Well", input=10, output=10, wire_usage=usage)
    plain = "price: {input: 3, cache_read: 0.3, cache_write: 3.75, cache_write_1h: 6, output: 15}"
    fast = "service_tiers: {fast: {input: 18, output: 90}}"
    routes = routes_for(provider.url).replace(plain, f"{plain[:-1]}, {fast}}}")
    asked = {"model": "narrative", "max_tokens": 10, "messages": [{"role": "user", "content": "A"}]}
    async with running(routes, sqlite_url) as gateway:
        slow = await held(gateway, json.dumps(asked).encode(), "messages")
        most = await held(gateway, json.dumps(asked | {"speed": "fast"}).encode(), "messages")
        amounts = {entry["amount_nanos"] for entry in gateway.entries()}
    assert amounts == {10 * 18_000 + 10 * 90_000}
    assert most >= 10 * 18_000 + 10 * 90_000 > slow


async def test_answers_made_in_the_united_states_alone_are_held_and_billed_dearer(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    usage = {"input_tokens": 1000, "output_tokens": 10, "service_tier": "standard"}
    usage |= {"inference_geo": "us"}
    provider.script = Script(text="Well", input=1000, output=10, wire_usage=usage)
    routes = routes_for(provider.url).replace("anthropic/claude-test", "anthropic/claude-opus-4-6")
    routes = re.sub(r"\n  anthropic/claude-opus-4-6: .*", "", routes)
    asked = {"model": "narrative", "max_tokens": 10, "messages": [{"role": "user", "content": "A"}]}
    async with running(routes, sqlite_url) as gateway:
        plain = await held(gateway, json.dumps(asked).encode(), "messages")
        there = await held(
            gateway, json.dumps(asked | {"inference_geo": "us"}).encode(), "messages"
        )
        amounts = {entry["amount_nanos"] for entry in gateway.entries()}
    assert amounts == {(1000 * 5_000 + 10 * 25_000) * 11 // 10}, "5 and 25 USD, and a tenth more"
    assert there > plain
