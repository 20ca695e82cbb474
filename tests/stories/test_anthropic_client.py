"""Anthropic's own client, pointed at the gateway: what it asks is answered, told and booked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anthropic
import pytest
from anthropic.types import MessageParam, ToolParam

from tests.gateways import RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

HELLO: list[MessageParam] = [{"role": "user", "content": "Say something."}]
WEATHER: ToolParam = {"name": "weather", "input_schema": {"type": "object", "properties": {}}}
ANSWER = Script(text="Two words", input=100, cache_read=40, cache_write=8, output=2)
NANOS = 100 * 3_000 + 40 * 300 + 8 * 3_750 + 2 * 15_000


@asynccontextmanager
async def client(gateway: RunningGateway, **key: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """It does not try again by itself, so that each refusal is seen."""
    made = anthropic.AsyncAnthropic(base_url=gateway.url, max_retries=0, **key)
    async with made:
        yield made


@pytest.mark.parametrize("where", ["api_key", "auth_token"])
async def test_a_message_is_answered_and_booked_by_either_way_to_give_the_key(
    where: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = ANSWER
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        async with client(gateway, **{where: gateway.key()}) as asking:
            raw = await asking.messages.with_raw_response.create(
                model="narrative", max_tokens=50, messages=HELLO, tools=[WEATHER]
            )
        (entry,) = gateway.entries(raw.headers["x-jobgate-request-id"])
    answer = await raw.parse()
    assert [block.text for block in answer.content if block.type == "text"] == ["Two words"]
    assert answer.usage.cache_read_input_tokens == 40
    assert entry["amount_nanos"] == NANOS
    assert raw.headers["x-jobgate-cost-usd"] == "0.000372000"


async def test_a_stream_of_it_is_read_to_its_end_and_booked(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = ANSWER
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        async with (
            client(gateway, api_key=gateway.key()) as asking,
            asking.messages.stream(model="narrative", max_tokens=50, messages=HELLO) as stream,
        ):
            text = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()
        (entry,) = gateway.entries()
    assert text == "Two words"
    assert (final.usage.output_tokens, final.stop_reason) == (2, "end_turn")
    assert entry["amount_nanos"] == NANOS


async def test_a_cut_stream_is_an_error_to_it_and_not_a_short_answer(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", input=100, output=2, cut_after_chunk=2)
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        async with (
            client(gateway, api_key=gateway.key()) as asking,
            asking.messages.stream(model="narrative", max_tokens=50, messages=HELLO) as stream,
        ):
            with pytest.raises(anthropic.APIError):
                await stream.until_done()
        (entry,) = gateway.entries()
    assert entry["outcome"] == "provider_cut"


async def test_what_is_refused_is_its_own_kind_of_error(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        async with client(gateway, api_key=gateway.key()) as asking:
            with pytest.raises(anthropic.NotFoundError, match="there is no job 'nosuch'"):
                await asking.messages.create(model="nosuch", max_tokens=5, messages=HELLO)
            with pytest.raises(anthropic.BadRequestError, match="at least one item"):
                await asking.messages.create(model="narrative", max_tokens=5, messages=[])
        async with client(gateway, api_key="jg_wrong") as stranger:
            with pytest.raises(anthropic.AuthenticationError, match="not known here"):
                await stranger.messages.create(model="narrative", max_tokens=5, messages=HELLO)
        assert gateway.entries() == []
    assert provider.requests == []
