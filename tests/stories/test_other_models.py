"""Answers that other models had a part in: each at its own price, in the same commit."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from gateway.ledger.queries import Range
from gateway.treasury.rerating import Rerating
from tests.gateways import BOOK, RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider
from tests.stories.front_door import QUESTION

pytestmark = pytest.mark.anyio

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
