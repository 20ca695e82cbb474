"""Answers that other models and tools had a part in: each at its own price, in the same commit."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest

from gateway.ledger.queries import Range
from gateway.treasury.rerating import Rerating
from tests.gateways import BOOK, RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

QUESTION = [{"role": "user", "content": "Say something."}]
ADVISOR = {"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-4-8"}
"""In the price book at 5 USD a million tokens of input, and 25 of output."""


def advised(model: str = "claude-opus-4-8") -> dict[str, Any]:
    """A usage in which another model was asked for advice between two rounds."""
    advice = {"type": "advisor_message", "model": model, "input_tokens": 80, "output_tokens": 9}
    return {
        "input_tokens": 200,
        "output_tokens": 10,
        "iterations": [
            {"type": "message", "input_tokens": 90, "output_tokens": 6},
            advice,
            {"type": "message", "input_tokens": 110, "output_tokens": 4},
        ],
    }


REFUSED = {"input_tokens": 412, "output_tokens": 0}
OWN_NANOS = 200 * 3_000 + 10 * 15_000
ADVICE_NANOS = 80 * 5_000 + 9 * 25_000


async def ask(gateway: RunningGateway, **more: Any) -> httpx.Response:
    """Ask the job `narrative` at Anthropic's own door."""
    body = {"model": "narrative", "max_tokens": 50, "messages": QUESTION, **more}
    async with httpx.AsyncClient() as http:
        return await http.post(
            f"{gateway.url}/v1/messages", json=body, headers={"x-api-key": gateway.key()}
        )


def told(entries: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What was booked: target, tokens, quality and amount of each entry."""
    names = ("target", "input", "output", "quality", "amount_nanos")
    return [tuple(entry[name] for name in names) for entry in entries]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_advisors_tokens_are_an_entry_at_the_advisors_price(
    stream: bool, provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = Script(text="Two words", wire_usage=advised())
    async with running(routes_for(provider.url), database_url) as gateway:
        answer = await ask(gateway, stream=stream, tools=[ADVISOR])
        entries = gateway.entries(answer.headers["x-jobgate-request-id"])
        spent = gateway.metric(
            "jobgate_spend_nanodollars_total",
            job="narrative",
            target="anthropic/claude-opus-4-8",
            quality="reported",
        )

    assert told(entries) == [
        ("anthropic/claude-test", 200, 10, "reported", OWN_NANOS),
        ("anthropic/claude-opus-4-8", 80, 9, "reported", ADVICE_NANOS),
    ]
    assert [entry["request_count"] for entry in entries] == [1, 0]
    assert [entry["ceiling_nanos"] >= entry["amount_nanos"] for entry in entries] == [True, True]
    assert spent == ADVICE_NANOS
    if not stream:
        cost = answer.headers["x-jobgate-cost-usd"]
        assert float(cost) == pytest.approx((OWN_NANOS + ADVICE_NANOS) / 1e9)


async def test_a_price_that_did_not_change_moves_neither_the_answer_nor_the_advice(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", wire_usage=advised())
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        await ask(gateway, tools=[ADVISOR])
        provider.script = Script(text="", finish="content_filter", wire_usage=REFUSED)
        await ask(gateway)
        made = gateway.gateway
        again = Rerating(made.database, made.settings.org, made.routes, BOOK)
        moves = [move for page in again.moves(Range(0, made.clock.now())) for move in page]

    assert (moves, again.seen, again.unpriced) == ([], 2, {})


async def test_a_chat_that_was_advised_pays_for_the_advice(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", wire_usage=advised())
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        answer = await gateway.client().chat.completions.create(
            model="narrative", messages=QUESTION
        )
        entries = gateway.entries()

    assert [entry["amount_nanos"] for entry in entries] == [OWN_NANOS, ADVICE_NANOS]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (200, 10)


async def test_a_price_that_a_job_has_for_the_advisor_holds(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", wire_usage=advised("claude-wise"))
    jobs = """
  wise:
    purpose: Advice.
    owner: brand
    targets: [anthropic/claude-wise]
    output_tokens: {default: 100, max: 400}"""
    routes = routes_for(provider.url, jobs=jobs).replace(
        "models:\n", "models:\n  anthropic/claude-wise: {price: {input: 7, output: 70}}\n", 1
    )
    async with running(routes, sqlite_url) as gateway:
        await ask(gateway, tools=[{**ADVISOR, "model": "claude-wise"}])
        _own, advice = told(gateway.entries())

    assert advice == ("anthropic/claude-wise", 80, 9, "reported", 80 * 7_000 + 9 * 70_000)


async def test_an_advisor_without_a_price_is_refused_and_nobody_is_asked(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        answer = await ask(gateway, tools=[{**ADVISOR, "model": "claude-unheard-of"}])
        assert gateway.entries() == []

    assert answer.status_code == 402
    assert "claude-unheard-of" in answer.json()["error"]["message"]
    assert provider.requests == []


async def test_an_unknown_model_that_an_answer_names_is_presumed_at_the_dearest_price(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", wire_usage=advised("claude-unheard-of"))
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        await ask(gateway)
        own, other = gateway.entries()

    assert own["amount_nanos"] == OWN_NANOS
    assert (other["target"], other["model_served"]) == (own["target"], "claude-unheard-of")
    assert (other["input"], other["output"], other["quality"]) == (80, 9, "presumed")
    assert other["amount_nanos"] >= ADVICE_NANOS
    assert "nobody has stated" in other["reason"]


async def test_a_ceiling_has_room_for_all_the_advice_that_may_be_taken(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    budgets = "\n  small: {scope: organisation, limit: 0.05 USD, period: month}"
    async with running(routes_for(provider.url, budgets=budgets), sqlite_url) as gateway:
        alone = await ask(gateway)
        once = await ask(gateway, tools=[{**ADVISOR, "max_uses": 1, "max_tokens": 1024}])
        often = await ask(gateway, tools=[{**ADVISOR, "max_uses": 5, "max_tokens": 1024}])

    assert [each.status_code for each in (alone, once, often)] == [200, 200, 402]


async def test_what_goes_beyond_the_ceiling_is_counted_once(
    provider: ScriptedProvider, database_url: str
) -> None:
    usage = advised()
    usage["input_tokens"] = usage["iterations"][1]["input_tokens"] = 1_000_000
    provider.script = Script(text="Two words", wire_usage=usage)
    budgets = "\n  small: {scope: organisation, limit: 100 USD, period: month}"
    async with running(routes_for(provider.url, budgets=budgets), database_url) as gateway:
        await ask(gateway)
        entries = gateway.entries()
        (balance,) = gateway.balances().values()

    together = sum(entry["amount_nanos"] for entry in entries)
    held = sum(entry["ceiling_nanos"] for entry in entries)
    assert balance["spent"] == together
    assert balance["overrun"] == together - held


async def test_a_compaction_is_billed_and_the_caller_sees_its_tokens(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    rounds = [
        {"type": "compaction", "input_tokens": 1800, "output_tokens": 35},
        {"type": "message", "input_tokens": 200, "output_tokens": 10},
    ]
    usage = {"input_tokens": 200, "output_tokens": 10, "iterations": rounds}
    provider.script = Script(text="Two words", wire_usage=usage)
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        client = gateway.client()
        whole = await client.chat.completions.create(model="narrative", messages=QUESTION)
        stream = await client.chat.completions.create(
            model="narrative",
            messages=QUESTION,
            stream=True,
            stream_options={"include_usage": True},
        )
        last = [chunk async for chunk in stream][-1]
        booked = [(entry["input"], entry["output"]) for entry in gateway.entries()]

    assert booked == [(2000, 45), (2000, 45)]
    for told_usage in (whole.usage, last.usage):
        assert told_usage is not None
        assert (told_usage.prompt_tokens, told_usage.completion_tokens) == (2000, 45)


TIERED = "input: 3, output: 15, tiers: [{above: 1000, input: 6, output: 22.5}]"


@pytest.mark.parametrize(
    ("rounds", "amounts"),
    [
        ([(900, 4), (1000, 6)], [1900 * 3_000 + 10 * 15_000]),
        ([(1001, 4), (1002, 6)], [2003 * 6_000 + 10 * 22_500]),
        ([(1001, 4), (900, 6)], [900 * 3_000 + 6 * 15_000, 1001 * 6_000 + 4 * 22_500]),
    ],
    ids=["no round is long", "each round is long", "one round is long"],
)
async def test_a_size_tier_goes_by_the_round_and_not_by_their_sum(
    rounds: list[tuple[int, int]],
    amounts: list[int],
    provider: ScriptedProvider,
    sqlite_url: str,
) -> None:
    usage = {
        "input_tokens": sum(read for read, _ in rounds),
        "output_tokens": sum(written for _, written in rounds),
        "output_tokens_details": {"thinking_tokens": 5},
        "iterations": [
            {"type": "message", "input_tokens": read, "output_tokens": written}
            for read, written in rounds
        ],
    }
    provider.script = Script(text="Two words", wire_usage=usage)
    plain = "input: 3, cache_read: 0.3, cache_write: 3.75, cache_write_1h: 6, output: 15"
    routes = routes_for(provider.url).replace(plain, TIERED)
    async with running(routes, sqlite_url) as gateway:
        await ask(gateway)
        entries = gateway.entries()

    assert [entry["amount_nanos"] for entry in entries] == amounts
    assert sum(entry["reasoning"] for entry in entries) == 5
    assert sum(entry["tokens"] for entry in entries) == sum(map(sum, rounds))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_before_any_output_is_not_billed(
    stream: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="", finish="content_filter", wire_usage=REFUSED)
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        await ask(gateway, stream=stream)
        (entry,) = gateway.entries()

    assert (entry["input"], entry["amount_nanos"], entry["quality"]) == (412, 0, "reported")
    assert "does not bill" in entry["reason"]


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
