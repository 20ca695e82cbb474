"""Streams, told by their traps: the numbers are those of the list in ACCOUNTING.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from gateway.pipeline.endings import IN_FLIGHT_TOKENS
from tests.endings.bills import check_entry, money, said, settled
from tests.gateways import RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

JOBS = ("extraction", "narrative", "workspace", "private", "volume")
QUESTION = [{"role": "user", "content": "Say something."}]
CHUNKS = ("one", " two", " three")
USAGE_PLACES = {
    "in a chunk of its own": Script(chunks=CHUNKS, usage_place="own"),
    "on the chunk that finishes": Script(chunks=CHUNKS, usage_place="finish"),
    "under x_groq": Script(chunks=CHUNKS, usage_place="x_groq"),
    "on every chunk": Script(chunks=CHUNKS, usage_in_every_chunk=True),
    "twice": Script(chunks=CHUNKS, duplicate_usage=True),
    "unasked": Script(chunks=CHUNKS, usage_unasked=True),
}
NOT_ASKED: Mapping[str, Any] = {
    "nothing said": {},
    "include_usage false": {"stream_options": {"include_usage": False}},
    "no options": {"stream_options": None},
}
ASKED = {"stream_options": {"include_usage": True}}


async def hear(gateway: RunningGateway, job: str, **more: Any) -> list[ChatCompletionChunk]:
    stream = await gateway.client().chat.completions.create(
        model=job, messages=QUESTION, stream=True, **more
    )
    return [chunk async for chunk in stream]


def text(chunks: list[ChatCompletionChunk]) -> str:
    """What an ordinary client makes of it: it takes the first choice of every chunk."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


@pytest.mark.parametrize("asking", NOT_ASKED)
async def test_23_24_who_did_not_ask_for_usage_sees_none_and_every_chunk_has_a_choice(
    asking: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(chunks=CHUNKS)
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        for job in JOBS:
            chunks = await hear(gateway, job, **NOT_ASKED[asking])
            assert text(chunks) == "one two three"
            assert {chunk.usage for chunk in chunks} == {None}
            assert chunks[-1].choices[0].finish_reason == "stop"
        for entry in gateway.entries():
            assert said(entry) == ("ok", "reported")
        assert sum(entry["amount_nanos"] for entry in gateway.entries()) == money(provider.bill)


@pytest.mark.parametrize("asked", [False, True])
async def test_25_wherever_a_provider_puts_usage_it_arrives_once_and_alone_for_who_asked(
    asked: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        for place, provider.script in USAGE_PLACES.items():
            chunks = await hear(gateway, "extraction", **(ASKED if asked else {}))
            said_so_far = chunks[:-1] if asked else chunks
            assert text(said_so_far) == "one two three", place
            assert said_so_far[-1].choices[0].finish_reason == "stop", place
            assert {chunk.usage for chunk in said_so_far} == {None}, place
            if asked:
                assert chunks[-1].choices == [], place
                assert chunks[-1].usage is not None, place
                assert chunks[-1].usage.completion_tokens == 3, place
        entries = gateway.entries()
    assert {said(entry) for entry in entries} == {("ok", "reported")}
    assert sum(entry["amount_nanos"] for entry in entries) == money(provider.bill)


async def test_26_usage_of_null_is_unknown_and_not_zero(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    choice = '{"index": 0, "message": {"role": "assistant", "content": "one two three"}}'
    plain = Script(chunks=CHUNKS, body=f'{{"choices": [{choice}], "usage": null}}')
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        provider.script = plain
        await gateway.client().chat.completions.create(model="extraction", messages=QUESTION)
        provider.script = Script(chunks=CHUNKS, cut_after_chunk=2)  # each chunk says usage: null
        with pytest.raises(openai.APIError):
            await hear(gateway, "extraction", **ASKED)
        whole, cut = gateway.entries()
    for entry, line in zip((whole, cut), provider.bill, strict=True):
        assert entry["quality"] == "counted"
        assert entry["amount_nanos"] > 0
        check_entry(entry, money([line]))
    assert (whole["output"], cut["output"]) == (3, 2 + IN_FLIGHT_TOKENS)


@pytest.mark.parametrize("how", ["reset", "eof"])
async def test_27_a_reset_after_bytes_went_out_is_told_and_never_tried_again_in_secret(
    how: str, provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = Script(chunks=CHUNKS, cut_after_chunk=2, cut_mode=how)
    async with running(routes_for(provider.url), database_url) as gateway:
        stream = await gateway.client(max_retries=2).chat.completions.create(
            model="with-fallback", messages=QUESTION, stream=True
        )
        heard: list[ChatCompletionChunk] = []
        with pytest.raises(openai.APIError, match="broke off"):
            await keep(stream, heard)
        (entry,) = gateway.entries()
        check_entry(entry, money(provider.bill))
    assert text(heard) == "one two"
    assert provider.arrived == 1
    assert said(entry) == ("provider_cut", "counted")
    assert entry["output"] == 2 + IN_FLIGHT_TOKENS, "what was on its way is lost, and billed"


async def keep(
    stream: openai.AsyncStream[ChatCompletionChunk], heard: list[ChatCompletionChunk]
) -> None:
    async for chunk in stream:
        heard.append(chunk)


@pytest.mark.parametrize(("policy", "quality"), [("drain", "reported"), ("cancel", "counted")])
async def test_28_a_caller_gone_after_some_events_pays_the_whole_or_what_may_have_been_made(
    policy: str, quality: str, provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = Script(chunks=CHUNKS, stall_before_chunk=2)
    routes = routes_for(provider.url, on_disconnect=policy)
    async with running(routes, database_url) as gateway:
        stream = await gateway.client().chat.completions.create(
            model="extraction", messages=QUESTION, stream=True
        )
        heard = [await anext(stream) for _ in range(3)]
        await stream.close()
        if policy == "cancel":
            await provider.until(lambda p: p.requests[0].client_gone)
        await gateway.client().models.list()  # by then the gateway has seen the caller go
        provider.resume()
        (entry,) = await settled(gateway, 1)
        check_entry(entry, money(provider.bill))
    assert text(heard) == "one two"
    assert said(entry) == ("caller_left", quality)
    assert entry["output"] == (3 if policy == "drain" else 2 + IN_FLIGHT_TOKENS)
