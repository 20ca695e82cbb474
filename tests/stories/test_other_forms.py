"""Embeddings, Responses and Messages: passed through in their own form, booked like chat."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest

from tests.gateways import RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

ANSWER = Script(text="Two words", input=100, cache_read=40, output=2, reasoning=5)
TOKENS = {"input": 100, "cache_read": 40, "output": 2, "reasoning": 5}
QUESTION = [{"role": "user", "content": "Say something."}]


def used(entry: dict[str, Any]) -> dict[str, int]:
    """The classes of an entry that are not zero."""
    return {name: entry[name] for name in TOKENS if entry[name]}


async def ask_messages(gateway: RunningGateway, key: str, body: dict[str, Any]) -> httpx.Response:
    """Ask as an Anthropic client does: the key in x-api-key."""
    async with httpx.AsyncClient() as http:
        return await http.post(f"{gateway.url}/v1/messages", json=body, headers={"x-api-key": key})


async def test_embeddings_are_booked_without_output(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = Script(input=12)
    async with running(routes_for(provider.url), database_url) as gateway:
        raw = await gateway.client().embeddings.with_raw_response.create(
            model="extraction", input=["one text", "another"], encoding_format="float"
        )
        (entry,) = gateway.entries(raw.headers["x-jobgate-request-id"])

    assert len(raw.parse().data) == 2
    assert provider.requests[-1].path.endswith("/openai/v1/embeddings")
    assert "max_tokens" not in provider.requests[-1].body
    assert (used(entry), entry["amount_nanos"]) == ({"input": 12}, 12 * 2_500)
    assert entry["quality"] == "reported"


async def test_a_charge_that_is_stated_for_embeddings_wins(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    usage = {"prompt_tokens": 12, "total_tokens": 12, "cost": 0.00000031}
    provider.script = Script(input=12, wire_usage=usage)
    routes = routes_for(provider.url).replace("flavour: openai,", "flavour: openrouter,")
    async with running(routes, sqlite_url) as gateway:
        await gateway.client().embeddings.create(model="extraction", input="one text")
        (entry,) = gateway.entries()
    assert (used(entry), entry["amount_nanos"]) == ({"input": 12}, 310)


async def test_a_response_is_booked_with_its_cached_and_reasoning_tokens(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = ANSWER
    async with running(routes_for(provider.url), database_url) as gateway:
        raw = await gateway.client().responses.with_raw_response.create(
            model="extraction", input="Say something.", max_output_tokens=99_999
        )
        (entry,) = gateway.entries(raw.headers["x-jobgate-request-id"])

    assert raw.parse().output_text == "Two words"
    assert "max_output_tokens=99999->4000 (job limit)" in raw.headers["x-jobgate-changed"]
    assert provider.requests[-1].body["max_output_tokens"] == 4000
    assert provider.requests[-1].body["model"] == "gpt-test"
    assert used(entry) == TOKENS
    assert entry["amount_nanos"] == 100 * 2_500 + 40 * 1_250 + 7 * 10_000


async def test_a_streamed_response_is_booked_before_its_last_event_leaves(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = ANSWER
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        stream = await gateway.client().responses.create(
            model="extraction", input="Say something.", stream=True
        )
        request_id = stream.response.headers["x-jobgate-request-id"]
        kinds, booked = [], None
        async for event in stream:
            kinds.append(event.type)
            if event.type == "response.completed":
                booked = gateway.entries(request_id)

    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert booked is not None
    assert used(booked[0]) == TOKENS


async def test_a_search_that_a_response_made_is_a_billed_call(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Found.", input=10, output=2, requests=2)
    routes = routes_for(provider.url).replace(
        "openai/gpt-test: {price: {input: 2.5",
        "openai/gpt-test: {price: {per_call: 0.01, input: 2.5",
    )
    async with running(routes, sqlite_url) as gateway:
        await gateway.client().responses.create(model="extraction", input="Look it up.")
        (entry,) = gateway.entries()

    assert entry["requests"] == 2
    assert entry["amount_nanos"] == 10 * 2_500 + 2 * 10_000 + 2 * 10_000_000


async def test_a_background_response_is_refused_because_it_could_not_be_booked(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        with pytest.raises(openai.BadRequestError) as refusal:
            await gateway.client().responses.create(
                model="extraction", input="Later.", background=True
            )
    assert refusal.value.param == "background"
    assert provider.requests == []


async def test_what_a_response_only_names_is_bounded_by_the_whole_context(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    budgets = "\n  small: {scope: organisation, limit: 0.30 USD, period: month}"
    async with running(routes_for(provider.url, budgets=budgets), sqlite_url) as gateway:
        client = gateway.client()
        await client.responses.create(model="extraction", input="Short.")
        with pytest.raises(openai.APIStatusError) as refusal:  # 128,000 tokens are $0.32
            await client.responses.create(
                model="extraction", input="Short.", previous_response_id="resp_1"
            )
    assert refusal.value.status_code == 402


async def test_a_message_is_passed_through_with_its_cache_classes(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = Script(
        text="Two words", input=100, cache_read=40, cache_write=10, cache_write_1h=20, output=2
    )
    body = {"model": "narrative", "max_tokens": 50, "messages": QUESTION}
    async with running(routes_for(provider.url), database_url) as gateway:
        answer = await ask_messages(gateway, gateway.key(), body)
        (entry,) = gateway.entries(answer.headers["x-jobgate-request-id"])

    assert answer.json()["content"][0]["text"] == "Two words"
    assert provider.requests[-1].body["model"] == "claude-test"
    assert (entry["cache_write"], entry["cache_write_1h"]) == (10, 20)
    assert entry["amount_nanos"] == (100 * 3_000 + 40 * 300 + 10 * 3_750 + 20 * 6_000 + 2 * 15_000)


async def test_a_streamed_message_ends_with_its_own_last_event_after_the_entry(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", input=100, output=2)
    body = {"model": "narrative", "max_tokens": 50, "stream": True, "messages": QUESTION}
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        answer = await ask_messages(gateway, gateway.key(), body)
        (entry,) = gateway.entries(answer.headers["x-jobgate-request-id"])

    events = [line[7:] for line in answer.text.splitlines() if line.startswith("event: ")]
    assert events[0] == "message_start"
    assert events[-1] == "message_stop"
    assert (entry["input"], entry["output"], entry["quality"]) == (100, 2, "reported")


@pytest.mark.parametrize("cut", [0, 1])
async def test_a_cut_message_ends_with_an_error_event_and_is_counted(
    cut: int, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", input=100, output=2, cut_after_chunk=cut)
    body = {"model": "narrative", "max_tokens": 50, "stream": True, "messages": QUESTION}
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        answer = await ask_messages(gateway, gateway.key(), body)
        (entry,) = gateway.entries()

    last = answer.text.strip().split("\n\n")[-1]
    assert last.startswith("event: error\ndata: ")
    assert json.loads(last.partition("data: ")[2])["error"]["type"] == "api_error"
    assert (entry["input"], entry["quality"]) == (100, "counted")


async def test_errors_of_the_messages_door_look_like_anthropics(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        body = {"model": "narrative", "max_tokens": 50, "messages": []}
        empty = await ask_messages(gateway, gateway.key(), body)
        nobody = await ask_messages(gateway, "jg_wrong", body)

    assert (empty.status_code, nobody.status_code) == (400, 401)
    assert empty.json()["type"] == "error"
    assert empty.json()["error"]["type"] == "invalid_request_error"
    assert nobody.json()["error"]["type"] == "authentication_error"


async def test_a_job_whose_targets_do_not_speak_the_form_names_the_jobs_that_do(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        client = gateway.client(gateway.key(jobs=("extraction", "narrative")))
        with pytest.raises(openai.BadRequestError) as refusal:
            await client.responses.create(model="narrative", input="Hello.")
    assert "jobs of this key that do: extraction" in refusal.value.message
    assert provider.requests == []


async def test_the_jobs_own_words_come_first_in_every_form(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    routes = routes_for(provider.url, system="Be brief.")
    async with running(routes, sqlite_url) as gateway:
        await gateway.client().responses.create(
            model="extraction", input="Hello.", instructions="Be kind."
        )
        body = {"model": "narrative", "max_tokens": 9, "messages": QUESTION, "system": "Be kind."}
        await ask_messages(gateway, gateway.key(), body)

    response, message = (request.body for request in provider.requests)
    assert response["instructions"] == "Be brief.\n\nBe kind."
    assert message["system"] == "Be brief.\n\nBe kind."
