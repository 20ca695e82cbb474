"""Tools that an answer used cost what their calls cost: searches, files, containers, pictures."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.gateways import routes_for, running
from tests.scripted import Script, ScriptedProvider
from tests.stories.front_door import QUESTION

pytestmark = pytest.mark.anyio


def response_with(*items: dict[str, Any], **more: Any) -> str:
    """A response with these output items."""
    return json.dumps(
        {
            "id": "resp_1",
            "object": "response",
            "model": "gpt-5",
            "status": "completed",
            "output": list(items),
            "usage": {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110},
            **more,
        }
    )


def with_book_prices(url: str) -> str:
    """Routes in which the job `extraction` has the price book's price of gpt-5."""
    stated = "openai/gpt-test: {price: {input: 2.5, cache_read: 1.25, output: 10}, context"
    routes = routes_for(url).replace(stated, "openai/gpt-5: {context")
    return routes.replace("openai/gpt-test", "openai/gpt-5")


GPT_5 = 100 * 1_250 + 10 * 10_000
SEARCH = {"type": "web_search_call", "action": {"type": "search", "query": "one"}}
OPENED = {"type": "web_search_call", "action": {"type": "open_page", "url": "https://a.example"}}
LOOKED_UP = {"type": "file_search_call", "queries": ["one"]}
CALCULATED = {"type": "code_interpreter_call", "container_id": "cntr_1", "code": "1"}
ONE_SEARCH = {"web_search": {"num_requests": 1}}


@pytest.mark.parametrize(
    ("items", "more", "booked"),
    [
        ([SEARCH, SEARCH], {}, [("openai/gpt-5", 2, GPT_5 + 2 * 10_000_000)]),
        ([SEARCH, OPENED], {}, [("openai/gpt-5", 1, GPT_5 + 10_000_000)]),
        ([SEARCH, SEARCH], {"tool_usage": ONE_SEARCH}, [("openai/gpt-5", 1, GPT_5 + 10_000_000)]),
        (
            [LOOKED_UP, LOOKED_UP],
            {},
            [("openai/gpt-5", 0, GPT_5), ("openai/file_search", 2, 5_000_000)],
        ),
        (
            [CALCULATED, CALCULATED],
            {},
            [("openai/gpt-5", 0, GPT_5), ("openai/code_interpreter", 1, 30_000_000)],
        ),
    ],
    ids=["searches", "opened pages are free", "searches as told", "files", "one container"],
)
async def test_tools_of_a_response_cost_what_their_calls_cost(
    items: list[dict[str, Any]],
    more: dict[str, Any],
    booked: list[tuple[str, int, int]],
    provider: ScriptedProvider,
    sqlite_url: str,
) -> None:
    provider.script = Script(body=response_with(*items, **more))
    async with running(with_book_prices(provider.url), sqlite_url) as gateway:
        await gateway.client().responses.create(
            model="extraction",
            input="Look it up.",
            tools=[
                {"type": "web_search"},
                {"type": "file_search", "vector_store_ids": ["vs_1"]},
                {"type": "code_interpreter", "container": {"type": "auto"}},
            ],
        )
        entries = gateway.entries()

    assert [(e["target"], e["requests"], e["amount_nanos"]) for e in entries] == booked
    assert all(entry["ceiling_nanos"] >= entry["amount_nanos"] for entry in entries)


async def test_a_price_in_routes_yaml_says_all_that_a_target_costs(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(body=response_with(SEARCH, LOOKED_UP))
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        await gateway.client().responses.create(model="extraction", input="Look it up.")
        (entry,) = gateway.entries()

    assert (entry["requests"], entry["amount_nanos"]) == (1, 100 * 2_500 + 10 * 10_000)


async def test_pictures_that_a_response_makes_are_another_models_and_need_a_price(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    made = {
        "input_tokens": 30,
        "input_tokens_details": {"image_tokens": 20, "text_tokens": 10},
        "output_tokens": 1000,
        "output_tokens_details": {"image_tokens": 1000, "text_tokens": 0},
    }
    provider.script = Script(body=response_with(tool_usage={"image_gen": made}))
    jobs = """
  pictures:
    purpose: The price of pictures.
    owner: data
    targets: [openai/gpt-image-1]
    output_tokens: {default: 100, max: 400}"""
    price = "{price: {input: 5, image_input: 10, output: 10, image_output: 40}}"
    priced = routes_for(provider.url, jobs=jobs).replace(
        "models:\n", f"models:\n  openai/gpt-image-1: {price}\n", 1
    )
    wanted: dict[str, Any] = {
        "model": "extraction",
        "input": "Draw.",
        "tools": [{"type": "image_generation"}],
    }
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        with pytest.raises(openai.APIStatusError) as refusal:
            await gateway.client().responses.create(**wanted)
    assert refusal.value.status_code == 402
    assert provider.requests == []
    async with running(priced, sqlite_url + ".second") as gateway:
        await gateway.client().responses.create(**wanted)
        _own, pictures = gateway.entries()

    assert (pictures["input"], pictures["image_input"], pictures["image_output"]) == (10, 20, 1000)
    assert pictures["amount_nanos"] == 10 * 5_000 + 20 * 10_000 + 1000 * 40_000


@pytest.mark.parametrize(
    ("model", "fees"), [("gemini-2.5-flash", 1), ("gemini-3-flash-preview", 2)]
)
async def test_a_grounded_answer_has_a_fee_by_the_answer_or_by_the_search(
    model: str, fees: int, provider: ScriptedProvider, sqlite_url: str
) -> None:
    candidate = {
        "content": {"parts": [{"text": "Found."}]},
        "finishReason": "STOP",
        "groundingMetadata": {"webSearchQueries": ["one", "two"]},
    }
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 2, "totalTokenCount": 12}
    answer = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model}
    provider.script = Script(body=json.dumps(answer))
    routes = routes_for(provider.url).replace(
        "gemini/gemini-test: {price: {input: 0.3,",
        "gemini/gemini-test: {price: {per_call: 0.01, input: 0.3,",
    )
    async with running(routes, sqlite_url) as gateway:
        client = gateway.client()
        await client.chat.completions.create(model="workspace", messages=QUESTION)
        provider.script = Script(body=json.dumps([answer, answer]))
        stream = await client.chat.completions.create(
            model="workspace", messages=QUESTION, stream=True
        )
        assert [chunk async for chunk in stream]
        entries = gateway.entries()

    for entry in entries:
        assert entry["requests"] == fees
        assert entry["amount_nanos"] == 10 * 300 + 2 * 2_500 + fees * 10_000_000
