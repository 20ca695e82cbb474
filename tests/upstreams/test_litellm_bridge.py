"""Providers that LiteLLM speaks for: the same answers, the same errors, the same bill.

The scripted provider speaks four native formats; what it charges is compared with the books.
"""

from __future__ import annotations

from typing import Any

import openai
import pytest

from gateway.metering.usage import TOKEN_CLASSES
from tests.gateways import SECRETS, running
from tests.scripted import Script, ScriptedProvider
from tests.upstreams.bridged import MARKS, QUESTION, ask, both_ways, each_job, routes

pytestmark = MARKS

USED = {
    "anthropic": {
        "input": 100,
        "cache_read": 2000,
        "cache_write": 300,
        "cache_write_1h": 50,
        "output": 7,
        "reasoning": 3,
    },
    "gemini": {"input": 100, "cache_read": 2000, "output": 7, "reasoning": 3},
    "mistral": {"input": 100, "cache_read": 2000, "output": 7},
    "openai": {"input": 100, "cache_read": 2000, "output": 7, "reasoning": 3},
}
COST = {
    "anthropic": 100 * 3_000 + 2000 * 300 + 300 * 3_750 + 50 * 6_000 + 10 * 15_000,
    "gemini": 100 * 300 + 2000 * 30 + 10 * 2_500,
    "mistral": 100 * 100 + 2000 * 50 + 7 * 300,
    "openai": 100 * 2_500 + 2000 * 1_250 + 10 * 10_000,
}
"""What each usage costs in nano-dollars; reasoning is output unless a price says otherwise."""


@both_ways
@each_job
async def test_every_class_of_usage_is_booked_once_and_at_its_own_price(
    job: str, stream: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", **USED[job])
    async with running(routes(provider.url), sqlite_url) as gateway:
        text, _raw = await ask(gateway, job, stream=stream)
        (entry,) = gateway.entries()

    assert text == "Two words"
    assert {name: entry[name] for name in TOKEN_CLASSES if entry[name]} == USED[job]
    assert entry["amount_nanos"] == COST[job]
    assert (entry["quality"], entry["outcome"]) == ("reported", "ok")
    (line,) = provider.bill
    assert {name: entry[name] for name in TOKEN_CLASSES} | {"requests": 0} == line.usage


@each_job
async def test_who_asks_for_usage_gets_one_last_chunk_with_it_and_who_does_not_sees_none(
    job: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", input=100, output=2)
    async with running(routes(provider.url), sqlite_url) as gateway:
        completions = gateway.client().chat.completions
        silent = await completions.create(model=job, messages=QUESTION, stream=True)
        without = [chunk async for chunk in silent]
        asking = await completions.create(
            model=job, messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
        told = [chunk async for chunk in asking]

    assert [chunk.usage for chunk in without] == [None] * len(without)
    assert without[-1].choices[0].finish_reason == "stop"
    assert [chunk for chunk in told if chunk.usage] == told[-1:]
    assert told[-1].choices == []
    assert (told[-1].usage.prompt_tokens, told[-1].usage.completion_tokens) == (100, 2)


async def test_searches_are_booked_as_requests(provider: ScriptedProvider, sqlite_url: str) -> None:
    provider.script = Script(text="Found", input=10, output=1, requests=2)
    async with running(routes(provider.url), sqlite_url) as gateway:
        await ask(gateway, "anthropic")
        (entry,) = gateway.entries()

    assert entry["requests"] == 2


@both_ways
@each_job
async def test_usage_that_the_provider_did_not_tell_is_counted_and_not_what_litellm_makes_up(
    job: str, stream: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", input=100, output=2, omit_usage=True)
    async with running(routes(provider.url), sqlite_url) as gateway:
        if not stream and job in ("anthropic", "gemini"):
            with pytest.raises(openai.InternalServerError, match="cannot be read"):
                await ask(gateway, job)  # LiteLLM insists on a usage in these formats
            assert gateway.entries()[0]["quality"] == "presumed"
            return
        await ask(gateway, job, stream=stream)
        (entry,) = gateway.entries()

    assert (entry["quality"], entry["outcome"]) == ("counted", "ok")
    assert entry["output"] == 2
    assert entry["input"] > 0


CALL = Script(tool_calls=(("weather", '{"town":"Bern"}'),), input=50, output=9)
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
    },
}


@both_ways
@each_job
async def test_a_tool_call_arrives_whole(
    job: str, stream: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = CALL
    async with running(routes(provider.url), sqlite_url) as gateway:
        completions = gateway.client().chat.completions
        asked: dict[str, Any] = {"model": job, "messages": QUESTION, "tools": [WEATHER]}
        if stream:
            chunks = [c async for c in await completions.create(**asked, stream=True)]
            deltas = [c.choices[0].delta for c in chunks]
            calls = [call.function for delta in deltas for call in delta.tool_calls or ()]
            finish = chunks[-1].choices[0].finish_reason
        else:
            choice = (await completions.create(**asked)).choices[0]
            calls, finish = [call.function for call in choice.message.tool_calls], None
            finish = choice.finish_reason
        (entry,) = gateway.entries()

    assert [call.name for call in calls if call.name] == ["weather"]
    assert "".join(call.arguments or "" for call in calls).replace(" ", "") == '{"town":"Bern"}'
    assert finish == "tool_calls"
    assert (entry["input"], entry["output"]) == (50, 9)


@each_job
async def test_the_proxies_of_the_environment_are_not_used(
    job: str, provider: ScriptedProvider, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.script = Script(text="Two words", input=10, output=2)
    async with running(routes(provider.url), sqlite_url) as gateway:
        client = gateway.client()
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        answer = await client.chat.completions.create(model=job, messages=QUESTION)

    assert answer.choices[0].message.content == "Two words"


@each_job
async def test_fields_that_litellm_would_obey_are_dropped_and_said_to_be(
    job: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Paid for", input=10, output=2)
    tricks = {
        "api_base": "http://127.0.0.1:1",
        "base_url": "http://127.0.0.1:1",
        "api_key": "stolen",
        "mock_response": "for nothing",
        "fallbacks": ["ollama/llama3"],
        "num_retries": 5,
        "extra_headers": {"x-evil": "yes"},
        "custom_llm_provider": "ollama",
    }
    async with running(routes(provider.url), sqlite_url) as gateway:
        text, raw = await ask(gateway, job, extra_body=tricks)

    assert text == "Paid for"
    (seen,) = provider.requests
    assert "x-evil" not in seen.headers
    assert b"stolen" not in seen.raw
    for name in tricks:
        assert f"{name} dropped" in raw.headers["x-jobgate-changed"]


@each_job
async def test_the_key_and_the_headers_of_the_provider_go_out(
    job: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", input=10, output=2)
    async with running(routes(provider.url), sqlite_url) as gateway:
        await ask(gateway, job)

    (seen,) = provider.requests
    assert any(SECRETS[f"{job.upper()}_API_KEY"] in value for value in seen.headers.values())
    assert seen.headers["x-team"] == "brand"


@each_job
async def test_an_image_by_address_is_refused_because_litellm_would_fetch_it(
    job: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    picture = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}}
    async with running(routes(provider.url), sqlite_url) as gateway:
        with pytest.raises(openai.BadRequestError) as refused:
            await ask(gateway, job, messages=[{"role": "user", "content": [picture]}])

    assert "messages[0].content[0]" in refused.value.message
    assert provider.requests == []
